"""Checkpoints of plain types, written atomically; what is not there was never written."""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from lra_bench.core.files import replacing
from lra_bench.core.record import Status
from lra_bench.core.specs import TaskSpec
from lra_bench.training.guard import TrialStopped
from lra_bench.training.history import logged_metrics
from lra_bench.training.ranks import Peers


class Checkpointer(Checkpoint):
    """After each validation, keeps the best weights, then everything needed to go on.

    `last.ckpt` names its best step, and `best-<step>.ckpt` of that step is older than it: a crash between the two
    writes leaves a pair that belongs together. One of several processes writes, for all of them; `last.ckpt` holds the
    random generators of each. Where a trial goes on with another number of processes, those that the checkpoint does
    not know keep the generators that they began with.

    Args:
        folder: where checkpoints are kept.
        spec: primary metric and its direction.
        peers: the processes that train together.
    """

    def __init__(self, folder: Path, spec: TaskSpec, peers: Peers) -> None:
        self.folder = folder
        self.spec = spec
        self.peers = peers
        self.best_step: int | None = None
        self.best_metrics: dict[str, float] = {}
        self._rng: dict[str, Any] = {}

    @property
    def last(self) -> Path:
        """Checkpoint to continue from."""
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        """Weights of the selected step."""
        return self.folder / f"best-{self.best_step}.ckpt"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Select on the primary validation metric, then save."""
        metrics = logged_metrics(trainer, "val")
        name = self.spec.metric
        if self.spec.better(metrics[name], self.best_metrics.get(name)):
            self.best_step, self.best_metrics = trainer.global_step, metrics
            if self.peers.leads:
                with replacing(self.best) as path:
                    torch.save(pl_module.state_dict(), path)
        self.save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save where training stopped for a reason that does not lie in the weights."""
        if isinstance(exception, TrialStopped) and exception.status in (Status.PREEMPTED, Status.TIMEOUT):
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write `last.ckpt`, then drop best weights that it no longer names."""
        if not self.peers.leads:
            trainer.save_checkpoint(self.last)  # writes nothing here, but gathers what the leading process writes
            return
        with replacing(self.last) as path:
            trainer.save_checkpoint(path)
        self._tidy()

    def load_best(self, pl_module: LightningModule) -> None:
        """Put the selected weights into the module."""
        if self.peers.leads:
            self._tidy()
        pl_module.load_state_dict(torch.load(self.best, weights_only=True, map_location="cpu"))

    def _tidy(self) -> None:
        """Drop best weights that `last.ckpt` no longer names, and what killed processes left half written."""
        for path in self.folder.iterdir():
            if path not in (self.last, self.best):
                path.unlink()

    def state_dict(self) -> dict[str, Any]:
        """The selection so far."""
        return {"best_step": self.best_step, "best_metrics": self.best_metrics}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the selection up again."""
        self.best_step = state_dict["best_step"]
        self.best_metrics = state_dict["best_metrics"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the state of the random generators, and do not count a step that was only about to start."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for count in (progress["total"], progress["current"]):
            count["ready"] = count["completed"]
        rng = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            rng["cuda"] = torch.cuda.get_rng_state()
        checkpoint["rng"] = self.peers.gathered(rng)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember the state of this process's random generators until training starts."""
        if self.peers.index < len(checkpoint["rng"]):
            self._rng = checkpoint["rng"][self.peers.index]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the random generators back where they were."""
        if "cpu" in self._rng:
            torch.set_rng_state(self._rng["cpu"])
        if "cuda" in self._rng and torch.cuda.is_available():
            torch.cuda.set_rng_state(self._rng["cuda"])
