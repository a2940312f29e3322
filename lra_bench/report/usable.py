"""The usable range of learning rates, measured on every seed by itself."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lra_bench.core.record import Status
from lra_bench.report import formatting
from lra_bench.report.board import Board, Metric, Row, total
from lra_bench.report.rate_table import at_most
from lra_bench.report.side_by_side import side_by_side
from lra_bench.report.statistics import Summary, summarise
from lra_bench.report.table import Column, Entry, Group, Table
from lra_bench.report.tolerance import Width, threshold, thresholds, unbroken

NO_RATE = "none"
"""Stands for a seed without any usable rate."""


@dataclass(frozen=True)
class Usable:
    """How wide a row's usable range is, seed by seed.

    Attributes:
        widths: range of each seed and data seed; None where no rate of that seed is good enough.
        decades: width over seeds. A single rate is 0 decades; a seed without any counts as minus infinity, so as
            narrower than every width.
    """

    widths: Mapping[tuple[int, int], Width | None]
    decades: Summary

    @property
    def open_ended(self) -> int:
        """Seeds whose range reaches an end of the rates tried, and may be wider."""
        return sum(width is not None and width.open_ended for width in self.widths.values())

    @property
    def none(self) -> int:
        """Seeds without any usable rate."""
        return sum(width is None for width in self.widths.values())

    @property
    def at_least(self) -> bool:
        """Whether the median would grow if the open-ended ranges had no end."""
        endless = [
            math.inf if width is not None and width.open_ended else _decades(width) for width in self.widths.values()
        ]
        return summarise(endless).median > self.decades.median


def usable_range(row: Row, metric: Metric, limit: float) -> Usable:
    """The usable range of each seed of a row.

    For each seed: the unbroken run of the rates tried around that seed's best one at which its validation metric meets
    `limit`. A failed trial meets nothing. A rate at which the seed was not run ends the run, and leaves it open-ended.

    Args:
        row: whose seeds are measured.
        metric: of its board.
        limit: value of the metric that is good enough, such as `tolerance.threshold`.
    """
    rates = [cell.rate for cell in row.cells]
    costs: dict[tuple[int, int], list[float]] = {}
    for place, cell in enumerate(row.cells):
        for trial in cell.trials:
            own = costs.setdefault(trial.seeds, [math.nan] * len(rates))
            own[place] = metric.cost(metric.value(trial.record, trial.record.val))
    widths = {seeds: unbroken(rates, own, metric.cost(limit)) for seeds, own in sorted(costs.items())}
    return Usable(widths, summarise([_decades(width) for width in widths.values()]))


def usable_difference(first: Usable, second: Usable) -> Summary | None:
    """How many decades wider the first is, seed by seed: the same seed means the same data.

    Returns:
        Median and interval over the seeds that both have; infinite where one of them has no usable rate there, 0 where
        neither has. None if they share no seed.
    """
    shared = first.widths.keys() & second.widths.keys()
    pairs = [(_decades(first.widths[seeds]), _decades(second.widths[seeds])) for seeds in shared]
    return summarise([0.0 if one == other else one - other for one, other in pairs]) if pairs else None


def usable_table(boards: Sequence[Board], share: float) -> Table:
    """The usable range in decades: a row per model and settings, a column per board.

    Args:
        boards: with one metric, or with metrics of one direction.
        share: of the distance from chance to the perfect value that a good model may leave, such as 0.1.
    """
    lines = side_by_side(boards)
    return Table(
        title="Usable learning rates in decades",
        conditions=f"{_limit_words(boards, share)}; median [interval] over seeds",
        columns=(Column("Model", "model", wordy=True), *(Column(board.label, board.label) for board in boards)),
        groups=(
            Group(
                "",
                tuple(
                    (
                        Entry(name, name),
                        *(_range_entry(row, board.metric, share) for row, board in zip(rows, boards, strict=True)),
                    )
                    for name, rows in lines
                ),
            ),
        ),
        remarks=definition(),
    )


def definition() -> tuple[str, ...]:
    """What the entries of usable ranges mean, in sentences."""
    return (
        "For each seed by itself: the unbroken run of the rates tried around that seed’s best one at which its "
        "validation metric meets the threshold. One good rate alone is 0 decades.",
        f"{NO_RATE}: no rate of that seed does; it counts as narrower than every width.",
        "≥: the median would grow if ranges that reach an end of the rates tried went on. The upper end of an interval "
        "may be cut in the same way.",
    )


def board_table(board: Board) -> Table:
    """The usable range of every row of one board, at all of its thresholds, and how many seeds bound it."""
    limits = thresholds(board.metric)
    measured = [(row, [usable_range(row, board.metric, limit) for limit in limits]) for row in board.rows]
    columns = [Column("Model", "model", wordy=True)]
    for limit in limits:
        wanted = f"{at_most(board.metric)} {limit:.3g}"
        columns += [
            Column(f"Usable at {board.metric.name} {wanted} (decades): median [interval]", f"usable {wanted}"),
            Column(f"Open-ended at {wanted}", None, "seeds whose range reaches an end of the rates tried"),
            Column(f"None at {wanted}", None, "seeds without any usable rate"),
        ]
    columns.append(Column("At chance", None, "of all trials, at all rates tried"))
    return Table(
        title=f"{board.label}: usable learning rates, seed by seed",
        conditions=board.conditions,
        columns=tuple(columns),
        groups=(Group("", tuple(_board_line(row, found) for row, found in measured)),),
        remarks=definition(),
    )


def failure_table(boards: Sequence[Board]) -> Table:
    """The share of trials that failed and that stayed at chance: a row per model and settings, a column per board."""
    lines = side_by_side(boards)
    return Table(
        title="Trials without a result, and at chance",
        conditions="failed / at chance, of all trials at all learning rates tried",
        columns=(
            Column("Model", "model", wordy=True),
            *(Column(board.label, board.label) for board in boards),
            Column("Failed", "failed", "on all of them, by reason", wordy=True),
        ),
        groups=(
            Group("", tuple((Entry(name, name), *map(_share_entry, rows), _reasons(rows)) for name, rows in lines)),
        ),
    )


def at_chance(row: Row) -> int:
    """Number of a row's trials that ran to their end without leaving chance behind."""
    return sum(trial.record.status is Status.CHANCE for trial in row.trials)


