"""Ends a trial that has diverged, learns nothing, has used up its time, or is asked to stop."""

import math
import signal
import threading
import time
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lra_bench.core.record import Status
from lra_bench.core.settings import TrainConfig
from lra_bench.core.specs import TaskSpec
from lra_bench.training.history import logged_metrics

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class TrialStopped(Exception):
    """Training ends here, for a reason that is a result.

    Attributes:
        status: of the trial.
        message: the reason in one line.
        failed_step: optimizer step of the first bad loss, where the trial diverged.
    """

    def __init__(self, status: Status, message: str, failed_step: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.failed_step = failed_step


class Guard(Callback):
    """Watches the loss, the clock and the signals SIGTERM, SIGUSR1 and SIGINT; raises `TrialStopped`.

    It raises between two steps, where a checkpoint is exact. The first bad step is kept on the device and looked at
    every `log_every` steps, so that a GPU is never waited for.
    """

    def __init__(self, train: TrainConfig, spec: TaskSpec) -> None:
        self.train = train
        self.spec = spec
        self.seconds = 0.0
        self._since: float | None = None
        self._first_loss: Tensor | float | None = None
        self._first_bad: Tensor | None = None
        self._learnt = False
        self._bad_validation: int | None = None
        self._signal: int | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and listen for signals."""
        self._since = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._remember_signal) for number in STOP_SIGNALS}

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Judge what has been done so far, before the next step."""
        step = trainer.global_step
        if step % self.train.log_every == 0:
            self._check_divergence()
        limit = self.train.chance_steps
        if limit is not None and step >= limit and not self._learnt:
            raise TrialStopped(Status.CHANCE, f"no better than chance by step {step}")
        if self.train.time_limit is not None and self.elapsed() > self.train.time_limit:
            raise TrialStopped(Status.TIMEOUT, f"used up its {self.train.time_limit:g} s at step {step}")
        if self._signal is not None:
            raise TrialStopped(Status.PREEMPTED, f"stopped by {signal.Signals(self._signal).name} at step {step}")

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note a loss that is not finite or has exploded."""
        loss = outputs["loss"].detach()
        if self._first_loss is None:
            self._first_loss = loss
        if self._first_bad is None:
            self._first_bad = torch.full((), -1, device=loss.device)
        bad = ~(loss <= self.train.diverge_factor * self._first_loss)
        self._first_bad = torch.where(bad & (self._first_bad < 0), trainer.global_step, self._first_bad)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what a validation says."""
        value = logged_metrics(trainer, "val")[self.spec.metric]
        self._learnt = self._learnt or not self.spec.at_chance(value)
        if not math.isfinite(value) and self._bad_validation is None:
            self._bad_validation = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the last steps."""
        self._check_divergence()
        self._stop_watching()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Training ended before its last step."""
        self._stop_watching()

    def elapsed(self) -> float:
        """Seconds of training so far, over all interruptions."""
        return self.seconds + (time.monotonic() - self._since if self._since is not None else 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Clock and reference loss."""
        first = None if self._first_loss is None else float(self._first_loss)
        return {"seconds": self.elapsed(), "first_loss": first, "learnt": self._learnt}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.seconds, self._learnt = state_dict["seconds"], state_dict["learnt"]
        self._first_loss = state_dict["first_loss"]

    def _stop_watching(self) -> None:
        self.seconds, self._since = self.elapsed(), None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _check_divergence(self) -> None:
        if self._first_bad is not None and (step := int(self._first_bad)) >= 0:
            limit = f"{self.train.diverge_factor:g} times the first one"
            raise TrialStopped(Status.DIVERGED, f"loss not finite, or over {limit}, at step {step}", step)
        if self._bad_validation is not None:
            step = self._bad_validation
            raise TrialStopped(Status.DIVERGED, f"validation {self.spec.metric} not finite at step {step}", step)

    def _remember_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
