"""From records to boards: what may be compared with what."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import RunRecord, TaskInfo
from lra_bench.core.settings import NOT_RESULT_RELEVANT
from lra_bench.report import formatting
from lra_bench.report.board import UNKNOWN_METRIC, Board, Cell, Metric, Row, total
from lra_bench.report.records import without_repetitions
from lra_bench.report.sensitivity import best_cell
from lra_bench.report.statistics import summarise

NOT_COMPARED = ("optim.lr", "seed", "data_seed", *NOT_RESULT_RELEVANT)
"""Config keys and sections in which the trials of one row may differ: what is swept, and where and how fast it ran."""


def aggregate(records: Iterable[RunRecord]) -> list[Board]:
    """Sort records into boards. Every trial is in exactly one cell of one board; their order does not matter.

    Trials share a board if task, task version, task settings, origin and content of the data, metric, track and
    protocol are the same. A trial that failed before its task was built does not know these; it joins the board that is
    otherwise the same, and has one of its own if there are several or none.

    Raises:
        LraBenchError: there are no records; a record's config lacks the task's name, the model's name or a positive
            learning rate; or one trial has two different outcomes.
    """
    records = without_repetitions(records)
    if not records:
        raise LraBenchError("no records to report on. To make some: lra-bench sweep run quickstart")
    boards: list[Board] = []
    for _, same_conditions in _grouped(records, _conditions):
        by_contract = dict(_grouped(same_conditions, _contract))
        if len(by_contract) == 2 and () in by_contract:
            by_contract = {contract: same_conditions for contract in by_contract if contract}
        boards.extend(_board(trials) for trials in by_contract.values())
    labels = _labels([(board.task, _task_settings(board)) for board in boards])
    return [replace(board, label=label) for board, label in zip(boards, labels, strict=True)]


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


def _grouped(records: Iterable[RunRecord], key: Callable[[RunRecord], Any]) -> list[tuple[Any, list[RunRecord]]]:
    """Records by key, in order of key."""
    groups: dict[Any, list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return sorted(groups.items())


def _conditions(record: RunRecord) -> tuple[str, ...]:
    task = json.dumps(setting(record, "task"), sort_keys=True)
    return str(setting(record, "task.name")), task, record.track, record.protocol


def _contract(record: RunRecord) -> tuple[Any, ...]:
    """What the task promised, or nothing where it was never built."""
    task = record.task
    if task is None:
        return ()
    return task.version, task.metric, task.higher_is_better, task.chance, task.origin or "", task.content or ""


def _seeds(record: RunRecord) -> tuple[int, int]:
    return record.seed, record.data_seed


def _settings(record: RunRecord) -> tuple[tuple[str, str], ...]:
    """The part of the config that the trials of a row have in common: dotted keys and values as JSON."""
    flat = _flat("", record.config)
    return tuple(sorted((key, value) for key, value in flat if not _under(key, NOT_COMPARED)))


def _flat(prefix: str, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", json.dumps(value)


def _under(key: str, prefixes: Iterable[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def _board(trials: list[RunRecord]) -> Board:
    tasks = [trial.task for trial in trials if trial.task is not None]
    metric = Metric(tasks[0].metric, tasks[0].higher_is_better, tasks[0].chance) if tasks else UNKNOWN_METRIC
    groups = [(dict(settings), group) for settings, group in _grouped(trials, _settings)]
    labels = _labels([(str(setting(group[0], "model.name")), settings) for settings, group in groups])
    seeds = {_seeds(trial) for trial in trials}
    rows = [
        _row(label, settings, group, metric, seeds) for label, (settings, group) in zip(labels, groups, strict=True)
    ]
    task = str(setting(trials[0], "task.name"))
    return Board(
        label=task,
        task=task,
        version=tasks[0].version if tasks else None,
        origin=tasks[0].origin if tasks else None,
        track=trials[0].track,
        protocol=trials[0].protocol,
        metric=metric,
        baselines=_baselines(tasks, metric),
        shared=dict(sorted(set.intersection(*(set(settings.items()) for settings, _ in groups)))),
        rows=tuple(sorted(rows, key=lambda row: _place(row, metric))),
    )


def _task_settings(board: Board) -> dict[str, str]:
    return {key: value for key, value in board.shared.items() if _under(key, ("task",))}


def _labels(named_settings: list[tuple[str, dict[str, str]]]) -> list[str]:
    """Each name, with the settings in which those of that name differ."""
    labels = []
    for name, settings in named_settings:
        namesakes = [other for other_name, other in named_settings if other_name == name]
        keys = sorted({key for other in namesakes for key in other})
        differing = [key for key in keys if len({other.get(key) for other in namesakes}) > 1]
        labels.append(
            " ".join(
                [name, *(f"{_short(key, keys)}={formatting.plain(settings.get(key, 'unset'))}" for key in differing)]
            )
        )
    return labels


def _short(key: str, keys: Iterable[str]) -> str:
    """The last part of a dotted key, or all of it where another key ends alike."""
    tail = key.rpartition(".")[2]
    return tail if [other.rpartition(".")[2] for other in keys].count(tail) == 1 else key


def _row(
    label: str, settings: dict[str, str], trials: list[RunRecord], metric: Metric, seeds: set[tuple[int, int]]
) -> Row:
    cells = tuple(_cell(rate, group, metric) for rate, group in _grouped(trials, learning_rate))
    missing = sum(len(seeds - {_seeds(trial) for trial in cell.trials}) for cell in cells)
    return Row(label=label, settings=settings, cells=cells, missing=missing)


def _cell(rate: float, trials: list[RunRecord], metric: Metric) -> Cell:
    trials = sorted(trials, key=lambda trial: (*_seeds(trial), trial.trial_id))
    return Cell(
        rate=rate,
        trials=tuple(trials),
        val=summarise([metric.value(trial, trial.val) for trial in trials]),
        test=summarise([metric.value(trial, trial.test) for trial in trials]),
        failures=total({name: 1} for trial in trials if (name := metric.failure(trial))),
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
