"""What a search over one model's settings came to, against the best of another model."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import Status
from lra_bench.report import formatting
from lra_bench.report.board import Board, Cell, Metric, Row
from lra_bench.report.labels import differing_keys, rounded
from lra_bench.report.table import Column, Entry, Group, Table
from lra_bench.report.tolerance import best_cell

MATCH_FACTOR = 2.0
"""A median error of at most so many times the reference's matches it; for scores, a distance from 1."""

BEST_SHARE = 0.1
"""The part of a search whose options are looked at, its best configurations."""

FAVOURED = 0.1
"""How much larger an option's share of the best is than of all, for it to be named."""

Seeds = tuple[int, int]


@dataclass(frozen=True)
class Option:
    """One value of one setting that was searched over.

    Attributes:
        name: of the setting, dotted; `optim.lr` is the learning rate.
        value: as it is written.
        best: share of the best configurations that have it.
        all: share of all configurations that have it.
    """

    name: str
    value: str
    best: float
    all: float


@dataclass(frozen=True)
class SearchVerdict:
    """Every setting of a model at every learning rate, a configuration each, against a reference.

    Attributes:
        model: the one that was searched over.
        reference: label of the other model's row with the best mean validation metric.
        rate: learning rate at which it has that.
        seeds: those of the reference.
        configurations: that share a seed with the reference.
        beat: better than the reference on every seed that both have.
        match: do not beat it, and have a median error within `MATCH_FACTOR` of its own on the same seeds.
        fail: the others.
        failed_to_run: of `fail`, those a trial of which failed on a shared seed.
        at_chance: of `fail`, those of which none failed, and one stayed at chance.
        best: label of the configuration with the least median error.
        best_rate: learning rate of it.
        best_ratio: its median error over the reference's on the same seeds; infinite where even its median failed.
        options: of the best tenth of the configurations, by setting and value.
    """

    model: str
    reference: str
    rate: float
    seeds: int
    configurations: int
    beat: int
    match: int
    fail: int
    failed_to_run: int
    at_chance: int
    best: str
    best_rate: float
    best_ratio: float
    options: tuple[Option, ...]


@dataclass(frozen=True)
class _Judged:
    """A configuration, and how it stands against the reference on the seeds that both have."""

    row: Row
    cell: Cell
    ratio: float
    beats: bool
    failed: bool
    at_chance: bool


def verdict(board: Board, model: str, reference_model: str) -> SearchVerdict:
    """How many configurations of `model` beat, match and fail against the best of `reference_model`, on validation.

    A seed draws its own data, so the same seed of both is the same problem. Selecting the best of many configurations
    favours the search: its best one has been chosen on the seeds that it is judged on.

    Args:
        board: with rows of both.
        model: name of the model that was searched over.
        reference_model: name of the other.

    Raises:
        LraBenchError: one of them is not on the board, the reference failed at every learning rate, or they share no
            seed.
    """
    found = _against(board, _rows_of(board, model), _reference(board, _rows_of(board, reference_model)))
    if found is None:
        raise LraBenchError(f"{model} and {reference_model} on {board.label} have no seed in common")
    return found


def against_the_best(board: Board, rows: Sequence[Row]) -> SearchVerdict | None:
    """The verdict on the rows of one model, against the best of the board's other models; None if it has none."""
    model = rows[0].model
    others = [row for row in board.rows if row.model != model and best_cell(row.cells, board.metric) is not None]
    return _against(board, rows, _reference(board, others)) if others else None


def sentence(found: SearchVerdict) -> str:
    """The verdict in words."""
    best = "Of the best most seeds failed."
    if math.isfinite(found.best_ratio):
        ratio = formatting.number(found.best_ratio)
        best = f"The best, {found.best} at {formatting.rate(found.best_rate)}, has {ratio} times the reference’s error."
    return (
        f"Of {found.configurations:,} configurations of {found.model}, {found.beat:,} beat {found.reference} at its "
        f"best learning rate {formatting.rate(found.rate)}, {found.match:,} match it, and {found.fail:,} fail "
        f"({found.failed_to_run:,} of them with a failed trial, {found.at_chance:,} more with one at chance). {best}"
    )


def definition() -> str:
    """What the words of a verdict mean."""
    return (
        "On validation; a configuration is a setting at a learning rate. Beats: better on every seed that both have, "
        f"which is the same problem. Matches: does not beat, and the median error over these seeds is at most "
        f"{MATCH_FACTOR:g} times the reference’s (for scores: the distance from 1). Fails: the others. The best one "
        "was chosen on the seeds that it is judged on, which favours the search."
    )


def search_sentences(board: Board, rows: Sequence[Row]) -> tuple[str, ...]:
    """The verdict on rows of one model against the best other model, and what its words mean; nothing without both."""
    found = against_the_best(board, rows) if rows else None
    return () if found is None else (sentence(found), definition())


def verdict_table(found: Sequence[SearchVerdict]) -> Table:
    """Counts and best configuration of some searches, a row each."""
    return Table(
        title="Every configuration against the reference",
        conditions="counted on validation",
        columns=(
            Column("Model", "model", wordy=True),
            Column("Reference", "reference", wordy=True),
            Column("Configurations", "configs"),
            Column("Beat", "beat"),
            Column("Match", "match"),
            Column("Fail", "fail"),
            Column("With a failed trial", "failed trial", "of those that fail"),
            Column("At chance", "at chance", "of those that fail, without a failed trial"),
            Column(
                "Best: error ratio", "best ratio", "of medians over the shared seeds, best configuration to reference"
            ),
        ),
        groups=(Group("", tuple(map(_line, found))),),
        remarks=(definition(), *map(sentence, found)),
    )


