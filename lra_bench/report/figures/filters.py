"""Spectral filters, what the STU makes of them, and how many of them it takes."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lra_bench.report.board import Board, Cell, Metric
from lra_bench.report.figures.axes import LEGEND_LETTERS, label_at, legend_below, log_ticks, metric_axis
from lra_bench.report.figures.medians import Floats
from lra_bench.report.figures.style import COLORS, GREY, WIDTH, drawable, house_style, look, sequential, wrapped
from lra_bench.report.labels import labels
from lra_bench.report.statistics import Summary
from lra_bench.report.tolerance import best_cell

FILTERS_SHOWN = (1, 2, 3, 5, 10, 20)
COUNT = "model.num_filters"

HOW_OFTEN = ("train.log_every", "train.val_every")
"""Settings that say how often something is measured."""

_Rest = tuple[tuple[str, str], ...]
"""All settings of a row but the number of filters."""


@house_style()
def filters_figure(sigma: Floats, phi: Floats) -> Figure:
    """Spectral filters: the eigenvalues' decay, and some of the eigenvectors. Figure 1 of arXiv 2312.06837.

    Args:
        sigma: eigenvalues, largest first, (K,).
        phi: eigenvectors as columns, (L, K).
    """
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.5])
    positive = sigma[sigma > 0]
    left.plot(np.arange(1, sigma.size + 1), np.where(sigma > 0, sigma, np.nan), "o-", markersize=4, color=COLORS[0])
    left.set(title="Eigenvalues", xlabel="k", ylabel="σₖ")
    left.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if positive.size:
        left.set_yscale("log")
        label_at(left.yaxis, log_ticks(float(positive.min()) / 2, float(positive.max()) * 2))
    shown = [k for k in FILTERS_SHOWN if k <= sigma.size]
    for k, color in zip(shown, sequential()(np.linspace(0, 1, len(shown))), strict=True):
        right.plot(np.arange(1, phi.shape[0] + 1), phi[:, k - 1], color=color, label=f"k = {k}")
    right.set(title="Filters", xlabel="steps into the past, the present being 1", ylabel="φₖ", xscale="log")
    label_at(right.xaxis, log_ticks(1, phi.shape[0] + 1))
    figure.legend(loc="outside lower center", ncols=len(shown))
    return figure


@dataclass(frozen=True)
class FilterSweep:
    """Rows that differ in nothing but the number of spectral filters.

    Attributes:
        name: of the model, and what sets this sweep apart from others of it.
        counts: numbers of filters, ascending.
        cells: at the best learning rate; None where there is no such rate.
    """

    name: str
    counts: tuple[int, ...]
    cells: tuple[Cell | None, ...]

    @property
    def tests(self) -> tuple[Summary | None, ...]:
        """Test metric at the best learning rate; None where there is no such rate."""
        return tuple(None if cell is None else cell.test for cell in self.cells)


def filter_sweeps(board: Board) -> list[FilterSweep]:
    """The board's sweeps over at least two numbers of filters."""
    groups: dict[_Rest, dict[int, Cell | None]] = defaultdict(dict)
    names = {}
    for row in board.rows:
        count = row.settings.get(COUNT, "")
        if count.isdecimal() and count.isascii():
            rest = tuple(sorted((key, value) for key, value in row.settings.items() if key != COUNT))
            groups[rest][int(count)] = best_cell(row.cells, board.metric)
            names[rest] = row.model
    sweeps = {rest: dict(sorted(cells.items())) for rest, cells in sorted(groups.items()) if len(cells) > 1}
    shown = _names([(names[rest], dict(rest)) for rest in sweeps])
    return [
        FilterSweep(name, tuple(cells), tuple(cells.values()))
        for name, cells in zip(shown, sweeps.values(), strict=True)
    ]


def _names(named_settings: Sequence[tuple[str, dict[str, str]]]) -> list[str]:
    """Labels without how often errors were measured, unless nothing else tells two apart."""
    short = labels([(name, {k: v for k, v in own.items() if k not in HOW_OFTEN}) for name, own in named_settings])
    return short if len(set(short)) == len(short) else labels(named_settings)


@house_style()
def filter_count_figure(board: Board) -> Figure | None:
    """Test metric at the best learning rate against the number K of filters, with intervals.

    None where no rows differ in K alone. Figure 3b of arXiv 2312.06837. Of errors, the slope of the theory is drawn
    beside them. The squared error of K filters on a decay a^t, averaged over a in [0, 1], is the sum of the eigenvalues
    after the K-th, and with sequences of L steps these fall at least as fast as exp(-pi^2 K / (4 ln L)), which the
    tests check on the computed ones. Only the slope says something.
    """
    sweeps = filter_sweeps(board)
    if not sweeps:
        return None
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    axes = figure.subplots()
    tests = [test for sweep in sweeps for test in sweep.tests if test is not None]
    metric_axis(axes, board.metric, [value for test in tests for value in (test.low, test.median, test.high)])
    axes.set(xlabel="number of spectral filters K", ylabel=f"test {drawable(board.metric.name)} at best rate")
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    entries = [
        (wrapped(drawable(sweep.name), LEGEND_LETTERS), _sweep(axes, sweep, board.metric, place))
        for place, sweep in enumerate(sweeps)
    ]
    length = board.shared.get("task.seq_len", "")
    if not board.metric.higher_is_better and length.isdecimal() and length.isascii() and int(length) > 1:
        slope = _slope(axes, sweeps, int(length))
        entries += [(f"eigenvalues' slope, no fit: exp(−π²K / 4 ln L), L = {int(length)}", slope)] if slope else []
    legend_below(figure, entries)
    return figure


def _sweep(axes: Axes, sweep: FilterSweep, metric: Metric, place: int) -> Line2D:
    """Medians with their intervals; a cross at the edge where there is no best rate."""
    own, limits = look(place), axes.get_ylim()
    found = [(count, test) for count, test in zip(sweep.counts, sweep.tests, strict=True) if test is not None]
    counts = [count for count, _ in found]
    middle, low, high = (
        np.clip([getattr(test, field) for _, test in found], *limits) for field in ("median", "low", "high")
    )
    axes.vlines(counts, low, high, color=own.color, linewidth=1.2, alpha=0.6)
    [line] = axes.plot(counts, middle, color=own.color, marker=own.marker, linestyle=own.line)
    edge = limits[0 if metric.higher_is_better else 1]
    for count in set(sweep.counts) - set(counts):
        axes.plot(count, edge, color=own.color, marker="x", clip_on=False)
    return line


def eigenvalue_fall(seq_len: int) -> float:
    """How much the logarithm of the eigenvalues falls with each filter, at least; see `filter_count_figure`."""
    return math.pi**2 / (4 * math.log(seq_len))


def _slope(axes: Axes, sweeps: Sequence[FilterSweep], length: int) -> Line2D | None:
    """The theory's line through the first point that was measured, as far as the axes reach."""
    points = [
        (count, test.median)
        for sweep in sweeps
        for count, test in zip(sweep.counts, sweep.tests, strict=True)
        if test is not None and 0 < test.median < math.inf
    ]
    if not points:
        return None
    (first, top), last = min(points), max(count for count, _ in points)
    low, high = axes.get_ylim()
    top = min(top, high)
    fall = eigenvalue_fall(length)
    end = min(last, first + math.log(top / low) / fall) if low > 0 else last
    counts = np.linspace(first, end, 50)
    [line] = axes.plot(counts, top * np.exp(-fall * (counts - first)), color=GREY, linestyle="--", linewidth=1.2)
    return line
