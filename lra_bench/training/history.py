"""The learning curve: kept in `history.jsonl`, and passed on to whatever logger the trainer has."""

import json
from pathlib import Path
from typing import Any, Literal

from lightning import Callback, LightningModule, Trainer

from lra_bench.core.files import write_atomically
from lra_bench.core.record import CurvePoint
from lra_bench.training.losses import RecentLosses
from lra_bench.training.ranks import Peers


class History(Callback):
    """Appends a line per logged training loss and per validation.

    A training point is the mean loss of the steps since the last one. On resuming, lines beyond the checkpoint's step
    are cut off, so that the file reads as if nothing had happened. One of several processes writes, for all of them.

    Args:
        path: of `history.jsonl`.
        log_every: steps between training points.
        peers: the processes that train together.
    """

    def __init__(self, path: Path, log_every: int, peers: Peers) -> None:
        self.path = path
        self.log_every = log_every
        self.peers = peers
        self._losses = RecentLosses(peers)
        self._sum = 0.0
        self._count = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Cut off what lies beyond the point of resumption."""
        if self.peers.leads:
            kept = [point for point in read_history(self.path) if point.step <= trainer.global_step]
            write_atomically(self.path, "".join(_line(point) for point in kept))

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keep the loss, and write a point when it is due."""
        step = trainer.global_step
        self._losses.add(step, outputs["loss"])
        if step % self.log_every == 0:
            self._add_up()
            self._append(trainer, CurvePoint(step=step, train_loss=self._sum / self._count))
            self._sum, self._count = 0.0, 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a validation point."""
        self._append(trainer, CurvePoint(step=trainer.global_step, val=logged_metrics(trainer, "val")))

    def state_dict(self) -> dict[str, Any]:
        """The losses of the point that is being gathered."""
        self._add_up()
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on gathering."""
        self._sum, self._count = state_dict["sum"], state_dict["count"]

    def _add_up(self) -> None:
        for _, loss in self._losses.take():
            self._sum += loss
            self._count += 1

    def _append(self, trainer: Trainer, point: CurvePoint) -> None:
        if not self.peers.leads:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(point))
        values = {f"val/{name}": value for name, value in point.val.items() if value is not None}
        if point.train_loss is not None:
            values["train/loss"] = point.train_loss
        for logger in trainer.loggers:
            logger.log_metrics(values, step=point.step)


def logged_metrics(trainer: Trainer, split: Literal["val", "test"]) -> dict[str, float]:
    """The metrics of the evaluation that just ended."""
    return {
        name.removeprefix(f"{split}/"): float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith(f"{split}/")
    }


def read_history(path: Path) -> list[CurvePoint]:
    """The points of a `history.jsonl`; a last line cut short by a crash is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [CurvePoint.from_json(line) for line in lines if line.endswith("\n")]


def thinned(points: list[CurvePoint], most: int = 200) -> list[CurvePoint]:
    """All validation points, and at most `most` training points, evenly spread, the last one included."""
    training = [point for point in points if not point.val]
    stride = -(-len(training) // most) or 1
    kept = {id(point) for point in training[::-1][::stride]}
    return [point for point in points if point.val or id(point) in kept]


def _line(point: CurvePoint) -> str:
    return json.dumps(point.to_dict(), allow_nan=False) + "\n"
