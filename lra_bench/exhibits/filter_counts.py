"""How the error falls with the number of spectral filters, and where it stops falling."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lra_bench.report import formatting
from lra_bench.report.board import Board, Metric
from lra_bench.report.figures.filters import FilterSweep, eigenvalue_fall, filter_sweeps
from lra_bench.report.rate_table import interval
from lra_bench.report.statistics import summarise
from lra_bench.report.table import Column, Entry, Group, Table

PLATEAU = 2.0
"""The plateau begins at the smallest number of filters whose error is within this factor of the lowest of all."""


@dataclass(frozen=True)
class Fall:
    """How the test error of one seed falls with the number K of filters.

    Attributes:
        first: error at the smallest K.
        lowest: lowest error of all.
        plateau: smallest K whose error is at most `PLATEAU` times the lowest.
        slope: powers of ten lost with each filter, by least squares up to the plateau; NaN for a single point.
    """

    first: float
    lowest: float
    plateau: int
    slope: float

    @property
    def orders(self) -> float:
        """Powers of ten between the first error and the lowest."""
        return math.log10(self.first / self.lowest)


def fall(errors: dict[int, float]) -> Fall:
    """How finite, positive errors by number of filters fall."""
    counts = sorted(errors)
    lowest = min(errors.values())
    plateau = next(count for count in counts if errors[count] <= PLATEAU * lowest)
    down = [count for count in counts if count <= plateau]
    heights = [math.log10(errors[count]) for count in down]
    slope = -statistics.linear_regression(down, heights).slope if len(down) > 1 else math.nan
    return Fall(errors[counts[0]], lowest, plateau, slope)


def theory(seq_len: int) -> float:
    """Powers of ten that eigenvalues lose with each filter, at least: pi^2 / (4 ln L ln 10); see `figures.filters`."""
    return eigenvalue_fall(seq_len) / math.log(10)


def filter_counts_table(boards: Sequence[Board]) -> Table:
    """A row for each set of rows that differ in the number of filters alone: how far the test error falls.

    Each number is the median over seeds of what is computed of every seed by itself, at the best learning rates.
    """
    return Table(
        title="Test error against the number of spectral filters",
        conditions="at the best learning rate of each number of filters; median [interval] over seeds",
        columns=(
            Column("Trained by", "trained by", wordy=True),
            Column("Filters tried", None),
            Column("Error at the fewest", "first"),
            Column("Lowest error", "lowest"),
            Column("Powers of ten between", "powers of ten"),
            Column(
                "Plateau from K =",
                "plateau",
                f"the smallest number of filters whose error is at most {PLATEAU:g} times the lowest of its seed",
            ),
            Column(
                "Powers of ten per filter",
                "slope",
                "by least squares on the logarithm of the error, from the fewest filters to the plateau",
            ),
            Column("Of the eigenvalues", "theory", "how fast they fall at least: π² / (4 ln L ln 10), no fit"),
            Column("Seeds", "n", "that have an error at every number of filters"),
        ),
        groups=tuple(
            Group(board.label if len(boards) > 1 else "", tuple(_line(*line, board) for line in lines))
            for board in boards
            if (lines := [(each, falls) for each in filter_sweeps(board) if (falls := _falls(each, board.metric))])
        ),
    )


def _line(sweep: FilterSweep, falls: Sequence[Fall], board: Board) -> tuple[Entry, ...]:
    length = int(board.shared["task.seq_len"])
    return (
        Entry(sweep.name, sweep.name),
        Entry(f"{sweep.counts[0]} to {sweep.counts[-1]}", len(sweep.counts)),
        _entry([each.first for each in falls]),
        _entry([each.lowest for each in falls]),
        _entry([each.orders for each in falls]),
        _whole([each.plateau for each in falls]),
        _entry([each.slope for each in falls]),
        Entry(formatting.number(theory(length)), theory(length)),
        Entry(str(len(falls)), len(falls)),
    )


def _entry(values: Sequence[float]) -> Entry:
    """Median and interval of those that exist."""
    found = [value for value in values if not math.isnan(value)]
    summary = summarise(found) if found else None
    return Entry(formatting.NOTHING, math.nan) if summary is None else Entry(interval(summary), summary.median)


def _whole(values: Sequence[int]) -> Entry:
    summary = summarise(values)
    return Entry(f"{summary.median:g} [{summary.low:g}, {summary.high:g}]", summary.median)


def _falls(sweep: FilterSweep, metric: Metric) -> list[Fall]:
    """The fall of every seed that has an error at all numbers of filters."""
    by_seed: dict[tuple[int, int], dict[int, float]] = defaultdict(dict)
    for count, cell in zip(sweep.counts, sweep.cells, strict=True):
        for trial in () if cell is None else cell.trials:
            error = metric.value(trial.record, trial.record.test)
            if 0 < error < math.inf:
                by_seed[trial.seeds][count] = error
    return [fall(errors) for _, errors in sorted(by_seed.items()) if len(errors) == len(sweep.counts)]
