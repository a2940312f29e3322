"""Tables for a terminal: fewer columns, short names, a fixed greatest width."""

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from lra_bench.report.formatting import Interval, cut, display_width, printable
from lra_bench.report.table import Column, Group, Table

WIDTH = 100
GAP = 2
NARROWEST = 14
"""What is left of a column of words at least."""

LONG = 25
"""A group of more rows is cut to so many: it was asked for as a page, and this is a glance at it."""

WITHOUT_INTERVALS = "(intervals: see the report)"

Lines = list[list[str]]


def terminal_text(table: Table) -> str:
    """The table as lines of plain text without control characters, at most `WIDTH` columns wide.

    Words are cut where it is too wide; then intervals are left out; then columns move below, beside the first again.
    Where cutting would make two names the same, each stands in full above its numbers. Of long groups the first rows
    are shown.
    """
    table = table.narrow
    shown = replace(table, groups=tuple(replace(group, rows=group.rows[:LONG]) for group in table.groups))
    between = _between(table.groups)
    given = _lines(shown)
    lines, complete = _fit(given, table.columns)
    if len({line[0] for line in lines}) < len({line[0] for line in given}):
        for place, (name, *_) in enumerate(given[1:], 1):
            between[place] += textwrap.wrap(name, WIDTH, subsequent_indent="  ")
        lines, complete = _fit([given[0], *(["", *numbers] for _, *numbers in given[1:])], table.columns)
    title = f"{table.title}: {table.conditions}" + ("" if complete else f" {WITHOUT_INTERVALS}")
    text = [_fitted(line, WIDTH) for line in textwrap.wrap(printable(title), WIDTH, subsequent_indent="  ")]
    for block in _blocks(lines):
        text += _laid_out(block, between)
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


def _between(groups: Sequence[Group]) -> dict[int, list[str]]:
    """Titles of groups, and how many rows each has more than are shown, by the number of the line they stand above."""
    between: dict[int, list[str]] = defaultdict(list)
    place = 1
    for group in groups:
        if group.title and group.rows:
            between[place].append(f"-- {printable(group.title)} --")
        place += len(group.rows[:LONG])
        if len(group.rows) > LONG:
            between[place].append(f"... and {len(group.rows) - LONG:,} more, see the report")
    return between


def _fit(lines: Lines, columns: Sequence[Column]) -> tuple[Lines, bool]:
    """The lines with words cut, and without intervals where that is not enough; and whether nothing was left out."""
    fitted = _cut(lines, columns)
    if _width(_widths(fitted)) <= WIDTH:
        return fitted, True
    return _cut(_without_intervals(lines, columns), columns), False


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


def _laid_out(block: Lines, between: Mapping[int, Sequence[str]]) -> Iterator[str]:
    """A block of columns, and what stands between its lines."""
    for place, line in enumerate(_aligned(block)):
        yield from (_fitted(text, WIDTH) for text in between.get(place, ()))
        yield line
    yield from (_fitted(text, WIDTH) for text in between.get(len(block), ()))


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
