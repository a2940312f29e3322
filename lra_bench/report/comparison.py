"""Which rows differ beyond chance: differences of means over seeds, and ranks with ties."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from lra_bench.report.board import Cell, Metric

LEVEL = 0.05
"""Chance of a false difference, in a table as a whole. Intervals of single differences cover with the rest of it."""

RESAMPLES = 9_999
CACHED_ROWS = 256
"""Rows whose resamples are kept, at 160 kB each."""

MOST_SEEDS = 1_000
POWER = 0.8
"""Chance that the number of seeds said to be needed shows a difference."""

FEWEST = 2
"""Seeds that a spread takes."""

FEWEST_ALIKE = 3
"""Seeds that have to agree before their lack of spread is taken for one. Two agree by chance too often on test sets of
few examples: where both rows waver between two values, once in eight times."""

ROUNDING = 1e-12
"""A spread of at most this share of the values is none: it comes from rounding."""

Sample = Mapping[tuple[int, int], float]
"""The finite test metric of one row on one task, by seed and data seed."""

_Values = tuple[tuple[float, ...], ...]
"""For each task, the values in order of their seeds."""

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """First minus second, of means over seeds and tasks.

    Attributes:
        value: the difference; or, if `ratio`, the geometric mean of the first over that of the second.
        low: lower end of its 95 % interval.
        high: upper end of it.
        p: two-sided p-value of no difference.
        method: Student's t on differences seed by seed, or two samples resampled.
        n: seeds, on the task and side that has fewest.
        ratio: logarithms were compared.
    """

    value: float
    low: float
    high: float
    p: float
    method: Literal["paired", "bootstrap"]
    n: int
    ratio: bool

    def first_is_better(self, higher_is_better: bool) -> bool:
        """Whether the difference is in favour of the first, by chance or not."""
        return (self.value > float(self.ratio)) == higher_is_better


def sample(cell: Cell, metric: Metric) -> Sample | None:
    """The test metric of each seed of a cell; None if a trial failed or has none."""
    values = {trial.seeds: metric.value(trial.record, trial.record.test) for trial in cell.trials}
    return values if all(map(math.isfinite, values.values())) else None


@np.errstate(over="ignore", invalid="ignore")
def difference(first: Sequence[Sample], second: Sequence[Sample], log: bool = False) -> Difference | None:
    """The difference of two rows' averages over the same tasks, as far as seeds can tell.

    If both have the same seeds on every task: Student's t on each seed's difference of averages over tasks. Otherwise:
    a bootstrap of the studentised difference that resamples each task and side by itself (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, algorithm 16.2), with a symmetric interval (Hall, Annals of Statistics 16,
    1988). Few values are too like each other when resampled, so where Welch's t (Biometrika 34, 1947) gives the larger
    p-value and the wider interval, these are taken.

    Seeds that make no difference at all, three or more, set any other difference beyond chance.

    Args:
        first: a sample for each task.
        second: a sample for each task, in the same order.
        log: compare logarithms, so that the difference is a ratio; done only if all values are positive.

    Returns:
        None if there are too few seeds to tell, or numbers too large to compute with.
    """
    log = log and all(value > 0 for each in (*first, *second) for value in each.values())
    one, other = _values(first, log), _values(second, log)
    fewest = min(map(len, (*one, *other)))
    if fewest < FEWEST:
        return None
    paired = len({frozenset(each) for each in (*first, *second)}) == 1
    found = _seed_by_seed(one, other) if paired else _welch(one, other)
    rounding = ROUNDING * max(abs(value) for each in (*one, *other) for value in each)
    if rounding < found.error < math.inf:
        p, half = _student(found)
        if not paired:
            p, half = map(max, (p, half), _bootstrap(found, one, other))
    elif found.error <= rounding and fewest >= FEWEST_ALIKE:
        p, half = float(abs(found.value) <= rounding), 0.0
    else:
        return None
    ends = found.value, found.value - half, found.value + half
    value, low, high = (float(np.exp(end)) if log else end for end in ends)
    return Difference(value, low, high, p, "paired" if paired else "bootstrap", fewest, ratio=log)


def seeds_needed(found: Difference) -> int | None:
    """About how many seeds on each side would show a difference of this size, four times in five.

    Returns:
        None if that takes more than `MOST_SEEDS`.
    """
    value, low, high = (
        np.log([found.value, found.low, found.high]) if found.ratio else (found.value, found.low, found.high)
    )
    deviation = (high - low) / 2 / stdtrit(found.n - 1, 1 - LEVEL / 2) * math.sqrt(found.n)
    n = np.arange(FEWEST, MOST_SEEDS + 1)
    enough = (stdtrit(n - 1, 1 - LEVEL / 2) + stdtrit(n - 1, POWER)) * deviation / np.sqrt(n) <= abs(value)
    return int(n[np.argmax(enough)]) if enough.any() else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that bound the chance of any false discovery (Holm, Scand. J. Statistics 6, 1979)."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def ranks(rows: Sequence[Sequence[Sample] | None], higher_is_better: bool, log: bool) -> list[int | None]:
    """1 + number of rows that are better beyond chance, at 5 % for the whole table (Holm over all its pairs).

    All rows that no other one surpasses so share the first rank. A row whose values scatter may stand above one whose
    mean is better.

    Args:
        rows: a sample for each task, the same tasks in all rows; None for a row that is not ranked.
        higher_is_better: direction of the metric.
        log: compare logarithms where all values of a pair are positive.

    Returns:
        A rank for each row; None for a row of None, and for one with too few seeds to be compared with any other row.
    """
    ranked = {place: row for place, row in enumerate(rows) if row is not None}
    compared = {
        (place, other): found
        for place, other in combinations(ranked, 2)
        if (found := difference(ranked[place], ranked[other], log)) is not None
    }
    surpassed = dict.fromkeys(ranked if len(ranked) == 1 else (place for pair in compared for place in pair), 0)
    adjusted = holm([found.p for found in compared.values()])
    for (place, other), found, p in zip(compared, compared.values(), adjusted, strict=True):
        if p <= LEVEL:
            surpassed[other if found.first_is_better(higher_is_better) else place] += 1
    return [surpassed[place] + 1 if place in surpassed else None for place in range(len(rows))]


@dataclass(frozen=True)
class _Estimate:
    """A difference of means, its standard error, and the degrees of freedom that this rests on."""

    value: float
    error: float
    degrees: float


def _values(samples: Sequence[Sample], log: bool) -> _Values:
    return tuple(tuple(math.log(each[key]) if log else each[key] for key in sorted(each)) for each in samples)


def _seed_by_seed(one: _Values, other: _Values) -> _Estimate:
    differences = (np.array(one) - np.array(other)).mean(axis=0)
    n = differences.size
    return _Estimate(float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(n), n - 1)


def _welch(one: _Values, other: _Values) -> _Estimate:
    """Welch's, for sums of several means (Satterthwaite, Biometrics Bulletin 2, 1946)."""
    tasks = len(one)
    value = (math.fsum(map(np.mean, one)) - math.fsum(map(np.mean, other))) / tasks
    parts = [(float(np.var(each, ddof=1)) / len(each), len(each) - 1) for each in (*one, *other)]
    variance = math.fsum(part for part, _ in parts)
    degrees = 1 / math.fsum((part / variance) ** 2 / free for part, free in parts) if variance > 0 else math.inf
    return _Estimate(value, math.sqrt(variance) / tasks, degrees)


