"""Tables as Markdown, and frames as CSV.

Text in records comes from strangers, and is written so that no reader of these formats acts on it.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from lra_bench.report.formats.links import web_address
from lra_bench.report.formatting import printable, sentence, stopped
from lra_bench.report.table import Column, Entry, Table

FORMULA_STARTS = "=+-@"
"""What begins a formula in a spreadsheet; forms of other widths count as well."""

DIGITS = 12
"""Significant ones of real numbers in CSV: the last of their 16 differ from one processor to another."""

_SPECIAL = re.compile(r"[\\`*_\[\]<>|~&$#]|(?<=www)\.|:(?=//)", re.IGNORECASE)
_LINE_START = re.compile(r"^(?:[-+](?=[\s-]|$)|=(?==*$)|\d+(?=[.)](?:\s|$)))")
_CELL_START = re.compile(r"(^|;)(\s*)(?=(\S))")


def markdown(tables: Sequence[Table]) -> str:
    """The tables one below the other, in GitHub's Markdown: title, conditions, rows and notes of each."""
    return "\n".join(["# Leaderboard\n", *map(_titled, tables)])


def markdown_safe(text: str) -> str:
    """One line in which no character means anything to Markdown or HTML, and no address becomes a link."""
    line = _SPECIAL.sub(r"\\\g<0>", printable(text))
    return _LINE_START.sub(lambda start: f"{start[0]}\\" if start[0].isdecimal() else f"\\{start[0]}", line)


def comma_separated(frame: pd.DataFrame) -> str:
    """The frame without its index: a header, a line per row, nothing where a value is missing, lines ended by LF.

    Real numbers have `DIGITS` digits; truth values are True and False; all other values are text that no spreadsheet
    takes for a formula.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([csv_safe(str(name)) for name in frame.columns])
    writer.writerows([_csv_cell(value) for value in line] for line in frame.itertuples(index=False, name=None))
    return file.getvalue()


def csv_safe(text: str) -> str:
    """One line that no spreadsheet takes for a formula, nor what follows a semicolon, which separates cells in some.

    An apostrophe stands before what would begin a formula.
    """
    return _CELL_START.sub(_guarded, printable(text))


def _guarded(start: re.Match[str]) -> str:
    guard = "'" if unicodedata.normalize("NFKC", start[3])[0] in FORMULA_STARTS else ""
    return f"{start[1]}{start[2]}{guard}"


def _csv_cell(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return f"{float(value):.{DIGITS}g}"
    return csv_safe(str(value))


def _titled(table: Table) -> str:
    return f"## {markdown_safe(table.title)}\n\n{markdown_table(table)}"


def markdown_table(table: Table) -> str:
    """One table without its title: conditions, rows and notes."""
    lines = [
        *([markdown_safe(sentence(table.conditions)), ""] if table.conditions else []),
        _markdown_line(markdown_safe(column.header) for column in table.columns),
        _markdown_line(_alignment(place, column) for place, column in enumerate(table.columns)),
    ]
    for group in table.groups:
        if group.title:
            lines.append(_markdown_line([f"*{markdown_safe(group.title)}*", *[""] * (len(table.columns) - 1)]))
        lines.extend(_markdown_line(map(_markdown_entry, row)) for row in group.rows)
    notes = [*table.notes, *(f"{column.header}: {column.note}" for column in table.columns if column.note)]
    return "\n".join([*lines, *(f"\n{markdown_safe(stopped(note))}" for note in notes), ""])


def _markdown_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _alignment(place: int, column: Column) -> str:
    return "---" if place == 0 or column.wordy else "---:"


def _markdown_entry(entry: Entry) -> str:
    text = markdown_safe(entry.text)
    address = web_address(entry.link)
    if text and address:
        text = f"[{text}](<{address.replace('&', '&amp;')}>)"
    return f"**{text}**" if text and entry.best else text
