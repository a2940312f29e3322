"""Summaries over seeds in which a failed trial counts as the worst value there is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

TIMES = 20
"""An interval is to miss the median once in so many times, where there are values enough: it covers with 95 %."""


@dataclass(frozen=True)
class Summary:
    """Values over seeds, failed ones being plus or minus infinity.

    Attributes:
        n: number of values, failed ones included.
        median: infinite once half of the values are.
        mean: infinite once one value is; NaN where there are infinities of both signs.
        minimum: smallest value.
        maximum: largest value.
        low: lower end of the interval of the median.
        high: upper end of it.
    """

    n: int
    median: float
    mean: float
    minimum: float
    maximum: float
    low: float
    high: float


@np.errstate(over="ignore", invalid="ignore")
def summarise(values: Sequence[float]) -> Summary:
    """Summary of at least one value, none of them NaN. The order of the values does not matter.

    The interval runs from one value to another, both as far from the ends: the narrowest that covers the median of all
    seeds with a probability of at least 0.95, whatever their distribution (David and Nagaraja, Order Statistics, 2003,
    section 7.1). The range of fewer than 6 values does not; `coverage` says what it is worth.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    left_out, _ = _interval(ordered.size)
    return Summary(
        n=ordered.size,
        median=float(np.median(ordered)),
        mean=float(np.mean(ordered)),
        minimum=float(ordered[0]),
        maximum=float(ordered[-1]),
        low=float(ordered[left_out]),
        high=float(ordered[-1 - left_out]),
    )


def coverage(n: int) -> float:
    """The probability with which the interval of `n` values covers the median, at least, for any distribution.

    0, 0.5, 0.75, 0.875, 0.9375 for 1 to 5 values, 0.95 or more from 6 on.
    """
    return _interval(n)[1]


@cache
def _interval(n: int) -> tuple[int, float]:
    """How many values lie outside on either side, and the coverage: 1 - 2 P(Binomial(n, 1/2) <= that number)."""
    left_out, outside = 0, 1
    while (more := outside + math.comb(n, left_out + 1)) * 2 * TIMES <= 2**n:
        left_out, outside = left_out + 1, more
    return left_out, 1 - 2 * outside / 2**n
