"""The report's figures, as matplotlib Figure objects that know nothing of pyplot."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lra_bench.report import formatting
from lra_bench.report.board import Board, Cell, Metric, Row
from lra_bench.report.sensitivity import best_cell, thresholds
from lra_bench.report.style import GREY, drawable, house_style, look, quiet, sequential

CHANCES_SHOWN = 3.0
"""Errors are shown up to this multiple of chance; what lies above is cut off."""

FLOOR_REACH = 30.0
"""Reference lines this factor below the lowest error are still shown."""

HUGE = 1e30
"""Values from here on, infinity among them, do not widen an axis."""

RATES_UPRIGHT = 8
RATES_LABELLED = 20
"""Most learning rates whose labels fit side by side, and that are labelled at all."""

PANELS_PER_LINE = 3
PANEL_TITLE = 30
"""Characters that fit on one line of a panel's title."""

FILTERS_SHOWN = (1, 2, 3, 5, 10, 20)


@house_style()
def sensitivity_figure(board: Board) -> Figure:
    """Validation metric against learning rate: medians over seeds, range as a band, failed trials in a strip on top."""
    strip = 0.24 * len(board.rows)
    figure = Figure(figsize=(8, 4.4 + strip))
    above, axes = figure.subplots(2, sharex=True, height_ratios=[strip, 4.4], gridspec_kw={"hspace": 0.06})
    summaries = [cell.val for row in board.rows for cell in row.cells]
    _scale(axes, board.metric, [v for s in summaries for v in (s.minimum, s.maximum)], board.baselines.values())
    _rate_axis(axes, {cell.rate for row in board.rows for cell in row.cells})
    for place, row in enumerate(board.rows):
        _sensitivity_line(axes, row, board.metric, place)
    _failure_strip(above, board.rows)
    _references(axes, board)
    axes.set_ylabel(f"validation {drawable(board.metric.name)}")
    return figure


@house_style()
def curves_figure(board: Board) -> Figure:
    """Learning curves: a panel per row, a line per learning rate, each the median over seeds."""
    columns = min(PANELS_PER_LINE, len(board.rows))
    lines = math.ceil(len(board.rows) / columns)
    figure = Figure(figsize=(3.2 * columns + 0.9, 2.9 * lines + 0.3), layout="constrained")
    panels = list(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat)
    rates = sorted({cell.rate for row in board.rows for cell in row.cells})
    colors = ScalarMappable(LogNorm(rates[0] / 1.01, rates[-1] * 1.01), sequential())
    shades = dict(zip(rates, colors.to_rgba(np.array(rates)), strict=True))
    curves = {id(cell): median_curve(cell, board.metric) for row in board.rows for cell in row.cells}
    _scale(panels[0], board.metric, [value for _, values in curves.values() for value in values], ())
    for axes, row in zip(panels, board.rows, strict=False):
        for cell in row.cells:
            steps, values = curves[id(cell)]
            _curve(axes, steps, values, shades[cell.rate])
        axes.set_title(textwrap.fill(drawable(row.label), PANEL_TITLE))
        axes.set_xlabel("step")
    for axes in panels[len(board.rows) :]:
        axes.set_visible(False)
    bar = figure.colorbar(colors, ax=panels, label="learning rate", pad=0.02)
    bar.ax.yaxis.set_major_locator(FixedLocator(rates))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: formatting.rate(rate)))
    figure.supylabel(f"validation {drawable(board.metric.name)}", fontsize="medium")
    return figure


