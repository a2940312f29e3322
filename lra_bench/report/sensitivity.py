"""How a row depends on its learning rate: the best one, and how far one may miss it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
    """

    best: Cell | None
    at_edge: bool
    widths: tuple[Width | None, ...]
    own_width: Width | None


def thresholds(metric: Metric) -> tuple[float, ...]:
    """The values of `metric` that count as good and as very good, the same for every row of a board."""
    if not math.isfinite(metric.chance):
        return ()
    return tuple(
        metric.perfect + share * (metric.chance - metric.perfect) for share in COST_LEFT[metric.higher_is_better]
    )


def sensitivity(row: Row, metric: Metric) -> Sensitivity:
    """Best rate, edge flag and tolerance widths of a row."""
    best = best_cell(row.cells, metric)
    middle = best_median(row.cells, metric)
    own = OWN_FACTOR * metric.cost(middle.val.median)
    return Sensitivity(
        best=best,
        at_edge=best is not None and best.rate in (row.cells[0].rate, row.cells[-1].rate),
        widths=tuple(_width(row.cells, metric, metric.cost(limit)) for limit in thresholds(metric)),
        own_width=_width(row.cells, metric, own) if math.isfinite(own) else None,
    )


def best_cell(cells: Sequence[Cell], metric: Metric) -> Cell | None:
    """The cell with the best mean over seeds, the lowest rate among equals; None if every mean is infinite."""
    best = min(cells, key=lambda cell: metric.cost(cell.val.mean))
    return best if math.isfinite(best.val.mean) else None


def best_median(cells: Sequence[Cell], metric: Metric) -> Cell:
    """The cell with the best median over seeds, the lowest rate among equals."""
    return min(cells, key=lambda cell: metric.cost(cell.val.median))


def _width(cells: Sequence[Cell], metric: Metric, cost: float) -> Width | None:
    """The unbroken run of rates around the best median whose medians all cost at most `cost`."""
    good = [metric.cost(cell.val.median) <= cost for cell in cells]
    first = last = cells.index(best_median(cells, metric))
    if not good[first]:
        return None
    while first > 0 and good[first - 1]:
        first -= 1
    while last < len(cells) - 1 and good[last + 1]:
        last += 1
    return Width(cells[first].rate, cells[last].rate, open_ended=first == 0 or last == len(cells) - 1)
