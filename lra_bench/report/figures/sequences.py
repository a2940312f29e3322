"""Examples of a task as figures: sequences of numbers, one panel beside the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lra_bench.report.figures.style import COLORS, drawable, house_style

PANEL = (4.6, 1.7)
"""Inches of one panel."""


@dataclass(frozen=True)
class Panel:
    """One sequence.

    Attributes:
        title: above it.
        values: (L,) tokens or classes, drawn as points; or (L, C) real numbers, a line for each channel.
        counts: (L,) which steps to draw; None draws all.
    """

    title: str
    values: NDArray[Any]
    counts: NDArray[np.bool_] | None = None


@house_style()
def sequences_figure(lines: Sequence[Sequence[Panel]]) -> Figure:
    """Lines of panels, each line with the same number of them."""
    rows, columns = len(lines), len(lines[0])
    figure = Figure(figsize=(columns * PANEL[0], rows * PANEL[1]), layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False)
    for line, axes in zip(lines, places, strict=True):
        for panel, place in zip(line, axes, strict=True):
            _draw(place, panel)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    length = len(panel.values)
    steps = np.arange(length) if panel.counts is None else np.flatnonzero(panel.counts)
    as_points = panel.values.ndim == 1 or len(steps) == 1
    for channel, values in enumerate(panel.values.reshape(length, -1).T):
        color = COLORS[channel % len(COLORS)]
        if as_points:
            axes.plot(steps, values[steps], ".", color=color)
        else:
            axes.plot(steps, values[steps], color=color, linewidth=0.9)
    axes.set_title(drawable(panel.title), fontsize="small")
    axes.set_xlim(-0.5, length - 0.5)
    axes.set_xlabel("step")
