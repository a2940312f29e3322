"""From records to boards: what may be compared with what."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import RunRecord, TaskInfo
from lra_bench.core.settings import NOT_RESULT_RELEVANT
from lra_bench.report.board import UNKNOWN_METRIC, Board, Cell, Metric, Row, total
from lra_bench.report.files.records import without_repetitions
from lra_bench.report.labels import labels
from lra_bench.report.statistics import summarise
from lra_bench.report.tolerance import best_cell
from lra_bench.report.trial import Trial

NOT_COMPARED = ("optim.lr", "seed", "data_seed", *NOT_RESULT_RELEVANT)
"""Config keys and sections in which the trials of one row may differ: what is swept, and where and how fast it ran."""

_NUMBER = re.compile(r"(\d+(?:\.\d+)?)")

SUBMISSION = "submission"
"""Key that keeps rows of different submissions apart."""


def aggregate(trials: Iterable[Trial], mix: bool = False) -> list[Board]:
    """Sort trials into boards. Every trial is in exactly one cell of one board; their order does not matter.

    Trials share a board if tier, task, task version, task settings, origin and content of the data, metric, track and
    protocol are the same. A trial that failed before its task was built does not know these; it joins the board that is
    otherwise the same, and has one of its own if there are several or none.

    Args:
        trials: at least one.
        mix: trials of different tracks and protocols share boards too, never rows: those say which is which.

    Raises:
        LraBenchError: there are no trials; a record's config lacks the task's name, the model's name or a positive
            learning rate; or one trial has two different outcomes.
    """
    trials = without_repetitions(trials)
    if not trials:
        raise LraBenchError("no records to report on. To make some: lra-bench sweep run quickstart")
    boards: list[Board] = []
    for _, same_conditions in _grouped(trials, partial(_conditions, mix=mix)):
        by_contract = dict(_grouped(same_conditions, _contract))
        if len(by_contract) == 2 and () in by_contract:
            by_contract = {contract: same_conditions for contract in by_contract if contract}
        boards.extend(_board(group) for group in by_contract.values())
    names = labels([(board.task, _task_settings(board)) for board in boards])
    return [replace(board, label=name) for board, name in zip(boards, names, strict=True)]


def setting(record: RunRecord, key: str) -> Any:
    """The value at a dotted key of the record's config.

    Raises:
        LraBenchError: the config has no such key.
    """
    value: Any = record.config
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise LraBenchError(f"the config in the record of trial {record.trial_id} has no {key}")
        value = value[part]
    return value


def learning_rate(record: RunRecord) -> float:
    """The swept learning rate, `optim.lr`.

    Raises:
        LraBenchError: there is none, or it is not a positive number.
    """
    rate = setting(record, "optim.lr")
    if not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise LraBenchError(f"the config in the record of trial {record.trial_id} has optim.lr={rate!r}")
    return float(rate)


def _grouped(trials: Iterable[Trial], key: Callable[[Trial], Any]) -> list[tuple[Any, list[Trial]]]:
    """Trials by key, in order of key."""
    groups: dict[Any, list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[key(trial)].append(trial)
    return sorted(groups.items())


def _conditions(trial: Trial, mix: bool) -> tuple[str | tuple[str | float, ...], ...]:
    """What decides in which boards a trial may be, in an order in which 128 steps come before 1,024."""
    record = trial.record
    task = json.dumps(setting(record, "task"), sort_keys=True)
    parts = tuple(float(part) if place % 2 else part for place, part in enumerate(_NUMBER.split(task)))
    rules = () if mix else (record.track, record.protocol)
    return str(setting(record, "task.name")), parts, task, *rules, trial.tier


def _contract(trial: Trial) -> tuple[Any, ...]:
    """What the task promised, or nothing where it was never built."""
    task = trial.record.task
    if task is None:
        return ()
    return task.version, task.metric, task.higher_is_better, task.chance, task.origin or "", task.content or ""


def _settings(trial: Trial) -> tuple[tuple[str, str], ...]:
    """What the trials of a row have in common: dotted keys of the config, values as JSON; and the submission."""
    compared = _without(NOT_COMPARED, trial.record.config)
    if trial.submission is not None:
        compared[SUBMISSION] = trial.submission
    return _flat(json.dumps(compared, sort_keys=True))


def _without(keys: Iterable[str], config: dict[str, Any]) -> dict[str, Any]:
    """The config without some of its dotted keys and sections."""
    kept = dict(config)
    for key in keys:
        section, _, rest = key.partition(".")
        if not rest:
            kept.pop(section, None)
        elif isinstance(kept.get(section), dict):
            kept[section] = {name: value for name, value in kept[section].items() if name != rest}
    return kept


@lru_cache(maxsize=4096)
def _flat(config: str) -> tuple[tuple[str, str], ...]:
    """A config, given as JSON, by dotted key; cached, as the trials of a row have the same one."""
    return tuple(sorted(_leaves("", json.loads(config))))


def _leaves(prefix: str, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", json.dumps(value)


def _board(trials: list[Trial]) -> Board:
    tasks = [trial.record.task for trial in trials if trial.record.task is not None]
    metric = Metric(tasks[0].metric, tasks[0].higher_is_better, tasks[0].chance) if tasks else UNKNOWN_METRIC
    groups = [(dict(settings), group) for settings, group in _grouped(trials, _settings)]
    names = labels([(str(setting(group[0].record, "model.name")), settings) for settings, group in groups])
    seeds = {trial.seeds for trial in trials}
    rows = [_row(name, settings, group, metric, seeds) for name, (settings, group) in zip(names, groups, strict=True)]
    task = str(setting(trials[0].record, "task.name"))
    return Board(
        label=task,
        task=task,
        version=tasks[0].version if tasks else None,
        origin=tasks[0].origin if tasks else None,
        tier=trials[0].tier,
        track=_joined(trial.record.track for trial in trials),
        protocol=_joined(trial.record.protocol for trial in trials),
        metric=metric,
        baselines=_baselines(tasks, metric),
        shared=dict(sorted(set.intersection(*(set(settings.items()) for settings, _ in groups)))),
        rows=tuple(sorted(rows, key=lambda row: _place(row, metric))),
    )


def _joined(names: Iterable[str]) -> str:
    """The different names: one, or several where they were mixed."""
    return " and ".join(sorted(set(names)))


def _task_settings(board: Board) -> dict[str, str]:
    return {key: value for key, value in board.shared.items() if key.startswith("task.")}


def _row(name: str, settings: dict[str, str], trials: list[Trial], metric: Metric, seeds: set[tuple[int, int]]) -> Row:
    by_rate = _grouped(trials, lambda trial: learning_rate(trial.record))
    cells = tuple(_cell(rate, group, metric) for rate, group in by_rate)
    missing = sum(len(seeds - {trial.seeds for trial in cell.trials}) for cell in cells)
    return Row(label=name, settings=settings, cells=cells, missing=missing)


def _cell(rate: float, trials: list[Trial], metric: Metric) -> Cell:
    trials = sorted(trials, key=lambda trial: (*trial.seeds, trial.record.trial_id))
    records = [trial.record for trial in trials]
    return Cell(
        rate=rate,
        trials=tuple(trials),
        val=summarise([metric.value(record, record.val) for record in records]),
        test=summarise([metric.value(record, record.test) for record in records]),
        failures=total({name: 1} for record in records if (name := metric.failure(record))),
    )


def _place(row: Row, metric: Metric) -> tuple[bool, float, str]:
    best = best_cell(row.cells, metric)
    return row.missing > 0, math.inf if best is None else metric.cost(best.test.median), row.label


def _baselines(tasks: list[TaskInfo], metric: Metric) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for task in tasks:
        for baseline, metrics in task.baselines.items():
            value = metrics.get(metric.name)
            if value is not None:
                values[baseline].append(value)
    return {baseline: float(np.median(found)) for baseline, found in sorted(values.items())}