def decades_text(found: Usable) -> str:
    """Median and interval in decades: ≥2.5 [2.0, 3.0]."""
    median, low, high = (_number(end) for end in (found.decades.median, found.decades.low, found.decades.high))
    sign = "≥" if found.at_least else ""
    return f"{sign}{median}" if len(found.widths) == 1 or high == NO_RATE else f"{sign}{median} [{low}, {high}]"


def _decades(width: Width | None) -> float:
    return -math.inf if width is None else width.decades


def _number(decades: float) -> str:
    return NO_RATE if math.isinf(decades) else f"{decades:.1f}"


def _limit_words(boards: Sequence[Board], share: float) -> str:
    """The threshold, as a number where all boards have the same."""
    higher = {board.metric.higher_is_better for board in boards}
    if higher == {True}:
        return f"validation metric that leaves at most {share:g} of the gap between chance and 1"
    return f"validation metric of at most {share:g} of chance"


def _board_line(row: Row, found: Sequence[Usable]) -> tuple[Entry, ...]:
    chance, trials = at_chance(row), len(row.trials)
    return (
        Entry(row.label, row.label),
        *(
            entry
            for each in found
            for entry in (_width_entry(each), _seeds(each.open_ended, each), _seeds(each.none, each))
        ),
        Entry(f"{chance}/{trials}", chance / trials),
    )


def _seeds(some: int, found: Usable) -> Entry:
    return Entry(f"{some}/{len(found.widths)}", some)


def _width_entry(found: Usable) -> Entry:
    """Narrower than every width sorts below 0."""
    return Entry(decades_text(found), max(found.decades.median, -1.0))


def _range_entry(row: Row | None, metric: Metric, share: float) -> Entry:
    limit = threshold(metric, share)
    if row is None or not math.isfinite(limit):
        return Entry(formatting.NOTHING, math.nan)
    return _width_entry(usable_range(row, metric, limit))


def _share_entry(row: Row | None) -> Entry:
    if row is None:
        return Entry(formatting.NOTHING, math.nan)
    failed = sum(row.failures.values()) / len(row.trials)
    return Entry(f"{failed:.0%} / {at_chance(row) / len(row.trials):.0%}", failed)


def _reasons(rows: Sequence[Row | None]) -> Entry:
    failures = total(row.failures for row in rows if row is not None)
    return Entry(formatting.named(failures), sum(failures.values()))
