"""The table of one board: each model at its best learning rate, and how far that may be missed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lra_bench.core.record import Status
from lra_bench.report import formatting
from lra_bench.report.board import Board, Metric, Row
from lra_bench.report.cost import cost
from lra_bench.report.statistics import Summary
from lra_bench.report.table import Column, Entry, Group, Table
from lra_bench.report.tolerance import OWN_FACTOR, Sensitivity, Width, sensitivity, thresholds

EDGE = "(edge)"
"""Marks a best learning rate at the end of the rates tried."""


@dataclass(frozen=True)
class _Measured:
    """A column, and what it shows of a row."""

    column: Column
    entry: Callable[[Row, Sensitivity], Entry]


def rate_table(board: Board) -> Table:
    """A row per model: its best learning rate, what it came to there, how far the rate may be missed, what it cost."""
    shown = [*_result_columns(board), *_tolerance_columns(board), *_failure_columns(), *_cost_columns()]
    rows = [(row, sensitivity(row, board.metric)) for row in board.rows]
    return Table(
        title=board.label,
        conditions=board.conditions,
        columns=tuple(each.column for each in shown),
        groups=(Group("", tuple(tuple(each.entry(row, found) for each in shown) for row, found in rows)),),
    )


def interval(summary: Summary) -> str:
    """Median and its interval: 0.0123 [0.0110, 0.0150]; the median alone where there is one value or all are failed."""
    median, low, high = (formatting.number(value) for value in (summary.median, summary.low, summary.high))
    return median if summary.n == 1 or low == high == formatting.FAILED else f"{median} [{low}, {high}]"


def at_most(metric: Metric) -> str:
    """The sign between a metric and the threshold it has to meet."""
    return "≥" if metric.higher_is_better else "≤"


def _result_columns(board: Board) -> list[_Measured]:
    name = board.metric.name
    return [
        _Measured(Column("Model", "model", wordy=True), lambda row, _: Entry(row.label, row.label)),
        _Measured(
            Column("Rates tried", None, "how many learning rates, from the lowest to the highest"),
            lambda row, _: _rates_tried(row),
        ),
        _Measured(
            Column("Best rate", "best rate", f"the best mean validation {name} over seeds; {EDGE}: the last one tried"),
            lambda _, found: _best_rate(found),
        ),
        _Measured(
            Column(
                f"Test {name} at best rate: median [interval]",
                f"test {name}",
                "over the seeds of the best rate; the test split selects nothing",
            ),
            lambda _, found: _test(found),
        ),
        _Measured(
            Column("n", "n", "seeds at the best rate"), lambda _, found: _whole(found.best.n if found.best else None)
        ),
    ]


def _tolerance_columns(board: Board) -> list[_Measured]:
    def column(place: int, limit: float) -> _Measured:
        wanted = f"{at_most(board.metric)} {limit:.3g}"
        return _Measured(
            Column(
                f"Tolerance at {board.metric.name} {wanted} (decades)",
                f"tol {wanted}",
                "width of the unbroken range of rates around the best whose median meets the threshold",
            ),
            lambda _, found: _decades(found.widths[place]),
        )

    return [
        *(column(place, limit) for place, limit in enumerate(thresholds(board.metric))),
        _Measured(
            Column(
                f"Own ×{OWN_FACTOR:g} range (decades)",
                None,
                f"the same for {OWN_FACTOR:g} times the model's own best error: a shape, not a quality",
            ),
            lambda _, found: _decades(found.own_width),
        ),
        _Measured(
            Column("Area", None, "mean over the log of the rates tried: 1 is perfect at all of them, 0 chance at all"),
            lambda _, found: _area(found),
        ),
    ]


def _failure_columns() -> list[_Measured]:
    return [
        _Measured(
            Column("Diverged", None, "of all trials, at all rates tried"),
            lambda row, _: _share(row.failures.get(Status.DIVERGED, 0), len(row.trials)),
        ),
        _Measured(
            Column("Failed", "failed", "trials without a result, by reason", wordy=True), lambda row, _: _failed(row)
        ),
    ]


def _cost_columns() -> list[_Measured]:
    return [
        _Measured(
            Column("Parameters", "params", "trainable real numbers of the whole network"),
            lambda row, _: _whole(cost(row).parameters),
        ),
        _Measured(
            Column("State size", None, "real numbers carried per sequence, all layers"),
            lambda row, _: _whole(cost(row).state_size),
        ),
        _Measured(
            Column("Seconds per trial", None, "median over trials that ran to their end; depends on the machine"),
            lambda row, _: _real(cost(row).seconds),
        ),
        _Measured(
            Column("Examples per second", None, "in training; median; depends on the machine"),
            lambda row, _: _real(cost(row).examples_per_second),
        ),
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


def _area(found: Sensitivity) -> Entry:
    if found.area is None:
        return Entry(formatting.NOTHING, math.nan)
    return Entry(f"{found.area:.2f}", found.area)


def _share(part: int, whole: int) -> Entry:
    return Entry(f"{part}/{whole}", part / whole)


def _failed(row: Row) -> Entry:
    return Entry(formatting.named(row.failures), sum(row.failures.values()))


def _whole(value: float | None) -> Entry:
    return Entry(formatting.count(value), math.nan if value is None else value)


def _real(value: float | None) -> Entry:
    return Entry(formatting.number(value), math.nan if value is None else value)
