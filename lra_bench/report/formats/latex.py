r"""Tables as LaTeX, to be read into a paper with `\input`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from lra_bench.report.formats.tex import tex_breakable, tex_number, tex_safe
from lra_bench.report.formatting import Interval, cut, printable, sentence, stopped
from lra_bench.report.table import Column, Entry, Group, Table

LINES = 44
"""Most lines of a float; a longer table goes on in another, because a float cannot be taller than a page."""

LONGEST_TITLE = 160
LONGEST_ENTRY = 60
"""Characters, beyond which the middle is left out."""

NARROW = 20
"""Characters that words may have for their column to need no line breaks; about as many fit into a line then."""

NOTE_LINE = 105
"""Characters in a line of notes."""

_NEW_LINE = r"\\"

_HEAD = r"""% Tables of lra-bench, for \input in a two-column article.
% Needs \usepackage{booktabs}. A table takes the largest of three settings in which it fits the width of the page; one
% that fits in none of them is scaled, which needs \usepackage{graphicx}.
\providecommand{\lrabenchlines}[1]{\begin{tabular}[t]{@{}r@{}}#1\end{tabular}}
\providecommand{\lrabenchset}[4]{#1\setlength{\tabcolsep}{#2}\renewcommand{\lrabenchsmall}[1]{{#3##1}}\sbox0{#4}}
\providecommand{\lrabenchsmall}[1]{#1}
\providecommand{\lrabenchfit}[1]{\lrabenchset{\footnotesize}{4pt}{\scriptsize}{#1}%
  \ifdim\wd0>\textwidth\lrabenchset{\footnotesize}{3pt}{\tiny}{#1}\fi
  \ifdim\wd0>\textwidth\lrabenchset{\scriptsize}{2pt}{\tiny}{#1}\fi
  \ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi}
"""


def latex(tables: Sequence[Table]) -> str:
    """The tables as floats across both columns of a page, in the order given: caption, label, table, notes.

    Columns without a short name are left out.
    """
    floats = [part for table, label in zip(tables, _labels(tables), strict=True) for part in _floats(table, label)]
    return "\n".join([_HEAD, *floats])


def _labels(tables: Sequence[Table]) -> list[str]:
    """A different label for each table, made from its title and conditions."""
    labels: list[str] = []
    for table in tables:
        words = re.findall("[a-z0-9]+", f"{table.title} {table.conditions}".lower())
        label = f"tab:lra-bench-{'-'.join(words)[:80]}"
        labels.append(f"{label}-{len(labels) + 1}" if label in labels else label)
    return labels


def _floats(table: Table, label: str) -> Iterator[str]:
    table = table.narrow
    caption = f"{tex_safe(cut(printable(table.title), LONGEST_TITLE))}. {tex_breakable(sentence(table.conditions))}"
    head = f"\\caption{{{caption}}}\n\\label{{{label}}}\n"
    *parts, (last, used) = _parts(table)
    for part, _ in parts:
        yield _float(f"{head}{_fitted(part)}")
        head = f"Table~\\ref{{{label}}}, continued\\par\\smallskip\n"
    notes = _notes(table)
    if used + len(notes) // NOTE_LINE <= LINES:
        yield _float(f"{head}{_fitted(last)}{notes}")
    else:
        yield _float(f"{head}{_fitted(last)}")
        yield _float(f"Table~\\ref{{{label}}}, notes\n{notes}")


def _float(body: str) -> str:
    return f"\\begin{{table*}}[tp]\n\\centering\n{body}\\end{{table*}}\n"


def _fitted(table: Table) -> str:
    return f"\\lrabenchfit{{%\n{_tabular(table)}}}\n"


def _notes(table: Table) -> str:
    notes = [*table.notes, *(f"{column.header}: {column.note}" for column in table.columns if column.note)]
    text = "\n".join(tex_breakable(stopped(note)) for note in notes)
    return f"\\par\\smallskip\n\\parbox{{\\textwidth}}{{\\footnotesize\\raggedright\n{text}}}\n" if notes else ""


def _parts(table: Table) -> list[tuple[Table, int]]:
    """The table in parts of at most `LINES` lines, and how many they have.

    A group that goes on in another part has its title there again.
    """
    parts: list[list[tuple[int, tuple[Entry, ...]]]] = [[]]
    used = [0]
    for number, group in enumerate(table.groups):
        for row in group.rows:
            lines = max(map(_height, row, table.columns))
            if used[-1] + lines > LINES:
                parts.append([])
                used.append(0)
            starts = not parts[-1] or parts[-1][-1][0] != number
            parts[-1].append((number, row))
            used[-1] += lines + 2 * starts
    return [(replace(table, groups=_regrouped(table, part)), lines) for part, lines in zip(parts, used, strict=True)]


def _regrouped(table: Table, part: Sequence[tuple[int, tuple[Entry, ...]]]) -> tuple[Group, ...]:
    """Rows with the numbers of their groups, as groups."""
    return tuple(
        Group(table.groups[number].title, tuple(row for _, row in rows))
        for number, rows in groupby(part, key=lambda placed: placed[0])
    )


def _height(entry: Entry, column: Column) -> int:
    """Lines that an entry takes."""
    return 1 + min(len(entry.text), LONGEST_ENTRY) // NARROW if column.wordy else 1 + len(_below(entry.text))


def _below(text: str) -> list[str]:
    """What stands below a number: its interval, then each remark."""
    parts = Interval.of(text)
    return [part for part in (parts.ends, *parts.remark.split("; ")) if part]


def _tabular(table: Table) -> str:
    columns = [_alignment(place, column, table) for place, column in enumerate(table.columns)]
    lines = [f"\\begin{{tabular}}{{@{{}}{''.join(columns)}@{{}}}}", r"\toprule"]
    lines.append(_line([tex_safe(column.header) for column in table.columns]))
    for group in table.groups:
        lines.append(r"\midrule")
        if group.title:
            title = tex_safe(cut(printable(group.title), LONGEST_TITLE // 2))
            lines.append(f"\\multicolumn{{{len(columns)}}}{{@{{}}l@{{}}}}{{\\textit{{{title}}}}} \\tabularnewline")
        lines += [
            _line([_entry(*placed) for placed in zip(row, table.columns, columns, strict=True)]) for row in group.rows
        ]
    return "\n".join([*lines, r"\bottomrule", "\\end{tabular}"])


def _line(entries: Sequence[str]) -> str:
    return " & ".join(entries) + r" \tabularnewline"


def _alignment(place: int, column: Column, table: Table) -> str:
    """Numbers to the right, words to the left, in lines of 10 or 7 em where they are long."""
    if not column.wordy:
        return "r"
    longest = max((len(row[place].text) for row in table.rows), default=0)
    return "l" if longest <= NARROW else f"p{{{7 if place else 10}em}}"


def _entry(entry: Entry, column: Column, alignment: str) -> str:
    text = printable(entry.text)
    if column.wordy:
        words = tex_breakable(cut(text, LONGEST_ENTRY)) if alignment != "l" else tex_safe(text)
        return (r"\raggedright " if alignment != "l" else "") + _bold(words, entry)
    text = cut(text, LONGEST_ENTRY)
    number = _bold(tex_number(Interval.of(text).number), entry)
    small = [f"\\lrabenchsmall{{{tex_number(part)}}}" for part in _below(text)]
    return rf"\lrabenchlines{{{_NEW_LINE.join([number, *small])}}}" if small else number


def _bold(safe: str, entry: Entry) -> str:
    return f"\\textbf{{\\boldmath {safe}}}" if entry.best else safe
