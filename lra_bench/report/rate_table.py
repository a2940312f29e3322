"""The table of one board: each model at its best learning rate, and how far that may be missed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lra_bench.core.record import Status
from lra_bench.report import formatting
from lra_bench.report.board import Board, Metric, Row
from lra_bench.report.cost import cost
from lra_bench.report.sensitivity import OWN_FACTOR, Sensitivity, Width, sensitivity, thresholds
from lra_bench.report.statistics import Summary
from lra_bench.report.table import Column, Entry, Group, Table

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
        _Measured(Column("Rates tried", None), lambda row, _: _rates_tried(row)),
        _Measured(Column("Best rate", "best rate"), lambda _, found: _best_rate(found)),
        _Measured(
            Column(f"Test {name} at best rate: median [interval]", f"test {name}"), lambda _, found: _test(found)
        ),
        _Measured(Column("n", "n"), lambda _, found: _whole(found.best.n if found.best else None)),
    ]


def _tolerance_columns(board: Board) -> list[_Measured]:
    def column(place: int, limit: float) -> _Measured:
        wanted = f"{at_most(board.metric)} {limit:.3g}"
        return _Measured(
            Column(f"Tolerance at {board.metric.name} {wanted} (decades)", f"tol {wanted}"),
            lambda _, found: _decades(found.widths[place]),
        )

    return [
        *(column(place, limit) for place, limit in enumerate(thresholds(board.metric))),
        _Measured(Column(f"Own ×{OWN_FACTOR:g} range (decades)", None), lambda _, found: _decades(found.own_width)),
    ]


def _failure_columns() -> list[_Measured]:
    return [
        _Measured(
            Column("Diverged", None), lambda row, _: _share(row.failures.get(Status.DIVERGED, 0), len(row.trials))
        ),
        _Measured(Column("Failed", "failed", wordy=True), lambda row, _: _failed(row)),
    ]


def _cost_columns() -> list[_Measured]:
    return [
        _Measured(Column("Parameters", "params"), lambda row, _: _whole(cost(row).parameters)),
        _Measured(Column("State size", None), lambda row, _: _whole(cost(row).state_size)),
        _Measured(Column("Seconds per trial", None), lambda row, _: _real(cost(row).seconds)),
        _Measured(Column("Examples per second", None), lambda row, _: _real(cost(row).examples_per_second)),
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
