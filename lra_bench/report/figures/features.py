"""How the STU makes its output, as a drawing."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lra_bench.report.figures.medians import Floats
from lra_bench.report.figures.style import COLORS, GREY, WIDTH, house_style

_LOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

Point = tuple[float, float]

LINES = (41.0, 31.5, 17.5)
"""Heights of the first, the second and the last filter; the drawing is 100 wide and 52 high."""

MIDDLE = 24.0

TAPS = 4.5
"""Height of what does not pass through the filters."""

SMALL = 8.0
"""Points of the text in boxes."""


@house_style()
def features_figure(phi: Floats | None = None) -> Figure:
    """The spectral transform unit as a drawing: the paper's equation 4, and its figure 2 (arXiv 2312.06837).

    Args:
        phi: filters as columns, (L, K), to be drawn in their boxes; None draws their names.
    """
    figure = Figure(figsize=(WIDTH, 3.4))
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set(xlim=(0, 100), ylim=(0, 52))
    axes.axis("off")
    last = "ₖ" if phi is None else str(phi.shape[1]).translate(_LOW)
    _headings(axes)
    _input(axes)
    for height, place, low in zip(LINES, _places(phi), ("₁", "₂", last), strict=True):
        _arrow(axes, [(11, MIDDLE), (14, MIDDLE), (14, height), (18, height)])
        _filter(axes, height, f"φ{low}", None if phi is None or place is None else phi[:, place])
        _arrow(axes, [(38, height), (44, height)])
        _box(axes, (44, height), 10, f"× ∜σ{low}")
        _arrow(axes, [(54, height), (60, height)])
        _box(axes, (60, height), 13, f"M⁺{low}  M⁻{low}")
        _arrow(axes, [(73, height), (77, height), (77, MIDDLE), (80, MIDDLE)])
    axes.text(28, sum(LINES[1:]) / 2, "⋮", ha="center", va="center", color=GREY)
    _arrow(axes, [(14, MIDDLE), (14, TAPS), (18, TAPS)])
    _box(axes, (18, TAPS), 55, "a learnt matrix each for u now, one and two steps ago")
    _arrow(axes, [(73, TAPS), (82, TAPS), (82, MIDDLE - 3)])
    _box(axes, (86.5, TAPS), 12.5, "ŷ two\nsteps ago")
    _arrow(axes, [(93, MIDDLE - 4), (93, TAPS + 3.2)])
    _arrow(axes, [(86.5, TAPS), (84, TAPS), (84, MIDDLE - 3)])
    axes.plot(83, MIDDLE, marker="o", markersize=17, markerfacecolor="white", color=COLORS[1])
    axes.text(83, MIDDLE, "+", ha="center", va="center", fontsize=13, color=COLORS[1])
    _arrow(axes, [(86, MIDDLE), (90, MIDDLE)])
    axes.text(94.5, MIDDLE, "output\nŷ", ha="center", va="center", fontsize=9)
    return figure


def _places(phi: Floats | None) -> Sequence[int | None]:
    """Columns of the first, the second and the last filter, as far as there are any."""
    return (None,) * 3 if phi is None else (0, min(1, phi.shape[1] - 1), phi.shape[1] - 1)


def _headings(axes: Axes) -> None:
    for middle, text in (
        (28, "convolve with\nfixed filters"),
        (49, "scale by their\neigenvalues"),
        (66.5, "project\n(learnt)"),
        (83, "sum"),
    ):
        axes.text(middle, 51, text, ha="center", va="top", fontsize=SMALL, color=GREY)


def _input(axes: Axes) -> None:
    steps = np.linspace(0, 1, 60)
    panel = axes.inset_axes((1, MIDDLE - 5, 10, 10), transform=axes.transData)
    panel.plot(steps, np.sin(9 * steps) + 0.5 * np.sin(31 * steps), color=COLORS[0], linewidth=1.2)
    _bare(panel)
    axes.text(6, MIDDLE + 6.5, "input u", ha="center", va="bottom", fontsize=9)


def _filter(axes: Axes, height: float, name: str, values: Floats | None) -> None:
    panel = axes.inset_axes((18, height - 3.2, 20, 6.4), transform=axes.transData)
    if values is not None:
        panel.plot(np.log(np.arange(1, values.size + 1)), values, color=COLORS[0], linewidth=1.1)
    _bare(panel)
    panel.text(0.97, 0.93, name, transform=panel.transAxes, ha="right", va="top", fontsize=SMALL)


def _bare(panel: Axes) -> None:
    """A panel with a frame around it and no numbers."""
    panel.set(xticks=[], yticks=[])
    panel.grid(visible=False)
    panel.margins(y=0.3)
    for spine in panel.spines.values():
        spine.set_visible(True)


def _box(axes: Axes, left: Point, width: float, text: str) -> None:
    """A box with `text`, from the middle of its left side on."""
    x, y = left
    axes.fill([x, x + width, x + width, x], [y - 3.2, y - 3.2, y + 3.2, y + 3.2], facecolor="#f2f2f2", edgecolor=GREY)
    axes.text(x + width / 2, y, text, ha="center", va="center", fontsize=SMALL)


def _arrow(axes: Axes, points: Sequence[Point]) -> None:
    """A line along `points`, with a head at its end."""
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=GREY, linewidth=1, zorder=0)
    axes.annotate(
        "", points[-1], points[-2], arrowprops={"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 0}
    )
