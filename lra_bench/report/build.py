"""The report: a folder of files that is a pure function of records."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import write_atomically
from lra_bench.report.content import Content, Picture, Section
from lra_bench.report.figures.curves import cloud
from lra_bench.report.figures.gallery import Drawing, board_drawings, shared_drawings
from lra_bench.report.figures.pictures import OnDone, paint
from lra_bench.report.formats.exports import comma_separated, markdown
from lra_bench.report.formats.latex import latex
from lra_bench.report.formats.page import render
from lra_bench.report.frame import boards as boards_of
from lra_bench.report.frame import problems_of
from lra_bench.report.rate_table import rate_table
from lra_bench.report.search_verdict import search_sentences
from lra_bench.report.sensitivity_frame import frame as sensitivity_frame
from lra_bench.report.standings import assembly as standings
from lra_bench.report.usable import board_table

Filters = tuple[np.ndarray, np.ndarray]
Painter = Callable[[Sequence[Drawing]], Iterable[Picture]]


def build_report(
    frame: pd.DataFrame,
    out: Path,
    filters: Filters | None = None,
    against: str | None = None,
    mix: bool = False,
    on_figure: OnDone | None = None,
) -> Content:
    """Write `index.html`, `leaderboard.md`, `.tex` and `.csv`, `sensitivity.csv` and `figures/` into `out`.

    The same records, in any order, give the same bytes.

    Args:
        frame: of `load_records`, or some rows of it.
        out: folder, made if it is not there.
        filters: eigenvalues (K,) and eigenvectors (L, K) of the spectral filters, to show them too.
        against: name of a published row, to which differences are shown.
        mix: different tracks and protocols share tables; the page says so.
        on_figure: called with the number of figures drawn so far, and of all.

    Returns:
        What is on the page.

    Raises:
        LraBenchError: no records, or records that cannot be compared (see `aggregate`); nothing of the name `against`
            was published; or a file cannot be written.
    """
    figures = _made(out / "figures")
    content, texts = compose(frame, out, partial(paint, folder=figures, on_done=on_figure), filters, against, mix)
    for name, text in texts.items():
        write_atomically(out / name, text)
    return content


def compose(
    frame: pd.DataFrame,
    folder: Path,
    painter: Painter,
    filters: Filters | None = None,
    against: str | None = None,
    mix: bool = False,
) -> tuple[Content, dict[str, str]]:
    """Make a report without writing it.

    Args:
        frame: as `build_report` takes it.
        folder: of the page, which links are relative to; nothing is read or written there.
        painter: paints drawings; those without data are left out.
        filters: as `build_report` takes them.
        against: as `build_report` takes it.
        mix: as `build_report` takes it.

    Returns:
        What is on the page, and the text of each file by its name.

    Raises:
        LraBenchError: see `build_report`.
    """
    boards = boards_of(frame, mix)
    found = standings.standings(boards, against, mix)
    tables = standings.tables(found)
    own = [board_drawings(board, place) for place, board in enumerate(boards, 1)]
    shared = shared_drawings(boards, filters)
    pictures = {picture.name: picture for picture in painter([*chain.from_iterable(own), *shared])}
    content = Content(
        leaderboards=tuple(tables),
        sections=tuple(
            Section(
                board,
                rate_table(board),
                board_table(board),
                _painted(drawings, pictures),
                search_sentences(board, cloud(board)),
            )
            for board, drawings in zip(boards, own, strict=True)
        ),
        pictures=_painted(shared, pictures),
        problems=tuple(problems_of(frame)),
        mixed=mix,
        folder=folder,
    )
    return content, {
        "leaderboard.md": markdown(tables),
        "leaderboard.tex": latex([table.without_quoted for table in tables]),
        "leaderboard.csv": comma_separated(standings.frame(found)),
        "sensitivity.csv": comma_separated(sensitivity_frame(boards)),
        "index.html": render(content),
    }


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LraBenchError(f"cannot make the folder {folder}: {error.strerror}") from error
    return folder


def _painted(drawings: Iterable[Drawing], pictures: dict[str, Picture]) -> tuple[Picture, ...]:
    """The pictures of the drawings that there were data for."""
    return tuple(pictures[each.name] for each in drawings if each.name in pictures)
