"""The report: a folder of files that is a pure function of records."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import write_atomically
from lra_bench.report.aggregate import aggregate
from lra_bench.report.board import Board
from lra_bench.report.exports import comma_separated, markdown
from lra_bench.report.figures import curves_figure, filters_figure, sensitivity_figure
from lra_bench.report.page import Section, render
from lra_bench.report.style import svg_text, write_png
from lra_bench.report.trial import Trial


def build_report(trials: Sequence[Trial], out: Path, filters: tuple[np.ndarray, np.ndarray] | None = None) -> Path:
    """Write `index.html`, `leaderboard.md`, `leaderboard.csv` and `figures/` into `out`.

    The same records, in any order, give the same bytes.

    Args:
        trials: at least one.
        out: folder, made if it is not there.
        filters: eigenvalues (K,) and eigenvectors (L, K) of the spectral filters, to show them too.

    Returns:
        The path of `index.html`.

    Raises:
        LraBenchError: no records, or records that cannot be compared (see `aggregate`), or `out` cannot be a folder.
    """
    boards = aggregate(trials)
    folder = out / "figures"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LraBenchError(f"cannot make the folder {folder}: {error.strerror}") from error
    sections = [_section(board, f"{place}-{_slug(board.task)}", folder) for place, board in enumerate(boards, 1)]
    spectral = _picture(filters_figure(*filters), "filters", folder) if filters else None
    write_atomically(out / "leaderboard.md", markdown(boards))
    write_atomically(out / "leaderboard.csv", comma_separated(boards))
    page = out / "index.html"
    write_atomically(page, render(sections, spectral))
    return page


def _section(board: Board, name: str, folder: Path) -> Section:
    return Section(
        board=board,
        sensitivity=_picture(sensitivity_figure(board), f"{name}-sensitivity", folder),
        curves=_picture(curves_figure(board), f"{name}-curves", folder),
    )


def _picture(figure: Figure, name: str, folder: Path) -> str:
    """Writes the figure as SVG and PNG and returns the SVG."""
    svg = svg_text(figure, name)
    write_atomically(folder / f"{name}.svg", svg)
    write_png(figure, folder / f"{name}.png")
    return svg


def _slug(name: str) -> str:
    """The name as part of a file name, whatever it holds."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "task"
