"""A progress bar over optimizer steps, for people at a terminal."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lra_bench.training.history import logged_metrics


class StepBar(Callback):
    """Steps done, time left and the last validation, on standard error.

    Args:
        max_steps: of the trial.
        metric: shown after each validation.
        every: steps between updates.
    """

    def __init__(self, max_steps: int, metric: str, every: int) -> None:
        self.max_steps = max_steps
        self.metric = metric
        self.every = every
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("steps {task.description}"))
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = Progress(*columns, *times, console=Console(stderr=True))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the bar, from the step of a resumed trial on."""
        self._task = self._bar.add_task("", total=self.max_steps, completed=trainer.global_step)
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if trainer.global_step % self.every == 0 or trainer.global_step == self.max_steps:
            self._bar.update(self._task, completed=trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the validation."""
        value = logged_metrics(trainer, "val")[self.metric]
        self._bar.update(self._task, description=f"(val {self.metric} {value:.4g})")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the bar as it is."""
        self._bar.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the bar as it is."""
        self._bar.stop()
