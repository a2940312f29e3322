"""What a row costs, beside how well it does."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from lra_bench.report.board import RAN_TO_THE_END, Row


@dataclass(frozen=True)
class Cost:
    """Medians over the trials of a row; None where nothing was measured.

    Attributes:
        parameters: trainable real numbers.
        state_size: real numbers carried per sequence.
        seconds: per trial.
        examples_per_second: in training.
        peak_memory_mb: of the device, or of the process on a CPU.
    """

    parameters: float | None
    state_size: float | None
    seconds: float | None
    examples_per_second: float | None
    peak_memory_mb: float | None


def cost(row: Row) -> Cost:
    """Sizes from every trial that built its model; time and memory from those that ran to their end."""
    records = [trial.record for trial in row.trials]
    models = [record.model for record in records if record.model is not None]
    budgets = [record.budget for record in records if record.status in RAN_TO_THE_END]
    return Cost(
        parameters=_median(model.parameters for model in models),
        state_size=_median(model.state_size for model in models),
        seconds=_median(budget.seconds for budget in budgets),
        examples_per_second=_median(budget.examples_per_second for budget in budgets),
        peak_memory_mb=_median(budget.peak_memory_mb for budget in budgets),
    )


def _median(values: Iterable[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    return statistics.median(measured) if measured else None