@house_style()
def filters_figure(sigma: np.ndarray, phi: np.ndarray) -> Figure:
    """Spectral filters: the eigenvalues' decay, and some of the eigenvectors.

    Args:
        sigma: eigenvalues, largest first, (K,).
        phi: eigenvectors as columns, (L, K).
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.6])
    order = np.arange(1, sigma.size + 1)
    left.semilogy(order, np.where(sigma > 0, sigma, np.nan), marker="o", markersize=4, color=look(0)[0])
    left.set(title="Eigenvalues", xlabel="$k$", ylabel=r"$\sigma_k$")
    shown = [k for k in FILTERS_SHOWN if k <= sigma.size]
    for k, color in zip(shown, sequential()(np.linspace(0, 1, len(shown))), strict=True):
        right.plot(np.arange(1, phi.shape[0] + 1), phi[:, k - 1], color=color, label=f"$k = {k}$")
    right.set(title="Filters", xlabel="steps into the past, the present being 1", ylabel=r"$\phi_k$", xscale="log")
    right.legend(ncols=2)
    return figure


def median_curve(cell: Cell, metric: Metric) -> tuple[list[int], list[float]]:
    """Steps and the median validation metric at each; a failed trial counts as worst once its own curve has ended."""
    curves = [
        {point.step: value for point in trial.record.curve if (value := point.val.get(metric.name)) is not None}
        for trial in cell.trials
    ]
    steps = sorted({step for curve in curves for step in curve})
    medians = []
    for step in steps:
        values = []
        for trial, curve in zip(cell.trials, curves, strict=True):
            if step in curve:
                values.append(curve[step])
            elif metric.failure(trial.record):
                values.append(metric.worst)
        medians.append(median(values))
    return steps, medians


def _scale(axes: Axes, metric: Metric, values: Iterable[float], references: Iterable[float]) -> None:
    """Limits that hold values and chance; all references to beat too, or, of errors, on a log axis, those in reach."""
    references = list(references)
    floors = references if metric.higher_is_better else []
    shown = [value for value in (*values, *floors, metric.chance) if abs(value) < HUGE] or [0.0, 1.0]
    low, high = min(shown), max(shown)
    if metric.higher_is_better or low < 1 / HUGE:
        margin = 0.05 * (high - low) or 0.5
        axes.set_ylim(low - margin, high + margin)
        return
    low = min([low, *(value for value in references if value > low / FLOOR_REACH)])
    axes.set_yscale("log")
    axes.set_ylim(low / 1.6, 1.3 * min(high, CHANCES_SHOWN * metric.chance))


def _sensitivity_line(axes: Axes, row: Row, metric: Metric, place: int) -> None:
    color, marker = look(place)
    rates = np.array([cell.rate for cell in row.cells])
    middle, low, high = (
        np.array([getattr(cell.val, field) for cell in row.cells]) for field in ("median", "minimum", "maximum")
    )
    edge = axes.get_ylim()[0 if metric.higher_is_better else 1]
    shown = np.where(np.isinf(middle), np.nan, np.clip(middle, *axes.get_ylim()))
    axes.plot(rates, shown, color=color, marker=marker, zorder=3)
    band = np.isfinite(low) & np.isfinite(high)
    low, high = (np.clip(np.where(np.isinf(values), edge, values), *axes.get_ylim()) for values in (low, high))
    axes.fill_between(rates, low, high, where=list(band), color=color, alpha=0.16, linewidth=0)
    axes.vlines(rates, low, high, color=color, alpha=0.4, linewidth=1)
    best = best_cell(row.cells, metric)
    if best is not None:
        axes.plot(best.rate, best.val.median, marker="o", markersize=13, markerfacecolor="none", color=color)
    for here, there in zip(row.cells, row.cells[1:], strict=False):
        if math.isinf(here.val.median) != math.isinf(there.val.median):
            heights = [edge if math.isinf(cell.val.median) else cell.val.median for cell in (here, there)]
            axes.plot([here.rate, there.rate], heights, color=color, linestyle=":", linewidth=1.2)
    for rate in rates[np.isinf(middle)]:
        axes.plot(rate, edge, color=color, marker="x", clip_on=False, zorder=4)


def _failure_strip(axes: Axes, rows: Sequence[Row]) -> None:
    """Failed of all trials, per row and learning rate; at the same time the legend."""
    quiet(axes)
    axes.tick_params(axis="y", pad=18)
    axes.set_title("failed trials", fontsize="small", fontweight="normal", color=GREY)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [drawable(row.label) for row in rows], fontsize="small")
    for place, (row, label) in enumerate(zip(rows, axes.get_yticklabels(), strict=True)):
        color, marker = look(place)
        axes.plot(-0.02, place, color=color, marker=marker, transform=axes.get_yaxis_transform(), clip_on=False)
        label.set_color(color)
        for cell in row.cells:
            text = f"{cell.failed}/{cell.n}" if cell.failed else "·"
            axes.text(cell.rate, place, text, color=color, fontsize="small", ha="center", va="center")


def _references(axes: Axes, board: Board) -> None:
    """Thresholds and trivial predictors as labelled horizontal lines."""
    named = {drawable(name.replace("_", " ")): value for name, value in board.baselines.items()}
    if not any(math.isclose(value, board.metric.chance, rel_tol=0.1) for value in named.values()):
        named["chance"] = board.metric.chance
    named |= {f"threshold {limit:.3g}": limit for limit in thresholds(board.metric)}
    low, high = axes.get_ylim()
    for name, value in named.items():
        if low <= value <= high:
            axes.axhline(value, color=GREY, linewidth=0.9, linestyle="--", zorder=1)
            axes.annotate(
                name, (1.01, value), xycoords=("axes fraction", "data"), color=GREY, fontsize="small", va="center"
            )


def _rate_axis(axes: Axes, rates: Iterable[float]) -> None:
    ticks = sorted(rates)
    axes.set_xlim(ticks[0] / 1.5, ticks[-1] * 1.5)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    if len(ticks) <= RATES_LABELLED:
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: formatting.rate(rate)))
    if len(ticks) > RATES_UPRIGHT:
        axes.tick_params(axis="x", rotation=45)


def _curve(axes: Axes, steps: list[int], values: list[float], color: tuple[float, ...]) -> None:
    """A line that runs along the edge where it lies beyond, and ends in a cross where most seeds have failed."""
    finite = [step for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    heights = np.clip([value for value in values if math.isfinite(value)], *axes.get_ylim())
    axes.plot(finite, heights, color=color, linewidth=1.5, marker="." if len(finite) == 1 else "none")
    if finite and len(finite) < len(values):
        axes.plot(finite[-1], heights[-1], color=color, marker="x", clip_on=False)
