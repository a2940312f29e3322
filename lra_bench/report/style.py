"""How the figures look, and how they are written to the same bytes every time."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure

from lra_bench.core.files import replacing
from lra_bench.report.formatting import cut, printable

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
"""Okabe and Ito's palette, told apart by colour-blind readers."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
GREY = "#5f5f5f"
LONGEST_LABEL = 60

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "svg.hashsalt": "lra-bench",
}


@contextmanager
def house_style() -> Iterator[None]:
    """The house's settings in place of the user's matplotlibrc. Also works as a decorator."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def look(place: int) -> tuple[str, str]:
    """Colour and marker of the row at `place`; different for the first 56 rows."""
    return COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]


def sequential() -> Colormap:
    """A dark to light colour map that stays readable on white."""
    return ListedColormap(colormaps["viridis"].resampled(256)(range(225)))


def drawable(text: str) -> str:
    """Text from records as matplotlib can draw it: no formula, no character that its font may lack, not too long."""
    known = "".join(character if ord(character) < 0x250 else "?" for character in printable(text))
    return cut(known, LONGEST_LABEL).lstrip("_").replace("$", r"\$")


def quiet(axes: Axes) -> None:
    """Take spines, ticks and grid away."""
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


@house_style()
def svg_text(figure: Figure, prefix: str) -> str:
    """The figure as an `<svg>` element for a page; `prefix` keeps its ids apart from those of other figures."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    svg = file.getvalue()
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg[svg.index("<svg") :])


@house_style()
def write_png(figure: Figure, path: Path) -> None:
    """Write the figure at 160 dots per inch, atomically."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=160, metadata={"Software": None}, bbox_inches="tight")
