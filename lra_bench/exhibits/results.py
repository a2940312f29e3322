"""What each model comes to at its best learning rate, several boards side by side."""

import math
from collections.abc import Sequence

from lra_bench.report import formatting
from lra_bench.report.board import Board, Row
from lra_bench.report.rate_table import interval
from lra_bench.report.side_by_side import side_by_side
from lra_bench.report.table import Column, Entry, Group, Table
from lra_bench.report.tolerance import best_cell


def results_table(boards: Sequence[Board]) -> Table:
    """A row per model and settings, a column per board: test metric at the best learning rate with its interval."""
    return Table(
        title=f"Test {' and '.join(sorted({board.metric.name for board in boards}))} at the best learning rate",
        conditions="median [interval] over seeds; the rate is selected on the mean validation metric",
        columns=(Column("Model", "model", wordy=True), *(Column(board.label, board.label) for board in boards)),
        groups=(
            Group(
                "",
                tuple(
                    (Entry(name, name), *(_entry(board, row) for board, row in zip(boards, rows, strict=True)))
                    for name, rows in side_by_side(boards)
                ),
            ),
        ),
        remarks=(f"{formatting.FAILED}: at every learning rate a seed failed.",),
    )


def _entry(board: Board, row: Row | None) -> Entry:
    if row is None:
        return Entry(formatting.NOTHING, math.nan)
    best = best_cell(row.cells, board.metric)
    return Entry(formatting.FAILED, math.nan) if best is None else Entry(interval(best.test), best.test.median)
