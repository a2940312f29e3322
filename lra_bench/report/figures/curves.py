"""Learning curves."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lra_bench.report.board import Board, Cell, Metric, Row
from lra_bench.report.figures.axes import (
    RATES_LABELLED,
    band_strength,
    draw_curve,
    label_at,
    legend_below,
    legend_of_rows,
    log_ticks,
    metric_axis,
    name_of,
    rate_text,
    shown_rows,
)
from lra_bench.report.figures.medians import Curve, median_curve
from lra_bench.report.figures.style import GREY, WIDTH, drawable, house_style, look, sequential, wrapped
from lra_bench.report.tolerance import best_cell

PANELS_PER_LINE = 3
PANEL_LETTERS = 24
"""Characters that fit on one line of a panel's title."""

TITLE_LINE = 0.15
"""Inches of such a line."""

CLOUD_FROM = 3
"""Fewest rows of one model that make a cloud."""

PAPER_LINES = 100
"""A cloud of more lines is drawn as a picture, which keeps the page small."""


@house_style()
def curves_figure(board: Board) -> Figure:
    """Learning curves: a panel per row, a line per learning rate, each the median over seeds."""
    rows = shown_rows(board)
    columns = min(PANELS_PER_LINE, len(rows))
    lines = math.ceil(len(rows) / columns)
    titles = [wrapped(name_of(row), PANEL_LETTERS) for row in rows]
    height = 1.9 + TITLE_LINE * max(title.count("\n") for title in titles)
    figure = Figure(figsize=(2.2 * columns + 1.2, height * lines + 0.5), layout="constrained")
    panels = list(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat)
    rates = sorted({cell.rate for row in rows for cell in row.cells})
    colors = ScalarMappable(LogNorm(rates[0] / 1.01, rates[-1] * 1.01), sequential())
    shades = dict(zip(rates, colors.to_rgba(np.array(rates)), strict=True))
    curves = [[median_curve(cell, board.metric) for cell in row.cells] for row in rows]
    _step_axis(panels[0], board.metric, [curve for group in curves for curve in group])
    for axes, row, title, group in zip(panels, rows, titles, curves, strict=False):
        for cell, curve in zip(row.cells, group, strict=True):
            draw_curve(axes, curve, tuple(shades[cell.rate]))
        axes.set_title(title, fontsize="small")
    for place, axes in enumerate(panels):
        axes.set_visible(place < len(rows))
        axes.tick_params(labelbottom=place + columns >= len(rows), labelsize="small")
    bar = figure.colorbar(colors, ax=panels, label="learning rate", pad=0.02)
    label_at(bar.ax.yaxis, rates if len(rates) <= RATES_LABELLED else log_ticks(rates[0], rates[-1]))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(rate_text))
    bar.ax.tick_params(labelsize="small")
    figure.supxlabel("step", fontsize="medium")
    figure.supylabel(f"validation {drawable(board.metric.name)}", fontsize="medium")
    return figure


@house_style()
def best_curves_figure(board: Board) -> Figure | None:
    """Each row at its best learning rate: median over seeds and, as a band, their range. None if no row has one.

    Figure 3a of arXiv 2312.06837.
    """
    rows = shown_rows(board)
    curves = {place: curve for place, row in enumerate(rows) if (curve := _best_curve(row, board.metric)) is not None}
    if not curves:
        return None
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    axes = figure.subplots()
    _step_axis(axes, board.metric, list(curves.values()))
    axes.set(xlabel="step", ylabel=f"validation {drawable(board.metric.name)}")
    for place, curve in curves.items():
        own, limits = look(place), axes.get_ylim()
        low, high = np.clip(curve.low, *limits), np.clip(curve.high, *limits)
        axes.fill_between(curve.steps, low, high, color=own.color, alpha=band_strength(len(curves)), linewidth=0)
        draw_curve(axes, curve, own.color, own.line, width=1.8)
    legend_of_rows(figure, rows, markers=False)
    return figure


def cloud(board: Board) -> list[Row]:
    """The rows of the model with the most settings tried; none if that is fewer than `CLOUD_FROM`."""
    models = [row.model for row in board.rows]
    most = max(models, key=lambda model: (models.count(model), model))
    rows = [row for row, model in zip(board.rows, models, strict=True) if model == most]
    return rows if len(rows) >= CLOUD_FROM else []


@house_style()
def cloud_figure(board: Board) -> Figure | None:
    """Every setting and learning rate of one model as a cloud, and every model's best curve, chosen on validation.

    Figure 5 of arXiv 2312.06837. None if no model was tried with several settings.
    """
    settings = cloud(board)
    if not settings:
        return None
    cells = [cell for row in settings for cell in row.cells]
    curves = [median_curve(cell, board.metric) for cell in cells]
    models = sorted({row.model for row in board.rows})
    best = {model: _best_of([row for row in board.rows if row.model == model], board.metric) for model in models}
    tops = {model: median_curve(cell, board.metric) for model, cell in best.items() if cell is not None}
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    axes = figure.subplots()
    _step_axis(axes, board.metric, [*curves, *tops.values()])
    axes.set(xlabel="step", ylabel=f"validation {drawable(board.metric.name)}")
    _cloud(axes, curves)
    name = drawable(settings[0].model)
    entries = [(f"{name}: {len(settings)} settings, {len(cells)} curves", Line2D([], [], color=GREY, alpha=0.6))]
    for place, (model, curve) in enumerate(tops.items()):
        own = look(place)
        draw_curve(axes, curve, own.color, own.line, width=2.2)
        entries.append((f"{drawable(model)}: best", Line2D([], [], color=own.color, linestyle=own.line)))
    legend_below(figure, entries)
    return figure


def _cloud(axes: Axes, curves: Sequence[Curve]) -> None:
    lines = [
        np.column_stack([curve.steps[finite], np.clip(curve.median[finite], *axes.get_ylim())])
        for curve in curves
        if (finite := np.isfinite(curve.median)).any()
    ]
    many = len(lines) > PAPER_LINES
    axes.add_collection(
        LineCollection(lines, colors=GREY, alpha=0.2 if many else 0.35, linewidths=0.8, rasterized=many),
        autolim=False,
    )


def _step_axis(axes: Axes, metric: Metric, curves: Sequence[Curve]) -> None:
    metric_axis(axes, metric, [value for curve in curves for value in curve.median.tolist()])
    steps = [step for curve in curves for step in curve.steps.tolist()]
    if steps and min(steps) < max(steps):
        axes.set_xlim(min(steps), max(steps))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _best_curve(row: Row, metric: Metric) -> Curve | None:
    """The curve at the best rate, unless it was not measured."""
    best = best_cell(row.cells, metric)
    curve = None if best is None else median_curve(best, metric)
    return curve if curve is not None and curve.steps.size else None


def _best_of(rows: Sequence[Row], metric: Metric) -> Cell | None:
    """The best cell of several rows, on validation."""
    return best_cell([cell for row in rows for cell in row.cells], metric)
