"""How a row depends on its learning rate: the best one, and how far one may miss it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lra_bench.core.record import Status
from lra_bench.report.board import Cell, Metric, Row

COST_LEFT = {False: (0.1, 0.01), True: (0.5, 0.1)}
"""Thresholds, by `higher_is_better`, as shares of the trivial predictor's distance from the perfect value."""

OWN_FACTOR = 2.0
"""The row's own threshold, as a multiple of its best median's distance from the perfect value."""


@dataclass(frozen=True)
class Width:
    """A run of neighbouring learning rates, all of them tried.

    Attributes:
        low: the lowest.
        high: the highest.
        open_ended: it reaches an end of the rates tried, so the true range may be wider.
    """

    low: float
    high: float
    open_ended: bool

    @property
    def decades(self) -> float:
        """Its width, 0 for a single rate."""
        return math.log10(self.high / self.low)


@dataclass(frozen=True)
class Sensitivity:
    """What a row's learning rates came to.

    Attributes:
        best: cell with the best mean validation metric; None if a trial failed at every learning rate.
        at_edge: the best rate is the lowest or highest tried, so a better one may lie beyond.
        widths: for each of `thresholds`, the tolerated rates; None where no rate meets it.
        own_width: the rates within `OWN_FACTOR` of the row's own best; None if most trials failed at every rate.
        area: see `area`.
        diverged: share of the trials that diverged, for each learning rate.
    """

    best: Cell | None
    at_edge: bool
    widths: tuple[Width | None, ...]
    own_width: Width | None
    area: float | None
    diverged: tuple[float, ...]


def thresholds(metric: Metric) -> tuple[float, ...]:
    """The values of `metric` that count as good and as very good, the same for every row of a board."""
    if not math.isfinite(metric.chance):
        return ()
    return tuple(threshold(metric, share) for share in COST_LEFT[metric.higher_is_better])


def threshold(metric: Metric, share: float) -> float:
    """The value that leaves `share` of the distance from chance to the perfect value; NaN where chance is unknown."""
    return metric.perfect + share * (metric.chance - metric.perfect)


def unbroken(rates: Sequence[float], costs: Sequence[float], limit: float) -> Width | None:
    """The run of neighbouring rates around the least cost, the first among equals, that all cost at most `limit`.

    Args:
        rates: ascending.
        costs: of each rate; NaN where it was not measured, which ends the run and leaves it open-ended.
        limit: the greatest cost that is good enough, finite.

    Returns:
        None if even the least cost is above the limit.
    """
    good = [cost <= limit for cost in costs]
    first = last = min(range(len(costs)), key=lambda place: math.inf if math.isnan(costs[place]) else costs[place])
    if not good[first]:
        return None
    while first > 0 and good[first - 1]:
        first -= 1
    while last < len(costs) - 1 and good[last + 1]:
        last += 1
    beyond = (math.nan, *costs, math.nan)
    return Width(rates[first], rates[last], open_ended=math.isnan(beyond[first]) or math.isnan(beyond[last + 2]))


def sensitivity(row: Row, metric: Metric) -> Sensitivity:
    """Best rate, edge flag, tolerance widths, area and divergence of a row."""
    best = best_cell(row.cells, metric)
    middle = best_median(row.cells, metric)
    own = OWN_FACTOR * metric.cost(middle.val.median)
    return Sensitivity(
        best=best,
        at_edge=best is not None and best.rate in (row.cells[0].rate, row.cells[-1].rate),
        widths=tuple(_width(row.cells, metric, metric.cost(limit)) for limit in thresholds(metric)),
        own_width=_width(row.cells, metric, own) if math.isfinite(own) else None,
        area=area(row.cells, metric),
        diverged=tuple(cell.failures.get(Status.DIVERGED, 0) / cell.n for cell in row.cells),
    )


def area(cells: Sequence[Cell], metric: Metric) -> float | None:
    """The mean, over the logarithm of the learning rate, of how far chance is left behind.

    At each rate tried the median validation metric over seeds becomes a score: 1 where it is perfect, 0 at chance, and
    linear between; what is worse than chance, and a median that has failed, scores 0. Between neighbouring rates the
    score is interpolated (trapezoids over log10 of the rate), and the area under it is divided by the decades tried. So
    1 is a row that is perfect at every rate, 0 one that is at chance at every rate. It depends on which rates were
    tried, and compares only rows that tried the same.

    Args:
        cells: by ascending learning rate.
        metric: whose chance and perfect value are the ends of the scale.

    Returns:
        A number from 0 to 1; None for a single rate, and where chance is unknown or perfect.
    """
    worst = metric.cost(metric.chance)
    if len(cells) < 2 or not 0 < worst < math.inf:
        return None
    scores = np.array([1 - min(max(metric.cost(cell.val.median), 0.0), worst) / worst for cell in cells])
    decades = np.log10([cell.rate for cell in cells])
    return float(np.trapezoid(scores, decades) / (decades[-1] - decades[0]))


def best_cell(cells: Sequence[Cell], metric: Metric) -> Cell | None:
    """The cell with the best mean over seeds, the lowest rate among equals; None if every mean is infinite."""
    best = min(cells, key=lambda cell: metric.cost(cell.val.mean))
    return best if math.isfinite(best.val.mean) else None


def best_median(cells: Sequence[Cell], metric: Metric) -> Cell:
    """The cell with the best median over seeds, the lowest rate among equals."""
    return min(cells, key=lambda cell: metric.cost(cell.val.median))


def _width(cells: Sequence[Cell], metric: Metric, cost: float) -> Width | None:
    """The unbroken run of rates around the best median whose medians all cost at most `cost`."""
    return unbroken([cell.rate for cell in cells], [metric.cost(cell.val.median) for cell in cells], cost)
