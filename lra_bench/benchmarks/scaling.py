"""How time and memory of a layer grow with the length of its input, and what it takes to make the layer for it.

All lengths of one model take turns. The exponent is the slope of a straight line through the logarithms, by least
squares, with Student's 95 % interval of a slope; a time that is mostly overhead at short lengths makes it smaller.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lra_bench.benchmarks.cases import Case, Maker, Shape
from lra_bench.benchmarks.race import Result, race
from lra_bench.benchmarks.results import Benchmark, Column, Row, machine

IDENTITY = ("model", "what")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        makers: layers.
        lengths: L, ascending, at least two.
        batch: B.
        width: D.
        device: where.
        threads: on the processor.
        seconds: of timed passes for each layer and length.
    """

    makers: Sequence[Maker]
    lengths: Sequence[int]
    batch: int
    width: int
    device: torch.device
    threads: int
    seconds: float


@dataclass(frozen=True)
class Exponent:
    """Of a power law: its least-squares value and the ends of its 95 % interval, NaN for two points."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def measure(plan: Plan, say: Callable[[str], None]) -> Benchmark:
    """Measure all that is planned.

    Raises:
        LraBenchError: a layer cannot be made, or fails; names it.
    """
    rows: list[Row] = []
    for maker in plan.makers:
        shapes = [Shape(f"L = {length:,}", plan.batch, length, plan.width) for length in plan.lengths]
        cases = [Case(maker, shape, "float32", str(plan.device), plan.threads) for shape in shapes]
        say(f"{maker.name}: L = {', '.join(f'{length:,}' for length in plan.lengths)}")
        rows += _rows(maker.name, plan.lengths, race(cases, plan.seconds, with_errors=False))
    conditions = {
        **machine(plan.device),
        "threads": str(plan.threads),
        "B x D": f"{plan.batch} x {plan.width}",
        "dtype": "float32",
    }
    return Benchmark("scaling", conditions, IDENTITY, columns(plan.lengths), rows)


def columns(lengths: Sequence[int]) -> tuple[Column, ...]:
    """Of a table over these lengths."""
    each = (Column(str(length), f"L = {length:,}", "{:.3g}", "less") for length in lengths)
    return Column("model", "layer"), Column("what", "what"), *each, Column("exponent", "exponent")


def fitted_exponent(sizes: Sequence[float], values: Sequence[float]) -> Exponent:
    """Fit value = c size^p to two or more points."""
    x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(values, dtype=float))
    x -= x.mean()
    slope = float(x @ y / (x @ x))
    freedom = len(x) - 2
    if freedom == 0:
        return Exponent(slope, math.nan, math.nan)
    from scipy.stats import t

    rest = y - y.mean() - slope * x
    half = float(t.ppf(0.975, freedom) * math.sqrt((rest @ rest) / freedom / (x @ x)))
    return Exponent(slope, slope - half, slope + half)


def _rows(name: str, lengths: Sequence[int], results: Sequence[Result]) -> list[Row]:
    """Three: a pass, its memory, and making the layer."""
    measured = {
        "pass, ms": [1000 * result.both.median for result in results],
        "memory, MB": [result.megabytes for result in results],
        "making, ms": [1000 * result.building for result in results],
    }
    return [_row(name, what, lengths, values) for what, values in measured.items()]


def _row(name: str, what: str, lengths: Sequence[int], values: Sequence[float]) -> Row:
    exponent = fitted_exponent(lengths, values)
    by_length: Row = {str(length): value for length, value in zip(lengths, values, strict=True)}
    return {"model": name, "what": what, **by_length, "exponent": str(exponent), "slope": exponent.value}
