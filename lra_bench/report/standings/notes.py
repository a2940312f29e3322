"""The sentences below a leaderboard, which make it readable where it stands alone."""

from collections.abc import Iterator, Sequence

from lra_bench.report.standings import suites
from lra_bench.report.standings.entries import IN_COLOUR, SECOND_HAND
from lra_bench.report.standings.published import Quoted
from lra_bench.report.standings.suites import ACCURACY, CONVENTIONS, SIX, Convention, Suite
from lra_bench.report.standings.task_columns import TaskColumn

CELLS = (
    "A number is the median over seeds at the best learning rate, which validation alone selects, with the interval of "
    "the median in brackets and the number of seeds behind it."
)
PERCENT = "Accuracies are in percent."
BEST = "Bold: not told apart from the best of its column."
NOT_STANDARD = "These are not LRA's standard tasks: there is no average, and no published number stands beside them."
PATH256 = "Path-256 is in no average."
MIXED = "Tracks or protocols are mixed in this table; the names of rows say which is which."
FLOORS = (
    "Floors are trivial predictors, such as the most frequent class. On linear systems, noise floor and Kalman filter "
    "are the best that is possible."
)
COSTS = (
    "Parameters, state size, examples per second and peak memory are of the row's most demanding task. Device hours "
    "are the sum over all trials of the row, those at other learning rates and failed ones included."
)
QUOTED = (
    "Quoted numbers are of official data, with each paper's own training, selection and seeds; their averages are "
    f"computed here from their numbers. {SECOND_HAND} read in another paper that quotes them."
)


def rank(ranked_by: Convention | None, columns: Sequence[TaskColumn]) -> str:
    """What the rank means."""
    ties = "Rows share a rank where chance explains their difference (5 % for the whole table)"
    behind = "On a task, rows at chance stand behind all others."
    if ranked_by:
        return f"{ties}; only rows with an average are ranked."
    if len(columns) > 1:
        return (
            f"{ties}. {behind} The mean rank is over all columns, of rows that were run with all seeds on all of them."
        )
    return f"{ties}; only rows that were run with all seeds are ranked. {behind}"


def averages(suite: Suite, conventions: Sequence[Convention], columns: Sequence[TaskColumn]) -> Iterator[str]:
    """What the averages of LRA are, or why there is none."""
    if suite is not Suite.LRA:
        return
    if conventions:
        yield "Averages are of rows that were run with all seeds on all their tasks."
    if SIX in conventions:
        names = ", ".join(suites.title(task) for task in suites.BINARY)
        yield (
            f"The average of six counts a binary task ({names}) as 50 where a trial failed at every learning rate, or "
            "most seeds at the best one stayed at chance."
        )
    present = {column.task for column in columns}
    for convention in [each for each in CONVENTIONS if each not in conventions]:
        absent = ", ".join(suites.title(task) for task in convention.tasks if task not in present)
        yield f"No average of {convention.name}: nothing was run on {absent} with data of this origin."
    if "path256" in present:
        yield PATH256


def quoted(rows: Sequence[Quoted], columns: Sequence[TaskColumn], conventions: Sequence[Convention]) -> Iterator[str]:
    """What is to be known of the published rows of a table."""
    if not rows:
        return
    yield QUOTED
    if any(column.task == "image" for column in columns) and any(row.colour_in_image for row in rows):
        yield f"{IN_COLOUR} measured on colour pictures, or not known to be in grey, which is another task (image_rgb)."
    for row in rows:
        parts = [row.note] if row.note else []
        parts += [
            f"Its source prints {printed} as the average of {convention.name}; its numbers come to another."
            for convention in conventions
            if (printed := row.misprint(convention)) is not None
        ]
        if parts:
            yield f"{row.shown}: {' '.join(parts)}"


def difference(row: Quoted) -> Iterator[str]:
    """How to read differences to a published row."""
    yield (
        f"The row's median minus the number quoted for {row.shown}, with the interval of the row's median. How sure "
        "the quoted number is, and what else differs between the two, is not in it."
    )
    if row.spread:
        yield "± is as printed: a standard deviation or error over seeds."
    if row.note:
        yield f"{row.shown}: {row.note}"


def cells(columns: Sequence[TaskColumn]) -> Iterator[str]:
    """What a number is."""
    yield CELLS
    if any(column.metric.name == ACCURACY for column in columns):
        yield PERCENT
    yield BEST
