"""From boards to leaderboards: tables of several tasks."""

from collections.abc import Mapping, Sequence

from lra_bench.core.errors import LraBenchError
from lra_bench.report.board import Board
from lra_bench.report.standings import suites
from lra_bench.report.standings.averages import Average
from lra_bench.report.standings.contenders import contenders
from lra_bench.report.standings.frame import frame
from lra_bench.report.standings.lines import averages_of, lines
from lra_bench.report.standings.published import Quoted, find_published, published
from lra_bench.report.standings.standing import Standing
from lra_bench.report.standings.suites import CONVENTIONS, SIX, Convention, Suite
from lra_bench.report.standings.task_columns import Place, TaskColumn, task_columns
from lra_bench.report.table import Table
from lra_bench.report.trial import Tier

__all__ = ["frame", "standings", "tables"]

OFFICIAL = "official"
TIERS: tuple[Tier, ...] = ("measured", "submitted")


def standings(boards: Sequence[Board], against: str | None = None, mix: bool = False) -> list[Standing]:
    """The leaderboards: one for each suite, track, protocol and origin of the data. Every board is in one of them.

    Args:
        boards: of `aggregate`.
        against: name or alias of a published row, to which differences are shown.
        mix: tracks and protocols share leaderboards, as they share boards.

    Raises:
        LraBenchError: nothing of that name was published, or no leaderboard has a task that it was published for.
    """
    quoted = None if against is None else find_published(against)
    found = [_standing(place, columns, quoted) for place, columns in task_columns(boards, mix)]
    if quoted and not any(each.against for each in found):
        raise LraBenchError(
            f"nothing here can be compared with {quoted.shown}: its numbers are of LRA's tasks at their standard "
            "settings, on official data. Leave out --against, or report on trials of these."
        )
    return found


def tables(found: Sequence[Standing]) -> list[Table]:
    """The tables of leaderboards, each followed by its differences to a published row, if those were asked for."""
    return [table for standing in found for table in (standing.table(), standing.differences()) if table is not None]


def _standing(place: Place, columns: Sequence[TaskColumn], against: Quoted | None) -> Standing:
    suite = place.suite
    quotable = place.origin == OFFICIAL and suite is not Suite.LRA_OTHER
    shown = _with_all_tasks(columns) if suite is Suite.LRA and quotable else columns
    tasks = {column.task for column in shown}
    conventions = tuple(each for each in CONVENTIONS if suite is Suite.LRA and tasks.issuperset(each.tasks))
    measured, submitted = (
        [(each, averages_of(each, shown, conventions)) for each in contenders(shown, tier)] for tier in TIERS
    )
    ranked_by = _ranked_by(conventions, [averages for _, averages in [*measured, *submitted]])
    return Standing(
        suite=suite,
        track=place.track,
        protocol=place.protocol,
        origin=place.origin,
        columns=tuple(shown),
        conventions=conventions,
        ranked_by=ranked_by,
        measured=lines(measured, shown, ranked_by),
        submitted=lines(submitted, shown, ranked_by),
        quoted=_quoted(shown, conventions) if quotable else (),
        against=against if against and quotable and _has_number(against, shown) else None,
    )


def _with_all_tasks(columns: Sequence[TaskColumn]) -> list[TaskColumn]:
    """The columns of LRA, those of the average also where nobody ran the task."""
    present = {column.task: column for column in columns}
    wanted = [task for task in suites.LRA if task in present or task in SIX.tasks]
    return [present.get(task) or TaskColumn(task, suites.title(task), {}) for task in wanted]


def _ranked_by(
    conventions: Sequence[Convention], averages: Sequence[Mapping[Convention, Average]]
) -> Convention | None:
    """The average over most tasks that some row has; of none, the one over most tasks."""
    some = [convention for convention in conventions if any(convention in each for each in averages)]
    return max(some or conventions, key=lambda convention: len(convention.tasks), default=None)


def _quoted(columns: Sequence[TaskColumn], conventions: Sequence[Convention]) -> tuple[Quoted, ...]:
    """The published rows that have a number for some column, the best ones first."""
    rows = [row for row in published() if _has_number(row, columns)]

    def merit(row: Quoted) -> float:
        values = [row.average(convention) for convention in reversed(conventions)]
        values = values or [row.percent(column.task) for column in columns]
        return next((value for value in values if value is not None), 0.0)

    return tuple(sorted(rows, key=merit, reverse=True))


def _has_number(row: Quoted, columns: Sequence[TaskColumn]) -> bool:
    return any(row.percent(column.task) is not None for column in columns)