def _student(found: _Estimate) -> tuple[float, float]:
    """p-value, and half the width of the interval."""
    p = 2 * float(stdtr(found.degrees, -abs(found.value) / found.error))
    return p, float(stdtrit(found.degrees, 1 - LEVEL / 2)) * found.error


def _bootstrap(found: _Estimate, one: _Values, other: _Values) -> tuple[float, float]:
    """The same, by resampling. Resamples without spread are left out."""
    low, high = sorted((one, other))
    (means, variances), (other_means, other_variances) = _resampled(low, 0), _resampled(high, 1)
    variance = variances + other_variances
    kept = variance > 0
    t = np.abs(means - other_means)[kept] / np.sqrt(variance[kept])
    above = np.count_nonzero(t >= abs(found.value) / found.error)
    rank = t.size - math.floor(LEVEL * (t.size + 1))
    return (1 + above) / (1 + t.size), float(np.partition(t, rank)[rank]) * found.error


@lru_cache(maxsize=CACHED_ROWS)
def _resampled(values: _Values, side: int) -> tuple[_Array, _Array]:
    """Sums over tasks of the resampled means about their own mean, and of the squared errors of these: (RESAMPLES,).

    The two sides are resampled with different random numbers.
    """
    means, variances = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for task, each in enumerate(values):
        n = len(each)
        places = np.random.default_rng((side, task, n)).integers(n, size=(n, RESAMPLES))
        drawn = (np.array(each) - np.mean(each))[places]
        means += drawn.mean(axis=0)
        variances += np.where((drawn != drawn[0]).any(axis=0), drawn.var(axis=0, ddof=1) / n, 0.0)
    return means, variances
