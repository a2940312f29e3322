"""What accuracy costs: parameters, time and memory, and how these grow with the length of the sequences."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lra_bench.report.board import Board, Row
from lra_bench.report.cost import Cost, cost
from lra_bench.report.figures.axes import (
    ROWS_SHOWN,
    label_at,
    legend_below,
    legend_of_rows,
    log_x,
    log_y,
    metric_axis,
    shown_rows,
)
from lra_bench.report.figures.style import WIDTH, drawable, house_style, look
from lra_bench.report.labels import labels
from lra_bench.report.statistics import Summary
from lra_bench.report.tolerance import best_cell

LENGTH = "task.seq_len"

_AMOUNTS: tuple[tuple[str, Callable[[Cost], float | None]], ...] = (
    ("parameters", lambda found: found.parameters),
    ("seconds per trial", lambda found: found.seconds),
    ("examples per second", lambda found: found.examples_per_second),
    ("peak memory (MB)", lambda found: found.peak_memory_mb),
)
_GROWING = ("examples per second", "peak memory (MB)")

LENGTHS_LABELLED = 4
"""Most lengths that are labelled one by one."""


def _costs(row: Row) -> dict[str, float]:
    """What was measured of a row and can stand on a logarithmic axis."""
    found = cost(row)
    amounts = {name: read(found) for name, read in _AMOUNTS}
    return {name: amount for name, amount in amounts.items() if amount is not None and 0 < amount < math.inf}


@house_style()
def cost_figure(board: Board) -> Figure | None:
    """Test metric at the best learning rate, with its interval, against parameters, time, speed and peak memory.

    None if no row has both a best rate and a cost.
    """
    rows = shown_rows(board)
    best = [best_cell(row.cells, board.metric) for row in rows]
    points = [
        (place, cell.test, amounts)
        for place, (row, cell) in enumerate(zip(rows, best, strict=True))
        if cell is not None and (amounts := _costs(row))
    ]
    if not points:
        return None
    names = [name for name, _ in _AMOUNTS if any(name in amounts for _, _, amounts in points)]
    columns = min(2, len(names))
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(WIDTH, 2.4 * lines + 0.2), layout="constrained")
    panels = list(figure.subplots(lines, columns, sharey=True, squeeze=False).flat)
    tests = [value for _, test, _ in points for value in (test.low, test.median, test.high)]
    metric_axis(panels[0], board.metric, tests)
    for axes, name in zip(panels, names, strict=False):
        log_x(axes, [amounts[name] for _, _, amounts in points if name in amounts])
        axes.set_xlabel(name)
        for place, test, amounts in points:
            if name in amounts:
                _point(axes, amounts[name], test, place)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.supylabel(f"test {drawable(board.metric.name)} at best rate", fontsize="medium")
    legend_of_rows(figure, rows, markers=True)
    return figure


def length_groups(boards: Iterable[Board]) -> list[tuple[Board, ...]]:
    """The boards that differ in the length of their sequences alone, shortest first; at least two lengths each."""
    groups: dict[object, dict[int, Board]] = defaultdict(dict)
    for board in boards:
        length = board.shared.get(LENGTH, "")
        if length.isdecimal() and length.isascii() and int(length) > 0:
            rest = tuple(item for item in board.shared.items() if item[0].startswith("task.") and item[0] != LENGTH)
            groups[(board.task, board.conditions, board.metric.name, rest)].setdefault(int(length), board)
    return [tuple(group[length] for length in sorted(group)) for group in groups.values() if len(group) > 1]


@house_style()
def length_figure(boards: Sequence[Board]) -> Figure:
    """Test metric at the best learning rate, examples per second and peak memory against the length of the sequences.

    Args:
        boards: one of `length_groups`.
    """
    metric = boards[0].metric
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    panels = list(figure.subplots(1, 1 + len(_GROWING)))
    series = _series(boards)
    best = [{n: cell.test for n, row in rows.items() if (cell := best_cell(row.cells, metric))} for _, rows in series]
    tests = [test for found in best for test in found.values()]
    metric_axis(panels[0], metric, [value for test in tests for value in (test.low, test.median, test.high)])
    panels[0].set_title(f"test {drawable(metric.name)}", fontsize="small")
    for place, found in enumerate(best):
        for length, test in found.items():
            _point(panels[0], length, test, place)
        _line(panels[0], {length: test.median for length, test in found.items()}, place)
    for axes, name in zip(panels[1:], _GROWING, strict=True):
        measured = [{n: amount for n, row in rows.items() if (amount := _costs(row).get(name))} for _, rows in series]
        if amounts := [amount for found in measured for amount in found.values()]:
            log_y(axes, amounts)
        axes.set_title(name, fontsize="small")
        for place, amounts_of_row in enumerate(measured):
            _line(axes, amounts_of_row, place)
    lengths = sorted({float(length) for _, rows in series for length in rows})
    for axes in panels:
        log_x(axes, lengths)
        label_at(
            axes.xaxis,
            lengths if len(lengths) <= LENGTHS_LABELLED else lengths[:: -(-len(lengths) // LENGTHS_LABELLED)],
        )
        axes.tick_params(labelsize="small")
    panels[1].set_xlabel("steps of a sequence")
    legend_below(
        figure, [(name, line) for (name, _), line in zip(series, map(_marked, range(len(series))), strict=True)]
    )
    return figure


def _series(boards: Sequence[Board]) -> list[tuple[str, dict[int, Row]]]:
    """The rows that are the same but for the length, by length; each group of them with its name."""
    rows: dict[tuple[tuple[str, str], ...], dict[int, Row]] = defaultdict(dict)
    for board in boards:
        for row in shown_rows(board):
            rest = tuple(sorted((key, value) for key, value in row.settings.items() if key != LENGTH))
            rows[rest][int(board.shared[LENGTH])] = row
    names = labels([(next(iter(found.values())).model, dict(rest)) for rest, found in rows.items()])
    return list(zip(names, rows.values(), strict=True))[:ROWS_SHOWN]


def _point(axes: Axes, amount: float, test: Summary, place: int) -> None:
    """A median with its interval; at the edge where it lies beyond."""
    own = look(place)
    middle, low, high = np.clip([test.median, test.low, test.high], *axes.get_ylim())
    axes.vlines(amount, low, high, color=own.color, linewidth=1.2, alpha=0.6)
    axes.plot(amount, middle, color=own.color, marker=own.marker)


def _line(axes: Axes, heights: Mapping[int, float], place: int) -> None:
    own = look(place)
    shown = np.clip(list(heights.values()), *axes.get_ylim())
    axes.plot(list(heights), shown, color=own.color, marker=own.marker, linestyle=own.line)


def _marked(place: int) -> Line2D:
    own = look(place)
    return Line2D([], [], color=own.color, marker=own.marker, linestyle=own.line)
