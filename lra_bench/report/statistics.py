"""Summaries over seeds in which a failed trial counts as the worst value there is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BOOTSTRAP_FROM = 6
"""Fewest values for a bootstrap interval; for fewer the 95 % interval of the median is their whole range anyway."""

RESAMPLES = 10_000
COVERAGE = 0.95


@dataclass(frozen=True)
class Summary:
    """Values over seeds, failed ones being plus or minus infinity.

    Attributes:
        n: number of values, failed ones included.
        median: infinite once half of the values are.
        mean: infinite once one value is.
        minimum: smallest value.
        maximum: largest value.
        low: lower end of the 95 % interval of the median.
        high: upper end of it.
    """

    n: int
    median: float
    mean: float
    minimum: float
    maximum: float
    low: float
    high: float


@np.errstate(over="ignore")
def summarise(values: Sequence[float]) -> Summary:
    """Summary of at least one value, none of them NaN. The order of the values does not matter."""
    array = np.sort(np.asarray(values, dtype=np.float64))
    low, high = _median_interval(array)
    return Summary(
        n=array.size,
        median=float(np.median(array)),
        mean=float(np.mean(array)),
        minimum=float(array[0]),
        maximum=float(array[-1]),
        low=low,
        high=high,
    )


def _median_interval(array: np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap with a fixed seed, or the range of fewer than `BOOTSTRAP_FROM` values."""
    if array.size < BOOTSTRAP_FROM:
        return float(array[0]), float(array[-1])
    drawn = np.random.default_rng(0).integers(array.size, size=(RESAMPLES, array.size))
    medians = np.median(array[drawn], axis=1)
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(medians, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)
