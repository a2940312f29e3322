"""Ends a trial that has diverged, learns nothing, has used up its time, or is asked to stop."""

import math
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from lra_bench.core.record import Status
from lra_bench.core.settings import TrainConfig
from lra_bench.core.specs import TaskSpec
from lra_bench.training.history import logged_metrics
from lra_bench.training.losses import RecentLosses
from lra_bench.training.ranks import Peers
from lra_bench.training.watch import Watch

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class TrialStopped(Exception):
    """Training ends here, for a reason that is a result.

    Attributes:
        status: of the trial.
        message: the reason in one line.
        failed_step: optimizer step of the first bad loss, where the trial diverged.
    """

    def __init__(self, status: Status, message: str | None, failed_step: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.failed_step = failed_step


class Guard(Callback):
    """Watches the loss, the clock and the signals SIGTERM, SIGUSR1 and SIGINT; raises `TrialStopped`.

    It raises between two steps, where a checkpoint is exact, and in all processes at the same one, whichever of them
    was asked to stop. Losses stay on the device and are looked at every `log_every` steps, so that a GPU is never
    waited for. At most once a second it touches a file, as a sign of life.

    Args:
        train: limits.
        spec: primary metric and its value at chance.
        peers: the processes that train together.
        heartbeat: the file to touch.
    """

    def __init__(self, train: TrainConfig, spec: TaskSpec, peers: Peers, heartbeat: Path) -> None:
        self.train = train
        self.spec = spec
        self.peers = peers
        self.heartbeat = heartbeat
        self._watch = Watch(train, spec)
        self._since: float | None = None
        self._last_beat = -math.inf
        self._losses = RecentLosses(peers)
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
        self._beat()
        step = trainer.global_step
        if step % self.train.log_every == 0:
            self._check_divergence()
        limit = self.train.chance_steps
        if limit is not None and step >= limit and not self._watch.learnt:
            raise TrialStopped(Status.CHANCE, f"no better than chance by step {step}")
        time_limit = self.train.time_limit
        late = time_limit is not None and self.elapsed() > time_limit
        anyone_late, stop = self.peers.largest(late, self._signal or 0)
        if anyone_late:
            raise TrialStopped(Status.TIMEOUT, f"used up its {time_limit:g} s at step {step}")
        if stop:
            raise TrialStopped(Status.PREEMPTED, f"stopped by {signal.Signals(stop).name} at step {step}")

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keep the loss for later."""
        self._losses.add(trainer.global_step, outputs["loss"])

    def on_validation_batch_start(self, *_: Any) -> None:
        """Give a sign of life."""
        self._beat()

    def on_test_batch_start(self, *_: Any) -> None:
        """Give a sign of life."""
        self._beat()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what a validation says."""
        value = logged_metrics(trainer, "val")[self.spec.metric]
        self._watch.validated(trainer.global_step, value)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the last steps."""
        self._check_divergence()

    def stop_watching(self) -> None:
        """Stop the clock and listen no longer: after training, when no second signal can spoil its last checkpoint."""
        self._watch.seconds, self._since = self.elapsed(), None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def elapsed(self) -> float:
        """Seconds of training so far, over all interruptions."""
        return self._watch.seconds + (time.monotonic() - self._since if self._since is not None else 0.0)

    def state_dict(self) -> dict[str, Any]:
        """Clock, and what the losses have shown."""
        self._look_at_losses()
        return {**self._watch.state_dict(), "seconds": self.elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._watch.load_state_dict(state_dict)

    def _check_divergence(self) -> None:
        self._look_at_losses()
        if (ending := self._watch.divergence()) is not None:
            raise TrialStopped(ending.status, ending.message, ending.failed_step)

    def _look_at_losses(self) -> None:
        """Find the first one that is not finite or has exploded."""
        self._watch.look(self._losses.take())

    def _beat(self) -> None:
        if (now := time.monotonic()) > self._last_beat + 1:
            self._last_beat = now
            self.heartbeat.touch()

    def _remember_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
