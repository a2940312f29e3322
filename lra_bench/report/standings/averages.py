"""Averages over LRA's tasks, of complete rows alone, and how sure they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lra_bench.report.comparison import Sample
from lra_bench.report.standings.contenders import Result
from lra_bench.report.standings.suites import BINARY, Convention

RESAMPLES = 10_000
COVERAGE = 0.95


@dataclass(frozen=True)
class Average:
    """The mean over tasks of medians over seeds.

    Attributes:
        value: a share.
        low: lower end of its 95 % bootstrap interval.
        high: upper end of it.
        samples: what was averaged, one for each task.
    """

    value: float
    low: float
    high: float
    samples: tuple[Sample, ...]

    @property
    def n(self) -> int:
        """Number of seeds, of the task that has most."""
        return max(map(len, self.samples))


def average(results: Mapping[str, Result | None], convention: Convention) -> Average | None:
    """The average of one row.

    Args:
        results: by name of the task.
        convention: which tasks, and what a failed one counts as.

    Returns:
        None unless every task of the convention was run with all seeds and has a result. A binary task has failed if a
        trial failed at every learning rate, or if most seeds at the best one stayed at chance.
    """
    samples = [_sample(task, results.get(task), convention) for task in convention.tasks]
    known = [sample for sample in samples if sample is not None]
    return of_samples(known) if len(known) == len(samples) else None


def of_samples(samples: Sequence[Sample]) -> Average:
    """Mean of medians, with a percentile bootstrap over the seeds of each task; its random numbers are fixed."""
    rng = np.random.default_rng(0)
    values = [np.sort(np.fromiter(sample.values(), float)) for sample in samples]
    drawn = [each[rng.integers(each.size, size=(RESAMPLES, each.size))] for each in values]
    resampled = np.mean([np.median(each, axis=1) for each in drawn], axis=0)
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    center = float(np.mean([np.median(each) for each in values]))
    return Average(center, float(low), float(high), tuple(samples))


def _sample(task: str, result: Result | None, convention: Convention) -> Sample | None:
    if result is None or not result.complete:
        return None
    if convention.failed is not None and task in BINARY and (result.best is None or result.at_chance):
        cell = result.best or result.row.cells[0]
        return {(trial.record.seed, trial.record.data_seed): convention.failed for trial in cell.trials}
    return result.sample
