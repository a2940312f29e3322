"""Tables as HTML, Markdown, LaTeX and the terminal have them in common: columns, and entries in groups of rows."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        header: its name in full.
        short: its name where there is little room; None leaves the column out there.
        note: one line that says what it shows; empty where the header says it all.
        wordy: holds words, which may be cut where there is little room, and not numbers.
    """

    header: str
    short: str | None
    note: str = ""
    wordy: bool = False


@dataclass(frozen=True)
class Entry:
    """One entry of a table.

    Attributes:
        text: as shown.
        value: to sort by; NaN goes last.
        best: not told apart from the best of its column.
        link: address of a source, http or https; None for none.
    """

    text: str
    value: float | str
    best: bool = False
    link: str | None = None


@dataclass(frozen=True)
class Group:
    """Rows that are of one kind, such as measured ones or floors.

    Attributes:
        title: what kind; empty where the table has only one.
        rows: an entry for each column.
        quoted: they are from papers.
        notes: sentences about these rows, to stand below the table.
    """

    title: str
    rows: tuple[tuple[Entry, ...], ...]
    quoted: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: what it is about.
        conditions: under which its numbers were measured, in words.
        columns: of all groups.
        groups: sorted each on its own; rows never move from one into another.
        remarks: sentences about the whole of it, to stand below.
    """

    title: str
    conditions: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]
    remarks: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """All sentences to stand below, each once."""
        return tuple(dict.fromkeys([*self.remarks, *(note for group in self.groups for note in group.notes)]))

    @property
    def rows(self) -> tuple[tuple[Entry, ...], ...]:
        """The rows of all groups."""
        return tuple(row for group in self.groups for row in group.rows)

    @property
    def without_quoted(self) -> "Table":
        """The table without rows from papers, of which there are many."""
        return replace(self, groups=tuple(group for group in self.groups if not group.quoted))

    @property
    def narrow(self) -> "Table":
        """The table without the columns that have no short name, the others under their short names."""
        kept = [place for place, column in enumerate(self.columns) if column.short is not None]
        return replace(
            self,
            columns=tuple(replace(column, header=column.short) for column in self.columns if column.short is not None),
            groups=tuple(
                replace(group, rows=tuple(tuple(row[place] for place in kept) for row in group.rows))
                for group in self.groups
            ),
        )
