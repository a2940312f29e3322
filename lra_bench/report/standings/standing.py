"""A leaderboard: the models of one suite, track, protocol and origin of data, side by side on several tasks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lra_bench.report.standings import notes as standing_notes
from lra_bench.report.standings.differences import away_on_averages, away_on_tasks
from lra_bench.report.standings.entries import (
    COST_COLUMNS,
    NOTHING,
    average_entry,
    cost_entries,
    difference_entry,
    floor_entry,
    quoted_average_entry,
    quoted_entry,
    quoted_name,
    rank_entry,
    result_entry,
    with_spread,
)
from lra_bench.report.standings.lines import Line
from lra_bench.report.standings.published import UNVERIFIED, Quoted
from lra_bench.report.standings.suites import Convention, Suite
from lra_bench.report.standings.task_columns import TaskColumn
from lra_bench.report.table import Column, Entry, Group, Table

MEASURED, SUBMITTED, FLOORS = "Measured", "Submitted", "Floors"
QUOTED_TITLE = "Quoted from papers (never ranked with the others)"
UNVERIFIED_TITLE = "Unverified (no text confirms these numbers)"

SHORT = {"Retrieval": "retr.", "Pathfinder": "pathf."}
"""Column heads where there is little room, if not the same."""


@dataclass(frozen=True)
class Standing:
    """One leaderboard.

    Attributes:
        suite: what it is about.
        track: uniform or recipe, or both where they were mixed.
        protocol: clean or legacy, or both where they were mixed.
        origin: of the data; None where it is not recorded.
        columns: its tasks.
        conventions: averages that it has columns for.
        ranked_by: the average that its ranks are by; None where there is none.
        measured: rows measured here, in order.
        submitted: rows that were sent, in order.
        quoted: rows from papers, in order.
        against: the quoted row to which differences are shown.
    """

    suite: Suite
    track: str
    protocol: str
    origin: str | None
    columns: tuple[TaskColumn, ...]
    conventions: tuple[Convention, ...]
    ranked_by: Convention | None
    measured: tuple[Line, ...]
    submitted: tuple[Line, ...]
    quoted: tuple[Quoted, ...]
    against: Quoted | None

    @property
    def conditions(self) -> str:
        """Track, protocol, origin of the data and versions of the tasks in words."""
        data = "origin of the data not recorded" if self.origin is None else f"{self.origin} data"
        return f"{self.track} track, {self.protocol} protocol, {data}, {self._versions}"

    @property
    def tiers(self) -> tuple[tuple[str, tuple[Line, ...]], ...]:
        """Rows of trials, by title."""
        return (MEASURED, self.measured), (SUBMITTED, self.submitted)

    @property
    def floors(self) -> dict[str, list[float | None]]:
        """What trivial and optimal predictors reach on each task, by their names."""
        names = sorted({name for column in self.columns for name in column.floors})
        return {name: [column.floors.get(name) for column in self.columns] for name in names}

    def table(self) -> Table:
        """The leaderboard: each model at its best learning rate on every task, averages, costs."""
        groups = [
            *(Group(title, tuple(self._row(line) for line in lines)) for title, lines in self.tiers),
            Group(FLOORS, tuple(self._floor(name, values) for name, values in self.floors.items())),
            self._quoted_group(QUOTED_TITLE, [each for each in self.quoted if each.evidence != UNVERIFIED]),
            self._quoted_group(UNVERIFIED_TITLE, [each for each in self.quoted if each.evidence == UNVERIFIED]),
        ]
        return Table(
            title=self.suite.value,
            conditions=self.conditions,
            columns=(Column("Model", "model", wordy=True), self._rank_column, *self._result_columns, *COST_COLUMNS),
            groups=tuple(group for group in groups if group.rows),
            remarks=tuple(self._remarks),
        )

    def differences(self) -> Table | None:
        """How far each row is from the quoted one, in percentage points; None where nothing can be compared."""
        if self.against is None:
            return None
        groups = [
            *(Group(title, tuple(self._away(line, self.against) for line in lines)) for title, lines in self.tiers),
            Group(_quoted_title(self.against), (self._with_spread(self.against),)),
        ]
        return Table(
            title=f"{self.suite.value}: difference to {self.against.shown}, in percentage points",
            conditions=self.conditions,
            columns=(Column("Model", "model", wordy=True), *self._result_columns),
            groups=tuple(group for group in groups if group.rows),
            remarks=tuple(standing_notes.difference(self.against)),
        )

    @property
    def _versions(self) -> str:
        run = [column for column in self.columns if column.boards]
        names = ["unknown" if column.version is None else str(column.version) for column in run]
        if len(set(names)) == 1:
            return f"task version {names[0]}"
        each = (f"{column.header} {name}" for column, name in zip(run, names, strict=True))
        return f"task versions: {', '.join(each)}"

    @property
    def _rank_column(self) -> Column:
        if self.ranked_by:
            return Column("Rank", "rank", f"by the average of {self.ranked_by.name}")
        return Column("Mean rank" if len(self.columns) > 1 else "Rank", "rank")

    @property
    def _result_columns(self) -> Iterator[Column]:
        for convention in self.conventions:
            yield Column(convention.header, f"avg {len(convention.tasks)}")
        for column in self.columns:
            yield Column(column.header, SHORT.get(column.header, column.header.lower()))

    def _row(self, line: Line) -> tuple[Entry, ...]:
        label = line.contender.label
        results = zip(line.contender.results, line.task_best, strict=True)
        averages = ((line.averages.get(each), line.average_ranks.get(each)) for each in self.conventions)
        return (
            Entry(label, label),
            rank_entry(line.rank),
            *(average_entry(average, rank == 1) for average, rank in averages),
            *(result_entry(result, best) for result, best in results),
            *cost_entries(line.contender),
        )

    def _away(self, line: Line, quoted: Quoted) -> tuple[Entry, ...]:
        label = line.contender.label
        away = [
            *away_on_averages(line, self.conventions, quoted),
            *away_on_tasks(line, self.columns, quoted),
        ]
        return Entry(label, label), *map(difference_entry, away)

    def _floor(self, name: str, values: Sequence[float | None]) -> tuple[Entry, ...]:
        entries = [floor_entry(value, column.metric) for value, column in zip(values, self.columns, strict=True)]
        shown = name.replace("_", " ")
        averages, costs = [NOTHING] * len(self.conventions), [NOTHING] * len(COST_COLUMNS)
        return Entry(shown, shown), NOTHING, *averages, *entries, *costs

    def _quoted_group(self, title: str, quoted: Sequence[Quoted]) -> Group:
        return Group(
            title,
            tuple(self._quoted(each) for each in quoted),
            quoted=True,
            notes=tuple(standing_notes.quoted(quoted, self.columns, self.conventions)),
        )

    def _quoted(self, quoted: Quoted) -> tuple[Entry, ...]:
        entries = [quoted_entry(quoted, column.task) for column in self.columns]
        costs = [NOTHING] * len(COST_COLUMNS)
        return quoted_name(quoted), NOTHING, *self._quoted_averages(quoted), *entries, *costs

    def _with_spread(self, quoted: Quoted) -> tuple[Entry, ...]:
        entries = [
            with_spread(quoted_entry(quoted, column.task), quoted.spread_of(column.task)) for column in self.columns
        ]
        return quoted_name(quoted), *self._quoted_averages(quoted), *entries

    def _quoted_averages(self, quoted: Quoted) -> list[Entry]:
        return [quoted_average_entry(quoted, convention) for convention in self.conventions]

    @property
    def _remarks(self) -> Iterator[str]:
        yield from standing_notes.cells(self.columns)
        if self.suite is Suite.LRA_OTHER:
            yield standing_notes.NOT_STANDARD
        if any(" and " in rules for rules in (self.track, self.protocol)):
            yield standing_notes.MIXED
        yield from standing_notes.averages(self.suite, self.conventions, self.columns)
        yield standing_notes.rank(self.ranked_by, self.columns)
        if self.floors:
            yield standing_notes.FLOORS
        yield standing_notes.COSTS


def _quoted_title(quoted: Quoted) -> str:
    return UNVERIFIED_TITLE if quoted.evidence == UNVERIFIED else QUOTED_TITLE
