"""The metric against the learning rate."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lra_bench.report.board import Board, Metric, Row
from lra_bench.report.figures.axes import (
    RATES_LABELLED,
    band_strength,
    metric_axis,
    name_of,
    rate_axis,
    reference_lines,
    shown_rows,
)
from lra_bench.report.figures.style import GREY, WIDTH, drawable, house_style, look, quiet, wrapped
from lra_bench.report.tolerance import best_cell, thresholds

NAME_LETTERS = 26
"""Characters that fit beside the strip of failures."""

HEIGHT = 3.9
LINE = 0.19
"""Inches of the curves, and of a line in the strip of failures."""


@house_style()
def sensitivity_figure(board: Board) -> Figure:
    """Validation metric against learning rate: median over seeds, range as a band; failed trials in a strip below."""
    rows = shown_rows(board)
    names = [wrapped(name_of(row), NAME_LETTERS) for row in rows]
    heights = [LINE * (1 + name.count("\n")) + 0.04 for name in names]
    figure = Figure(figsize=(WIDTH, HEIGHT + sum(heights) + 0.9), layout="constrained")
    axes, below = figure.subplots(2, sharex=True, height_ratios=[HEIGHT, sum(heights)])
    axes.tick_params(labelbottom=True)
    summaries = [cell.val for row in rows for cell in row.cells]
    metric_axis(axes, board.metric, [v for s in summaries for v in (s.minimum, s.maximum)], board.baselines.values())
    rates = {cell.rate for row in rows for cell in row.cells}
    rate_axis(axes, rates)
    for place, row in enumerate(rows):
        _line(axes, row, board.metric, place, band_strength(len(rows)))
    _strip(below, rows, names, heights, as_numbers=len(rates) <= RATES_LABELLED)
    reference_lines(axes, _references(board))
    axes.set_ylabel(f"validation {drawable(board.metric.name)}")
    return figure


def _line(axes: Axes, row: Row, metric: Metric, place: int, strength: float) -> None:
    own = look(place)
    rates = np.array([cell.rate for cell in row.cells])
    middle, low, high = (
        np.array([getattr(cell.val, field) for cell in row.cells]) for field in ("median", "minimum", "maximum")
    )
    limits = axes.get_ylim()
    edge = limits[0 if metric.higher_is_better else 1]
    shown = np.where(np.isinf(middle), np.nan, np.clip(middle, *limits))
    axes.plot(rates, shown, color=own.color, marker=own.marker, linestyle=own.line, zorder=3)
    band = np.isfinite(low) & np.isfinite(high)
    low, high = (np.clip(np.where(np.isinf(values), edge, values), *limits) for values in (low, high))
    axes.fill_between(rates, low, high, where=list(band), color=own.color, alpha=strength, linewidth=0)
    axes.vlines(rates, low, high, color=own.color, alpha=0.4, linewidth=1)
    _best(axes, row, metric, own.color)
    for here, there in zip(row.cells, row.cells[1:], strict=False):
        if math.isinf(here.val.median) != math.isinf(there.val.median):
            ends = [edge if math.isinf(cell.val.median) else cell.val.median for cell in (here, there)]
            axes.plot([here.rate, there.rate], np.clip(ends, *limits), color=own.color, linestyle=":", linewidth=1.2)
    for rate in rates[np.isinf(middle)]:
        axes.plot(rate, edge, color=own.color, marker="x", clip_on=False, zorder=4)


def _best(axes: Axes, row: Row, metric: Metric, color: str) -> None:
    """A ring around the best rate, with an arrow out of the rates tried where it is the last of them."""
    best = best_cell(row.cells, metric)
    if best is None:
        return
    height = float(np.clip(best.val.median, *axes.get_ylim()))
    axes.plot(best.rate, height, marker="o", markersize=13, markerfacecolor="none", color=color)
    for end, sign in ((row.cells[0], -1), (row.cells[-1], 1)):
        if best is end:
            axes.annotate(
                "",
                (best.rate, height),
                xytext=(sign * 21, 0),
                textcoords="offset points",
                arrowprops={"arrowstyle": "<|-", "color": color, "shrinkA": 0, "shrinkB": 8},
                annotation_clip=False,
            )


def _strip(
    axes: Axes, rows: Sequence[Row], names: Sequence[str], heights: Sequence[float], *, as_numbers: bool
) -> None:
    """Failed of all trials, per row and learning rate; at the same time the legend."""
    quiet(axes)
    bottoms = np.cumsum(heights)
    places = (bottoms - np.array(heights) / 2).tolist()
    axes.tick_params(axis="y", pad=18)
    axes.tick_params(axis="x", labelbottom=False)
    axes.set_title("failed of all trials", fontsize="small", fontweight="normal", color=GREY)
    axes.set_ylim(float(bottoms[-1]), 0)
    axes.set_yticks(places, names, fontsize="small")
    for place, (row, height, label) in enumerate(zip(rows, places, axes.get_yticklabels(), strict=True)):
        own = look(place)
        ends = axes.get_yaxis_transform()
        axes.plot([-0.045, -0.01], [height] * 2, color=own.color, linestyle=own.line, transform=ends, clip_on=False)
        axes.plot(-0.0275, height, color=own.color, marker=own.marker, transform=ends, clip_on=False)
        label.set_color(own.color)
        for cell in row.cells:
            if as_numbers:
                text = f"{cell.failed}/{cell.n}" if cell.failed else "·"
                axes.text(cell.rate, height, text, color=own.color, fontsize="small", ha="center", va="center")
            elif cell.failed:
                axes.plot(cell.rate, height, color=own.color, marker="x", markersize=4)


def _references(board: Board) -> dict[str, float]:
    """Thresholds and trivial predictors by name; chance too, unless one of them is just that."""
    named = {drawable(name.replace("_", " ")): value for name, value in board.baselines.items()}
    if not any(math.isclose(value, board.metric.chance, rel_tol=0.1) for value in named.values()):
        named["chance"] = board.metric.chance
    return named | {f"threshold {limit:.3g}": limit for limit in thresholds(board.metric)}