def options_table(found: SearchVerdict) -> Table:
    """Options that the best tenth of a search have more often than all configurations, by at least `FAVOURED`."""
    favoured = sorted(
        (each for each in found.options if each.best - each.all >= FAVOURED), key=lambda each: each.all - each.best
    )
    return Table(
        title=f"What the best {BEST_SHARE:.0%} of {found.model}’s configurations have more often",
        conditions="share of the best, by median validation error, and of all configurations",
        columns=(
            Column("Setting", "setting", wordy=True),
            Column("Value", "value", wordy=True),
            Column(f"Best {BEST_SHARE:.0%}", f"best {BEST_SHARE:.0%}"),
            Column("All", "all"),
        ),
        groups=(Group("", tuple(map(_option_line, favoured))),),
    )


def _against(board: Board, rows: Sequence[Row], reference: tuple[Row, Cell]) -> SearchVerdict | None:
    """The verdict on some rows of one model; None if they share no seed with the reference."""
    row, cell = reference
    errors = _errors(cell, board.metric)
    judged = [
        found for own in rows for each in own.cells if (found := _judged(own, each, errors, board.metric)) is not None
    ]
    if not judged:
        return None
    judged.sort(key=lambda each: each.ratio)
    beat = sum(each.beats for each in judged)
    failing = [each for each in judged if not each.beats and not each.ratio <= MATCH_FACTOR]
    best = judged[0]
    return SearchVerdict(
        model=rows[0].model,
        reference=row.label,
        rate=cell.rate,
        seeds=len(errors),
        configurations=len(judged),
        beat=beat,
        match=len(judged) - beat - len(failing),
        fail=len(failing),
        failed_to_run=sum(each.failed for each in failing),
        at_chance=sum(each.at_chance and not each.failed for each in failing),
        best=best.row.label,
        best_rate=best.cell.rate,
        best_ratio=best.ratio,
        options=_options(rows, judged),
    )


def _rows_of(board: Board, model: str) -> list[Row]:
    rows = [row for row in board.rows if row.model == model]
    if not rows:
        raise LraBenchError(f"there is no {model} on {board.label}")
    return rows


def _reference(board: Board, rows: Sequence[Row]) -> tuple[Row, Cell]:
    """The row with the best mean validation metric, and its cell."""
    best = [(row, cell) for row in rows if (cell := best_cell(row.cells, board.metric)) is not None]
    if not best:
        raise LraBenchError(f"{rows[0].model} on {board.label} failed at every learning rate, and is no reference")
    return min(best, key=lambda each: board.metric.cost(each[1].val.mean))


def _errors(cell: Cell, metric: Metric) -> dict[Seeds, float]:
    return {trial.seeds: metric.cost(metric.value(trial.record, trial.record.val)) for trial in cell.trials}


def _judged(row: Row, cell: Cell, reference: dict[Seeds, float], metric: Metric) -> _Judged | None:
    """A configuration on the seeds that it shares with the reference; None if there are none."""
    trials = [trial for trial in cell.trials if trial.seeds in reference]
    if not trials:
        return None
    errors = _errors(cell, metric)
    own, other = ([each[trial.seeds] for trial in trials] for each in (errors, reference))
    return _Judged(
        row=row,
        cell=cell,
        ratio=_ratio(median(own), median(other)),
        beats=all(one < two for one, two in zip(own, other, strict=True)),
        failed=any(metric.failure(trial.record) for trial in trials),
        at_chance=any(trial.record.status is Status.CHANCE for trial in trials),
    )


def _ratio(error: float, reference: float) -> float:
    """Of two errors; 1 where both are 0."""
    if reference:
        return error / reference
    return math.inf if error else 1.0


def _options(rows: Sequence[Row], judged: Sequence[_Judged]) -> tuple[Option, ...]:
    """The options of configurations that stand in order, the best first."""
    names = differing_keys([row.settings for row in rows])
    configurations = [_chosen(each, names) for each in judged]
    best = configurations[: math.ceil(BEST_SHARE * len(configurations))]
    everywhere, there = (Counter(pair for each in part for pair in each) for part in (configurations, best))
    return tuple(
        Option(name, value, there[name, value] / len(best), n / len(configurations))
        for (name, value), n in sorted(everywhere.items())
    )


def _chosen(each: _Judged, names: Sequence[str]) -> list[tuple[str, str]]:
    settings = [(name, rounded(each.row.settings.get(name, "unset"))) for name in names]
    return [*settings, ("optim.lr", formatting.rate(each.cell.rate))]


def _line(found: SearchVerdict) -> tuple[Entry, ...]:
    counts = (found.configurations, found.beat, found.match, found.fail, found.failed_to_run, found.at_chance)
    return (
        Entry(found.model, found.model),
        Entry(found.reference, found.reference),
        *(Entry(formatting.count(n), n) for n in counts),
        Entry(formatting.number(found.best_ratio), found.best_ratio),
    )


def _option_line(option: Option) -> tuple[Entry, ...]:
    return (
        Entry(option.name, option.name),
        Entry(option.value, option.value),
        Entry(f"{option.best:.0%}", option.best),
        Entry(f"{option.all:.0%}", option.all),
    )
