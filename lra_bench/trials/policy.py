"""What the runner does when trials fail."""

from dataclasses import dataclass
from typing import Literal

from lra_bench.core.record import Status

FAILURES = (Status.OOM, Status.ERROR, Status.TIMEOUT)
"""Endings that say nothing about how well a model learns."""


@dataclass(frozen=True)
class Policy:
    """When a trial is given up, and what becomes of the others.

    Attributes:
        stall_limit: seconds without a sign of life after which a trial is ended as `timeout`.
        oom_retries: how often a cell that ran out of memory goes on with twice the micro-batches; 0 for never.
        restarts: how often a cell goes on whose process was killed from outside.
        on_error: what an `error` does. `hold`: where it is the first cell of a model on a task, the model's other cells
            there are not started. `carry-on`: nothing. `stop`: the sweep ends, and running trials save themselves.
        quarantine: failures in a row after which a GPU is taken out; the last one never is.
    """

    stall_limit: float = 1800.0
    oom_retries: int = 3
    restarts: int = 3
    on_error: Literal["hold", "carry-on", "stop"] = "hold"
    quarantine: int = 3
