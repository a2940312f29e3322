"""How a row depends on its learning rate: the best one, and how far one may miss it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from lra_bench.core.record import Status
from lra_bench.report import formatting
from lra_bench.report.board import Board, Cell, Metric, Row
from lra_bench.report.cost import cost

if TYPE_CHECKING:
    import pandas as pd

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
    return tuple(
        metric.perfect + share * (metric.chance - metric.perfect) for share in COST_LEFT[metric.higher_is_better]
    )


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


def frame(boards: Sequence[Board]) -> "pd.DataFrame":
    """How every row of every board depends on its learning rate, and what it costs: one line each.

    Returns:
        The board's label, task and conditions; the row's label, numbers of trials and failures; rates tried, best rate,
        whether that is the last one tried; test metric there; the ends and the width in decades of the rates that meet
        the thresholds `good`, `very_good` and `own`; `area`; `diverged`, of all trials, and `diverged_per_rate`, a text
        of the rates at which trials diverged with their share; and the fields of `Cost`. What does not exist is None.
    """
    import pandas as pd

    return pd.DataFrame([_line(board, row) for board in boards for row in board.rows], dtype=object)


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


def _line(board: Board, row: Row) -> dict[str, object]:
    found = sensitivity(row, board.metric)
    test = found.best.test if found.best else None
    limits = dict(zip(("good", "very_good"), thresholds(board.metric), strict=False))
    return {
        "board": board.label,
        "task": board.task,
        "task_version": board.version,
        "tier": board.tier,
        "track": board.track,
        "protocol": board.protocol,
        "origin": board.origin or "",
        "model": row.label,
        "trials": len(row.trials),
        "missing_trials": row.missing,
        "failed_trials": sum(row.failures.values()),
        "failures": formatting.named(row.failures),
        "rates_tried": len(row.cells),
        "lowest_rate": row.cells[0].rate,
        "highest_rate": row.cells[-1].rate,
        "best_rate": found.best.rate if found.best else None,
        "best_rate_at_edge": found.at_edge,
        "test_metric": board.metric.name,
        "test_n": test.n if test else None,
        "test_median": test.median if test else None,
        "test_low": test.low if test else None,
        "test_high": test.high if test else None,
        "test_mean": test.mean if test else None,
        **dict(_widths(found, limits)),
        "area": found.area,
        "diverged": row.failures.get(Status.DIVERGED, 0) / len(row.trials),
        "diverged_per_rate": "; ".join(
            f"{formatting.rate(cell.rate)}: {share:.3g}"
            for cell, share in zip(row.cells, found.diverged, strict=True)
            if share
        ),
        **asdict(cost(row)),
    }


def _widths(found: Sensitivity, limits: Mapping[str, float]) -> Iterator[tuple[str, object]]:
    widths = {**dict(zip(limits, found.widths, strict=True)), "own": found.own_width}
    for name in ("good", "very_good", "own"):
        width = widths.get(name)
        if name != "own":
            yield f"{name}_threshold", limits.get(name)
        yield f"{name}_lowest_rate", width.low if width else None
        yield f"{name}_highest_rate", width.high if width else None
        yield f"{name}_decades", width.decades if width else None
        yield f"{name}_open_ended", width.open_ended if width else None
