"""When a trial is over: what its losses, its validations and its clock say."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lra_bench.core.record import Status
from lra_bench.core.settings import TrainConfig
from lra_bench.core.specs import TaskSpec


@dataclass(frozen=True)
class Ending:
    """Why training ends.

    Attributes:
        status: of the trial.
        message: the reason in one line, None where the last step is done.
        failed_step: optimizer step of the first bad loss, where the trial diverged.
    """

    status: Status = Status.OK
    message: str | None = None
    failed_step: int | None = None


class Watch:
    """What the losses and validations of one trial have shown so far.

    Args:
        train: limits.
        spec: primary metric and its value at chance.

    Attributes:
        seconds: of training so far.
        learnt: whether a validation was better than chance.
    """

    def __init__(self, train: TrainConfig, spec: TaskSpec) -> None:
        self.train = train
        self.spec = spec
        self.seconds = 0.0
        self._first_loss: float | None = None
        self._first_bad: int | None = None
        self.learnt = False
        self._bad_validation: int | None = None

    def look(self, losses: Iterable[tuple[int, float]]) -> None:
        """Find the first loss that is not finite or has exploded, among those of further steps."""
        for step, loss in losses:
            if self._first_loss is None:
                self._first_loss = loss
            if self._first_bad is None and not loss <= self.train.diverge_factor * self._first_loss:
                self._first_bad = step

    def validated(self, step: int, value: float) -> None:
        """Note a value of the primary metric."""
        self.learnt = self.learnt or not self.spec.at_chance(value)
        if not math.isfinite(value) and self._bad_validation is None:
            self._bad_validation = step

    def divergence(self) -> Ending | None:
        """Why the trial has diverged, if it has."""
        if (step := self._first_bad) is not None:
            limit = f"{self.train.diverge_factor:g} times the first one"
            return Ending(Status.DIVERGED, f"loss not finite, or over {limit}, at step {step}", step)
        if (step := self._bad_validation) is not None:
            return Ending(Status.DIVERGED, f"validation {self.spec.metric} not finite at step {step}", step)
        return None

    def before_step(self, step: int, stopped_by: str | None) -> Ending | None:
        """Why the trial ends after `step` steps, if it does.

        Args:
            step: steps done.
            stopped_by: name of a signal that asked to stop.
        """
        if step % self.train.log_every == 0 and (ending := self.divergence()) is not None:
            return ending
        chance, time = self.train.chance_steps, self.train.time_limit
        if chance is not None and step >= chance and not self.learnt:
            return Ending(Status.CHANCE, f"no better than chance by step {step}")
        if time is not None and self.seconds > time:
            return Ending(Status.TIMEOUT, f"used up its {time:g} s at step {step}")
        if stopped_by is not None:
            return Ending(Status.PREEMPTED, f"stopped by {stopped_by} at step {step}")
        return None

    def state_dict(self) -> dict[str, Any]:
        """Clock, and what the losses have shown."""
        return {
            "seconds": self.seconds,
            "first_loss": self._first_loss,
            "first_bad": self._first_bad,
            "learnt": self.learnt,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.seconds, self.learnt = state["seconds"], state["learnt"]
        self._first_loss, self._first_bad = state["first_loss"], state["first_bad"]
