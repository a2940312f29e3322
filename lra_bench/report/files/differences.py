"""Two sets of records side by side: which trials, which outcomes and which conditions differ."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lra_bench.core.record import RunRecord
from lra_bench.report.files.records import outcome, require_same_outcome
from lra_bench.report.trial import Trial

Pair = tuple[RunRecord, RunRecord]
"""One trial on either side."""


@dataclass(frozen=True)
class Change:
    """A measured value on either side; None where there is none."""

    name: str
    first: float | None
    second: float | None

    @property
    def size(self) -> float | None:
        """Second minus first."""
        return None if self.first is None or self.second is None else self.second - self.first


@dataclass(frozen=True)
class Differences:
    """What differs between two sets of records.

    Attributes:
        only_first: trials that the second set lacks.
        only_second: trials that the first set lacks.
        outcomes: trials with another status or other metrics.
        same: number of trials with the same outcome.
        conditions: trials by what differs in how they were run, and the two values of it.
    """

    only_first: list[RunRecord]
    only_second: list[RunRecord]
    outcomes: list[Pair]
    same: int
    conditions: dict[tuple[str, str, str], list[Pair]] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether trials or outcomes differ; conditions may."""
        return bool(self.only_first or self.only_second or self.outcomes)


def differences(first: Iterable[Trial], second: Iterable[Trial]) -> Differences:
    """Compare two sets of trials, by trial id.

    Raises:
        LraBenchError: one of the sets has two outcomes of a trial.
    """
    one, other = _by_id(first), _by_id(second)
    both = [(one[name], other[name]) for name in one if name in other]
    outcomes = [pair for pair in both if outcome(pair[0]) != outcome(pair[1])]
    conditions: dict[tuple[str, str, str], list[Pair]] = defaultdict(list)
    for pair in both:
        before, after = map(_conditions, pair)
        for key in sorted(before.keys() | after.keys()):
            values = before.get(key), after.get(key)
            if values[0] != values[1]:
                was, now = ("none" if value is None else str(value) for value in values)
                conditions[key, was, now].append(pair)
    return Differences(
        only_first=[record for name, record in one.items() if name not in other],
        only_second=[record for name, record in other.items() if name not in one],
        outcomes=outcomes,
        same=len(both) - len(outcomes),
        conditions=dict(sorted(conditions.items())),
    )


def changes(pair: Pair) -> list[Change]:
    """The metrics of a trial that differ, of validation first."""
    first, second = pair
    found = []
    for split, one, other in (("val", first.val, second.val), ("test", first.test, second.test)):
        for name in sorted(one.keys() | other.keys()):
            if one.get(name) != other.get(name):
                found.append(Change(f"{split} {name}", one.get(name), other.get(name)))
    return found


def _by_id(trials: Iterable[Trial]) -> dict[str, RunRecord]:
    """Records by their trials' ids, in the order of these."""
    found: dict[str, Trial] = {}
    for trial in trials:
        require_same_outcome(found.setdefault(trial.record.trial_id, trial), trial, "Compare one of the two")
    return {name: trial.record for name, trial in sorted(found.items())}


def _conditions(record: RunRecord) -> Mapping[str, Any]:
    """How a trial was run, and on what data."""
    where = record.environment
    named = {
        "commit": where.commit,
        "local changes": where.dirty,
        "python": where.python,
        "device": where.device,
        "precision": where.precision,
        "threads": where.threads,
        **{f"package {name}": version for name, version in where.packages.items()},
    }
    if record.task is not None:
        named |= {"data": record.task.origin, "data content": record.task.content}
        named |= {"task fingerprint": record.task.fingerprint}
    return named
