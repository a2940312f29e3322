"""What a report holds, before it is written in any format."""

from dataclasses import dataclass
from pathlib import Path

from lra_bench.report.board import Board
from lra_bench.report.table import Table


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        name: of its files, without ending; different for every picture.
        title: short.
        caption: what is drawn, and how to read it.
        alt: what it shows, for those who cannot see it.
        svg: an `<svg>` element whose ids begin with the name.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg: str


@dataclass(frozen=True)
class Problem:
    """A file that was found where records are, and is of no use.

    Attributes:
        place: the file.
        reason: why, in one line.
    """

    place: Path
    reason: str


@dataclass(frozen=True)
class Section:
    """All there is of one board.

    Attributes:
        board: its trials.
        rates: `rate_table` of the board.
        usable: its usable learning rates, seed by seed.
        pictures: drawn of this board alone.
        search: what the search over one model's settings came to, in sentences; none where there was no search.
    """

    board: Board
    rates: Table
    usable: Table
    pictures: tuple[Picture, ...]
    search: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """Everything on the page.

    Attributes:
        leaderboards: several tasks side by side.
        sections: one per board.
        pictures: drawn of several boards, or of none.
        problems: files that could not be read; no number depends on them.
        mixed: tracks and protocols share tables, as was asked for.
        folder: of the page; links to trials are relative to it.
    """

    leaderboards: tuple[Table, ...]
    sections: tuple[Section, ...]
    pictures: tuple[Picture, ...]
    problems: tuple[Problem, ...]
    mixed: bool
    folder: Path
