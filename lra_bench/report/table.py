"""The leaderboard of one board as columns and entries: what HTML, Markdown, CSV and terminal have in common."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lra_bench.core.record import Status
from lra_bench.report import formatting
from lra_bench.report.board import Board, Metric, Row
from lra_bench.report.cost import cost
from lra_bench.report.sensitivity import OWN_FACTOR, Sensitivity, Width, sensitivity, thresholds
from lra_bench.report.statistics import Summary

EDGE = "(edge)"
"""Marks a best learning rate at the end of the rates tried."""


@dataclass(frozen=True)
class Entry:
    """One entry of the table.

    Attributes:
        text: as shown.
        value: to sort by; NaN goes last.
    """

    text: str
    value: float | str


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        header: its name in full.
        short: its name where there is little room; None leaves the column out there.
        entry: what it shows of a row.
        wordy: holds words, which may be cut where there is little room, and not numbers.
    """

    header: str
    short: str | None
    entry: Callable[[Row, Sensitivity], Entry]
    wordy: bool = False


@dataclass(frozen=True)
class Table:
    """A board's table, rows in the board's order."""

    columns: list[Column]
    entries: list[list[Entry]]


def leaderboard(board: Board) -> Table:
    """The table of a board."""
    columns = [*_result_columns(board), *_tolerance_columns(board), *_failure_columns(), *_cost_columns()]
    rows = [(row, sensitivity(row, board.metric)) for row in board.rows]
    return Table(columns, [[column.entry(row, found) for column in columns] for row, found in rows])


def interval(summary: Summary) -> str:
    """Median and its interval: 0.0123 [0.0110, 0.0150]; the median alone where there is one value or all are failed."""
    median, low, high = (formatting.number(value) for value in (summary.median, summary.low, summary.high))
    return median if summary.n == 1 or low == high == formatting.FAILED else f"{median} [{low}, {high}]"


def at_most(metric: Metric) -> str:
    """The sign between a metric and the threshold it has to meet."""
    return "≥" if metric.higher_is_better else "≤"


def _result_columns(board: Board) -> list[Column]:
    name = board.metric.name
    return [
        Column("Model", "model", lambda row, _: Entry(row.label, row.label), wordy=True),
        Column("Rates tried", None, lambda row, _: _rates_tried(row)),
        Column("Best rate", "best rate", lambda _, found: _best_rate(found)),
        Column(f"Test {name} at best rate: median [interval]", f"test {name}", lambda _, found: _test(found)),
        Column("n", "n", lambda _, found: _whole(found.best.n if found.best else None)),
    ]


def _tolerance_columns(board: Board) -> list[Column]:
    def column(place: int, limit: float) -> Column:
        wanted = f"{at_most(board.metric)} {limit:.3g}"
        return Column(
            f"Tolerance at {board.metric.name} {wanted} (decades)",
            f"tol {wanted}",
            lambda _, found: _decades(found.widths[place]),
        )

    return [
        *(column(place, limit) for place, limit in enumerate(thresholds(board.metric))),
        Column(f"Own ×{OWN_FACTOR:g} range (decades)", None, lambda _, found: _decades(found.own_width)),
    ]


def _failure_columns() -> list[Column]:
    return [
        Column("Diverged", None, lambda row, _: _share(row.failures.get(Status.DIVERGED, 0), len(row.trials))),
        Column("Failed", "failed", lambda row, _: _failed(row), wordy=True),
    ]


def _cost_columns() -> list[Column]:
    return [
        Column("Parameters", "params", lambda row, _: _whole(cost(row).parameters)),
        Column("State size", None, lambda row, _: _whole(cost(row).state_size)),
        Column("Seconds per trial", None, lambda row, _: _real(cost(row).seconds)),
        Column("Examples per second", None, lambda row, _: _real(cost(row).examples_per_second)),
    ]


def _rates_tried(row: Row) -> Entry:
    low, high = formatting.rate(row.cells[0].rate), formatting.rate(row.cells[-1].rate)
    extent = low if len(row.cells) == 1 else f"{low} to {high}"
    missing = f" ({row.missing} trials missing)" if row.missing else ""
    return Entry(f"{len(row.cells)}: {extent}{missing}", len(row.cells))


def _best_rate(found: Sensitivity) -> Entry:
    if found.best is None:
        return Entry(formatting.FAILED, math.nan)
    edge = f" {EDGE}" if found.at_edge else ""
    return Entry(formatting.rate(found.best.rate) + edge, found.best.rate)


def _test(found: Sensitivity) -> Entry:
    if found.best is None:
        return Entry(formatting.FAILED, math.nan)
    return Entry(interval(found.best.test), found.best.test.median)


def _decades(width: Width | None) -> Entry:
    if width is None:
        return Entry("none", -1.0)
    return Entry(f"{'≥ ' if width.open_ended else ''}{width.decades:.1f}", width.decades)


def _share(part: int, whole: int) -> Entry:
    return Entry(f"{part}/{whole}", part / whole)


def _failed(row: Row) -> Entry:
    return Entry(formatting.named(row.failures), sum(row.failures.values()))


def _whole(value: float | None) -> Entry:
    return Entry(formatting.count(value), math.nan if value is None else value)


def _real(value: float | None) -> Entry:
    return Entry(formatting.number(value), math.nan if value is None else value)
