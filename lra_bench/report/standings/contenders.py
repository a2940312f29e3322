"""Rows of a leaderboard: what one model, with one choice of settings, came to on several tasks."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from lra_bench.core.record import Status
from lra_bench.report.aggregate import SUBMISSION, setting
from lra_bench.report.board import Cell, Metric, Row
from lra_bench.report.comparison import Sample, sample
from lra_bench.report.cost import Cost, cost
from lra_bench.report.labels import differing_keys, namesakes
from lra_bench.report.standings.task_columns import TaskColumn
from lra_bench.report.tolerance import best_cell
from lra_bench.report.trial import Tier, Trial

RULES = ("protocol", "track")
"""Settings that part rows wherever they are mixed."""

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Result:
    """What a row came to on one task.

    Attributes:
        row: of that task's board.
        metric: of that board.
    """

    row: Row
    metric: Metric

    @cached_property
    def best(self) -> Cell | None:
        """The cell at the best learning rate; None if a trial failed at every rate, or none was tested."""
        found = best_cell(self.row.cells, self.metric)
        return found if found and sample(found, self.metric) is not None else None

    @cached_property
    def sample(self) -> Sample | None:
        """Test metric of each seed at the best learning rate."""
        return sample(self.best, self.metric) if self.best else None

    @property
    def chance(self) -> int:
        """Number of trials at the best learning rate that learnt nothing."""
        return sum(trial.record.status is Status.CHANCE for trial in self.best.trials) if self.best else 0

    @property
    def at_chance(self) -> bool:
        """Most trials at the best learning rate learnt nothing."""
        return self.best is not None and 2 * self.chance > self.best.n

    @property
    def complete(self) -> bool:
        """Every seed of the board was run at every learning rate of the row, and none is still to be continued."""
        return self.row.missing == 0 and Status.PREEMPTED.value not in self.row.failures


@dataclass(frozen=True)
class Contender:
    """Rows of several boards that are of one model and of the same choice of settings.

    Attributes:
        label: model name, and what sets it apart from other contenders of that model.
        model: its name alone.
        tier: who measured it.
        results: one for each column of the leaderboard; None where it was not run.
    """

    label: str
    model: str
    tier: Tier
    results: tuple[Result | None, ...]

    @property
    def trials(self) -> list[Trial]:
        """Of all tasks and learning rates."""
        return [trial for result in self.results if result for trial in result.row.trials]

    @cached_property
    def cost(self) -> Cost:
        """Of the task that is most demanding in each respect, by medians over that task's trials."""
        costs = [cost(result.row) for result in self.results if result]
        return Cost(
            parameters=max(_known(each.parameters for each in costs), default=None),
            state_size=max(_known(each.state_size for each in costs), default=None),
            seconds=max(_known(each.seconds for each in costs), default=None),
            examples_per_second=min(_known(each.examples_per_second for each in costs), default=None),
            peak_memory_mb=max(_known(each.peak_memory_mb for each in costs), default=None),
        )


def contenders(columns: Sequence[TaskColumn], tier: Tier) -> list[Contender]:
    """Join the rows of all columns' boards of a tier.

    Rows are of one contender if they are of the same model, of the same submission, and alike in the settings in which
    rows of that model differ within some board. Settings that differ only from task to task, such as depth, part no
    rows. Every row is in exactly one contender.
    """
    boards = [(place, column.boards[tier]) for place, column in enumerate(columns) if tier in column.boards]
    rows: dict[str, list[tuple[int, Result]]] = defaultdict(list)
    for place, board in boards:
        for row in board.rows:
            rows[_model(row)].append((place, Result(row, board.metric)))
    return [each for model in sorted(rows) for each in _of_model(model, rows[model], tier, len(columns))]


def device_hours(trials: Iterable[Trial]) -> float:
    """Hours of all trials, failed ones too, each counted once for every device it trained on."""
    return math.fsum(trial.record.budget.seconds * _devices(trial) for trial in trials) / SECONDS_PER_HOUR


def _model(row: Row) -> str:
    return str(setting(row.trials[0].record, "model.name"))


def _of_model(model: str, rows: Sequence[tuple[int, Result]], tier: Tier, width: int) -> list[Contender]:
    keys = _parting_keys(rows)
    groups: dict[tuple[str | None, ...], dict[int, Result]] = defaultdict(dict)
    for place, result in rows:
        groups[tuple(result.row.settings.get(key) for key in keys)][place] = result
    chosen = [{key: value for key, value in zip(keys, values, strict=True) if value is not None} for values in groups]
    shown = differing_keys(chosen)
    if tier == "submitted":
        shown = [*(key for key in shown if key != SUBMISSION), SUBMISSION]
    names = namesakes(model, chosen, shown)
    found = [
        Contender(name, model, tier, tuple(results.get(place) for place in range(width)))
        for name, results in zip(names, groups.values(), strict=True)
    ]
    return sorted(found, key=lambda each: each.label)


def _parting_keys(rows: Sequence[tuple[int, Result]]) -> list[str]:
    """The settings in which rows of one board differ, and those by which rows are always kept apart."""
    by_place: dict[int, list[Result]] = defaultdict(list)
    for place, result in rows:
        by_place[place].append(result)
    within = {
        key for results in by_place.values() for key in differing_keys([result.row.settings for result in results])
    }
    return sorted(within | {SUBMISSION, *RULES})


def _devices(trial: Trial) -> int:
    train = trial.record.config.get("train")
    devices = train.get("devices") if isinstance(train, dict) else None
    return devices if isinstance(devices, int) else 1


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
