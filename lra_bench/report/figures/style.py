"""How the figures look, and how they are written to the same bytes every time."""

import io
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib.style
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure

from lra_bench.core.files import replacing, write_atomically
from lra_bench.report.formatting import cut, printable

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333333")
"""Okabe and Ito's palette, told apart by colour-blind readers."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
LineStyle = Literal["-", "--", "-.", ":"]
LINES: tuple[LineStyle, ...] = ("-", "--", "-.", ":")
GREY = "#5f5f5f"
LONGEST_LABEL = 110

WIDTH = 6.4
"""Inches of a figure: a page's text in print, and still readable where a phone shows it at half its size."""

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 10,
    "axes.titlesize": 10,
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
    "legend.fontsize": "small",
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "svg.hashsalt": "lra-bench",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@contextmanager
def house_style() -> Iterator[None]:
    """The house's settings in place of the user's matplotlibrc. Also works as a decorator."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


class Look(NamedTuple):
    """What tells the lines of a figure apart, on paper too."""

    color: str
    marker: str
    line: LineStyle


def look(place: int) -> Look:
    """The look of the row at `place`; different for the first 28."""
    return Look(COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)], LINES[place // len(COLORS) % len(LINES)])


def sequential() -> Colormap:
    """A dark to light colour map that stays readable on white."""
    return ListedColormap(colormaps["viridis"].resampled(256)(range(225)))


def drawable(text: str) -> str:
    """Text from records as matplotlib can draw it: no formula, no character that its font may lack, not too long."""
    known = "".join(character if ord(character) < 0x250 else "?" for character in printable(text))
    return cut(known, LONGEST_LABEL).lstrip("_").replace("$", r"\$")


def wrapped(text: str, width: int) -> str:
    """Text in lines of at most `width` characters."""
    return textwrap.fill(text, width)


def quiet(axes: Axes) -> None:
    """Take spines, ticks and grid away."""
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


@house_style()
def write_figure(figure: Figure, folder: Path, name: str) -> str:
    """Write `folder/name.svg`, `.png` and `.pdf`, atomically, and return the SVG.

    The figure's layout is done once, is the same in all of them, and is final.
    """
    svg = settled_svg(figure, name)
    write_atomically(folder / f"{name}.svg", svg)
    with replacing(folder / f"{name}.pdf") as temporary:
        about = {"CreationDate": None, "Creator": None, "Producer": None}
        FigureCanvasPdf(figure).print_pdf(temporary, metadata=about)  # type: ignore[no-untyped-call]
    write_png(figure, folder / f"{name}.png")
    return svg


@house_style()
def settled_svg(figure: Figure, name: str) -> str:
    """Do the figure's layout, which is final then, and return its SVG."""
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    return svg_text(figure, name)


@house_style()
def svg_text(figure: Figure, prefix: str) -> str:
    """The figure as an `<svg>` element for a page; `prefix` keeps its ids apart from those of other figures.

    Text stays text, and coordinates have two decimals, which is a hundredth of a point.
    """
    file = io.StringIO()
    about = {"Date": None, "Creator": None}
    FigureCanvasSVG(figure).print_svg(file, metadata=about)  # type: ignore[no-untyped-call]
    svg = file.getvalue()
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg[svg.index("<svg") :])
    return re.sub(r' d="M[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path.group()), svg)


@house_style()
def write_png(figure: Figure, path: Path) -> None:
    """Write the figure at 160 dots per inch, atomically."""
    figure.set_dpi(160)
    with replacing(path) as temporary:
        canvas = FigureCanvasAgg(figure)
        canvas.print_png(temporary, metadata={"Software": None})  # type: ignore[no-untyped-call]
