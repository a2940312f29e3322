"""Learning curves over the seeds of a cell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.record import CurvePoint
from lra_bench.report.board import Cell, Metric

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """The validation metric at each step that any seed measured, all of shape (S,).

    Attributes:
        steps: ascending.
        median: over seeds; infinite where most have failed.
        low: smallest value.
        high: largest value.
    """

    steps: NDArray[np.int64]
    median: Floats
    low: Floats
    high: Floats


@np.errstate(over="ignore")
def median_curve(cell: Cell, metric: Metric) -> Curve:
    """Median and range over seeds; a failed trial counts as worst once its own curve has ended."""
    measured = [_measured(trial.record.curve, metric.name) for trial in cell.trials]
    steps = np.unique(np.concatenate([own for own, _ in measured]))
    values = np.full((len(measured), steps.size), np.nan)
    for line, (own, found), trial in zip(values, measured, cell.trials, strict=True):
        line[np.searchsorted(steps, own)] = found
        if metric.failure(trial.record):
            line[np.searchsorted(steps, own[-1:], side="right").max(initial=0) :] = metric.worst
    values.sort(axis=0)  # what was not measured, NaN, goes last
    count, place = np.count_nonzero(~np.isnan(values), axis=0), np.arange(steps.size)
    middle = values[(count - 1) // 2, place] * 0.5 + values[count // 2, place] * 0.5
    return Curve(steps, middle, values[0], values[count - 1, place])


def _measured(curve: Sequence[CurvePoint], name: str) -> tuple[NDArray[np.int64], Floats]:
    """Steps and values of one trial's curve, without those that were not finite."""
    points = {point.step: value for point in curve if (value := point.val.get(name)) is not None}
    steps = np.array(sorted(points), dtype=np.int64)
    return steps, np.array([points[step] for step in steps.tolist()], dtype=np.float64)
