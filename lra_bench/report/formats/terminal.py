"""Tables for a terminal: fewer columns, short names, a fixed greatest width."""

import textwrap
from collections.abc import Iterator, Sequence

from lra_bench.report.formatting import Interval, cut, display_width, printable
from lra_bench.report.table import Column, Table

WIDTH = 100
GAP = 2
NARROWEST = 14
"""What is left of a column of words at least."""

WITHOUT_INTERVALS = "(intervals: see the report)"

Lines = list[list[str]]


def terminal_text(table: Table) -> str:
    """The table as lines of plain text without control characters, at most `WIDTH` columns wide.

    Words are cut where it is too wide; then intervals are left out; then columns move below, beside the first again.
    """
    table = table.narrow
    title = f"{table.title}: {table.conditions}"
    lines = _cut(_lines(table), table.columns)
    if _width(_widths(lines)) > WIDTH:
        lines = _cut(_without_intervals(_lines(table), table.columns), table.columns)
        title = f"{title} {WITHOUT_INTERVALS}"
    titles = _titles(table)
    text = [_fitted(line, WIDTH) for line in textwrap.wrap(printable(title), WIDTH, subsequent_indent="  ")]
    for block in _blocks(lines):
        for place, line in enumerate(_aligned(block)):
            text += [*titles.get(place, ()), line]
    return "\n".join(text)


def _lines(table: Table) -> Lines:
    """Headers and rows."""
    rows = [[entry.text for entry in row] for row in table.rows]
    return [[printable(text) for text in line] for line in ([column.header for column in table.columns], *rows)]


def _without_intervals(lines: Lines, columns: Sequence[Column]) -> Lines:
    header, *rows = lines
    return [header, *([_cell(text, column) for text, column in zip(row, columns, strict=True)] for row in rows)]


def _cell(text: str, column: Column) -> str:
    parts = Interval.of(text)
    return text if column.wordy else f"{parts.number} {parts.remark}".rstrip()


def _titles(table: Table) -> dict[int, tuple[str]]:
    """Titles of groups, by the number of the line that they stand above."""
    titles: dict[int, tuple[str]] = {}
    place = 1
    for group in table.groups:
        if group.title and group.rows:
            titles[place] = (_fitted(f"-- {printable(group.title)} --", WIDTH),)
        place += len(group.rows)
    return titles


def _cut(lines: Lines, columns: Sequence[Column]) -> Lines:
    """The widest column of words is narrowed again and again until a line fits, or all of them are `NARROWEST`.

    Where even that is too wide, no column stays so wide that it could not stand beside another.
    """
    widths = _widths(lines)
    wordy = [place for place, column in enumerate(columns) if column.wordy]
    while _width(widths) > WIDTH and wordy and widths[widest := max(wordy, key=widths.__getitem__)] > NARROWEST:
        widths[widest] -= 1
    if _width(widths) > WIDTH:
        widths = [min(width, (WIDTH - GAP) // 2) for width in widths]
    return [[_fitted(text, width) for text, width in zip(line, widths, strict=True)] for line in lines]


def _blocks(lines: Lines) -> Iterator[Lines]:
    """The columns in as few blocks as fit, the first column in each."""
    first, *others = _widths(lines)
    start, used = 1, first
    for place, width in enumerate(others, 1):
        if used + GAP + width > WIDTH:
            yield [[line[0], *line[start:place]] for line in lines]
            start, used = place, first
        used += GAP + width
    yield [[line[0], *line[start:]] for line in lines]


def _aligned(lines: Lines) -> Iterator[str]:
    """The first column to the left, the others to the right."""
    widths = _widths(lines)
    for line in lines:
        blanks = [" " * (width - display_width(text)) for text, width in zip(line, widths, strict=True)]
        cells = [line[0] + blanks[0], *(blank + text for blank, text in zip(blanks[1:], line[1:], strict=True))]
        yield (" " * GAP).join(cells).rstrip()


def _widths(lines: Lines) -> list[int]:
    return [max(map(display_width, column)) for column in zip(*lines, strict=True)]


def _width(widths: Sequence[int]) -> int:
    """Of a line."""
    return sum(widths) + GAP * (len(widths) - 1)


def _fitted(text: str, width: int) -> str:
    """The text, cut to `width` columns of a terminal."""
    room = width
    while display_width(shown := cut(text, room)) > width:
        room -= 1
    return shown
