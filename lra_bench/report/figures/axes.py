"""Axes, lines and legends that the figures of the report have in common."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.typing import ColorType

from lra_bench.report import formatting
from lra_bench.report.board import Board, Metric, Row
from lra_bench.report.figures.medians import Curve
from lra_bench.report.figures.style import GREY, drawable, look, wrapped

ROWS_SHOWN = 12
"""Most rows that one figure sets apart."""

CHANCES_SHOWN = 3.0
"""Errors are shown up to this multiple of chance; what lies above is cut off."""

FLOOR_REACH = 30.0
"""Reference lines this factor below the lowest error are still shown."""

HUGE = 1e30
"""Values from here on, infinity among them, do not widen an axis."""

RATES_LABELLED = 14
"""Most learning rates that are labelled one by one."""

TICKS = 7
"""Most labels of a logarithmic axis."""

NAME_GAP = 0.05
"""Least distance between the names of two reference lines, as a share of the axis."""

LEGEND_LETTERS = 72
"""Characters in one line of a legend."""

LEGEND_LINE = 0.2
"""Inches of such a line."""

FEW_BANDS = 4
"""So many bands on top of each other can be told apart; more are drawn fainter."""


def shown_rows(board: Board) -> list[Row]:
    """The rows that figures set apart, in the board's order: the best of every model, then the best of the others."""
    models = [row.model for row in board.rows]
    order = sorted(range(len(models)), key=lambda place: models[place] in models[:place])
    return [board.rows[place] for place in sorted(order[:ROWS_SHOWN])]


def name_of(row: Row) -> str:
    """The row's label as it can be drawn."""
    return drawable(row.label) or "?"


def metric_axis(axes: Axes, metric: Metric, values: Iterable[float], references: Iterable[float] = ()) -> None:
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
    few_ticks(axes.yaxis)


def log_x(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic x axis that holds positive `values`."""
    axes.set_xscale("log")
    axes.set_xlim(*_around(values))
    few_ticks(axes.xaxis)


def log_y(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic y axis that holds positive `values`."""
    axes.set_yscale("log")
    axes.set_ylim(*_around(values))
    few_ticks(axes.yaxis)


def few_ticks(axis: Axis) -> None:
    """Label a logarithmic axis at a few round numbers."""
    label_at(axis, log_ticks(*axis.get_view_interval()))


def label_at(axis: Axis, ticks: Sequence[float]) -> None:
    """Label an axis at `ticks` and nowhere else."""
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_plain))


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ones: powers of ten if there are enough, at most `TICKS`."""
    powers = [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    for digits in ((1,), (1, 3), (1, 2, 5)):
        ticks = [digit * power for power in powers for digit in digits if low <= digit * power <= high]
        if len(ticks) > 2:
            return ticks[:: math.ceil(len(ticks) / TICKS)]
    return [float(tick) for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= high]


def rate_axis(axes: Axes, rates: Iterable[float]) -> None:
    """A logarithmic axis of learning rates, each labelled if they are not too many."""
    ticks = sorted(rates)
    margin = max(1.5, (ticks[-1] / ticks[0]) ** 0.08)
    axes.set_xscale("log")
    axes.set_xlim(ticks[0] / margin, ticks[-1] * margin)
    axes.set_xlabel("learning rate")
    if len(ticks) > RATES_LABELLED:
        few_ticks(axes.xaxis)
        return
    label_at(axes.xaxis, ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(rate_text))
    if sum(len(formatting.rate(tick)) + 1 for tick in ticks) > 44:
        axes.tick_params(axis="x", rotation=45)


def rate_text(rate: float, _: int) -> str:
    """A tick's label."""
    return formatting.rate(rate)


def reference_lines(axes: Axes, named: Mapping[str, float]) -> None:
    """Dashed horizontal lines within the axes, their names at the right, no name on another."""
    low, high = axes.get_ylim()
    inside = sorted((value, name) for name, value in named.items() if low <= value <= high)
    if not inside:
        return
    to_axis = axes.yaxis.get_transform().transform
    bottom, top = to_axis(np.array([low, high]))
    heights = (to_axis(np.array([value for value, _ in inside])) - bottom) / (top - bottom)
    for (value, name), height in zip(inside, spread(heights.tolist(), NAME_GAP), strict=True):
        axes.axhline(value, color=GREY, linewidth=0.9, linestyle="--", zorder=1)
        axes.annotate(name, (1.01, height), xycoords="axes fraction", color=GREY, fontsize="small", va="center")


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Ascending heights moved apart to at least `gap`, upwards first and down again where they leave the top."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + gap) if moved else height)
    ceiling = max(1.0, (len(heights) - 1) * gap)
    for place in reversed(range(len(moved))):
        moved[place] = min(moved[place], ceiling)
        ceiling = moved[place] - gap
    return moved


def band_strength(count: int) -> float:
    """How opaque the bands of `count` rows are."""
    return 0.16 if count <= FEW_BANDS else 0.06


def draw_curve(axes: Axes, curve: Curve, color: ColorType, line: str = "-", width: float = 1.5) -> None:
    """A line that runs along the edge where it lies beyond, and ends in a cross where most seeds have failed."""
    finite = np.isfinite(curve.median)
    steps, heights = curve.steps[finite], np.clip(curve.median[finite], *axes.get_ylim())
    axes.plot(steps, heights, color=color, linestyle=line, linewidth=width, marker="." if steps.size == 1 else "none")
    if steps.size and not finite.all():
        axes.plot(steps[-1], heights[-1], color=color, marker="x", clip_on=False)


def legend_below(figure: Figure, entries: Sequence[tuple[str, Line2D]]) -> None:
    """A legend under all axes, in as many columns as its names, which can be drawn as they are, leave room for.

    The figure grows by its height.
    """
    longest = max(len(name) for name, _ in entries)
    lines = sum(1 + name.count("\n") for name, _ in entries)
    columns = max(1, min(len(entries), 4, LEGEND_LETTERS // (longest + 6)))
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * math.ceil(lines / columns))
    figure.legend(
        [line for _, line in entries],
        [name for name, _ in entries],
        loc="outside lower center",
        ncols=columns,
    )


def legend_of_rows(figure: Figure, rows: Sequence[Row], markers: bool) -> None:
    """A legend of rows, each in its look: with its marker, or with its line."""
    entries = []
    for place, row in enumerate(rows):
        own = look(place)
        line = Line2D([], [], color=own.color, linestyle="none" if markers else own.line)
        line.set_marker(own.marker if markers else "none")
        entries.append((wrapped(name_of(row), LEGEND_LETTERS), line))
    legend_below(figure, entries)


def _around(values: Sequence[float]) -> tuple[float, float]:
    margin = 1.15 * (max(values) / min(values)) ** 0.06
    return min(values) / margin, max(values) * margin


def _plain(value: float, _: int) -> str:
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
