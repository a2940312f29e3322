"""An exhibit as it is shown: figures, tables and conditions, made of records."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lra_bench.exhibits.conditions import conditions
from lra_bench.exhibits.records import Studies, chosen
from lra_bench.exhibits.spec import Exhibit
from lra_bench.exhibits.tables import tables
from lra_bench.nn.ops.spectral import spectral_filters
from lra_bench.report.aggregate import aggregate
from lra_bench.report.board import Board
from lra_bench.report.content import Picture
from lra_bench.report.figures.gallery import Drawing, board_drawings, shared_drawings
from lra_bench.report.figures.pictures import painted
from lra_bench.report.table import Table

OF_FILTERS = {"spectral_filters": "filters", "features": "features"}
"""Names of the drawings that need no records."""


@dataclass(frozen=True)
class Shown:
    """An exhibit, made.

    Attributes:
        exhibit: what it is to be.
        pictures: their names begin with the exhibit's id.
        tables: by name.
        conditions: words by what they are about; empty where nothing is measured.
        missing: studies that it is to be made of and that have no records yet.
    """

    exhibit: Exhibit
    pictures: tuple[Picture, ...]
    tables: dict[str, tuple[Table, ...]]
    conditions: dict[str, str]
    missing: tuple[str, ...]


def shown(exhibit: Exhibit, studies: Studies) -> Shown:
    """Make an exhibit of the studies that there are.

    Raises:
        LraBenchError: a selection chooses nothing, or the records lack what is to be shown of them.
    """
    trials = chosen(exhibit, studies)
    boards = aggregate(trials) if trials else []
    return Shown(
        exhibit=exhibit,
        pictures=tuple(painted(_drawings(exhibit, boards))),
        tables=tables(exhibit, boards) if boards else {},
        conditions=conditions(boards) if boards else {},
        missing=tuple(study for study in exhibit.studies if study not in studies),
    )


def _drawings(exhibit: Exhibit, boards: Sequence[Board]) -> list[Drawing]:
    """Its drawings, of every board and of the filters."""
    drawings = [
        _of_several(drawing, board, place) if len(boards) > 1 else drawing
        for place, board in enumerate(boards, 1)
        for drawing in board_drawings(board, place, exhibit.pictures)
    ]
    if exhibit.filters is not None:
        wanted = [OF_FILTERS[kind] for kind in exhibit.pictures if kind in OF_FILTERS]
        filters = spectral_filters(exhibit.filters.seq_len, exhibit.filters.num_filters)
        drawings += [drawing for drawing in shared_drawings([], filters) if drawing.name in wanted]
    return [replace(drawing, name=f"{exhibit.id}-{drawing.name}") for drawing in drawings]


def _of_several(drawing: Drawing, board: Board, place: int) -> Drawing:
    """A drawing with the name of its board in the title; how it is to be read is said once."""
    caption = drawing.caption if place == 1 else "Drawn as the first one."
    return replace(drawing, title=f"{drawing.title}: {board.label}", caption=caption)
