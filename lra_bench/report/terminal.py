"""The leaderboard for a terminal: fewer columns, short names, a fixed greatest width."""

from dataclasses import dataclass

from lra_bench.report.board import Board
from lra_bench.report.formatting import cut, printable
from lra_bench.report.rate_table import rate_table

WIDTH = 100
GAP = 2


@dataclass(frozen=True)
class TerminalTable:
    """Plain strings without control characters; each line fits `WIDTH` columns with `GAP` spaces between entries.

    Attributes:
        title: what the board is about.
        headers: one per column.
        rows: one string per column.
    """

    title: str
    headers: list[str]
    rows: list[list[str]]


def terminal_table(board: Board) -> TerminalTable:
    """The board's main columns, words cut to fit."""
    table = rate_table(board)
    kept = [(place, column) for place, column in enumerate(table.columns) if column.short is not None]
    lines = [
        [column.short or "" for _, column in kept],
        *([printable(row[place].text) for place, _ in kept] for row in table.rows),
    ]
    widths = _widths(lines, [column.wordy for _, column in kept])
    headers, *rows = ([cut(text, width) for text, width in zip(line, widths, strict=True)] for line in lines)
    return TerminalTable(cut(printable(f"{board.label}: {board.conditions}"), WIDTH), headers, rows)


def terminal_text(board: Board) -> str:
    """The board's table as lines of plain text: the first column to the left, the others to the right."""
    table = terminal_table(board)
    lines = [table.headers, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    gap = " " * GAP
    return "\n".join(
        [
            table.title,
            *(
                gap.join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]).rstrip()
                for first, *others in lines
            ),
        ]
    )


def _widths(lines: list[list[str]], wordy: list[bool]) -> list[int]:
    """The natural widths, of which the widest of the wordy ones is narrowed again and again until a line fits."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    places = [place for place, words in enumerate(wordy) if words]
    while sum(widths) + GAP * (len(widths) - 1) > WIDTH:
        widths[max(places, key=widths.__getitem__)] -= 1
    return widths
