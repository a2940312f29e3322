"""The loop over optimizer steps: Lightning's, without what this project does not use.

Hooks, metrics and counters that nobody reads here cost as much time a step as a small network. This loop calls the
callbacks that want to be called and does the step; validation, checkpoints, resumption and the ways to stop are
Lightning's. Of its private parts it uses the two classes that it extends and the counters that checkpoints hold: there
is no public place to put another loop.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.optimization.automatic import _AutomaticOptimization
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from torch import Tensor
from torch.optim import Optimizer


class StepLoop(_TrainingEpochLoop):
    """Takes batches that are ready for the network, and steps a schedule after every one.

    Args:
        trainer: whose loop this becomes; has its `max_steps`.
        grad_clip: largest global gradient norm; None does not clip.
    """

    def __init__(self, trainer: Trainer, grad_clip: float | None) -> None:
        super().__init__(trainer, max_steps=trainer.max_steps)
        self.automatic_optimization = WholeStep(trainer, grad_clip)
        self._at_start: list[Callable[..., None]] = []
        self._at_end: list[Callable[..., None]] = []

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Find the callbacks that look on at steps."""
        super().on_run_start(data_fetcher)
        callbacks = self.trainer.callbacks
        self._at_start = _hooks(callbacks, "on_train_batch_start")
        self._at_end = _hooks(callbacks, "on_train_batch_end")

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """One step, with its callbacks.

        The first step of a trial that goes on is Lightning's, which finds out whether the validation that was due has
        been done.
        """
        if self.restarting:
            super().advance(data_fetcher)
            self.val_loop.restarting = False  # no checkpoint is from within a validation
            return
        trainer, progress = self.trainer, self.batch_progress
        batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        progress.increment_ready()
        module = trainer.lightning_module
        for hook in self._at_start:
            hook(trainer, module, batch, batch_idx)
        progress.increment_started()
        words: OrderedDict[str, Any] = OrderedDict(batch=batch, batch_idx=batch_idx)
        outputs = self.automatic_optimization.run(trainer.optimizers[0], batch_idx, words)
        progress.increment_processed()
        self.scheduler_progress.increment_ready()
        trainer.lr_scheduler_configs[0].scheduler.step()
        self.scheduler_progress.increment_completed()
        for hook in self._at_end:
            hook(trainer, module, outputs, batch, batch_idx)
        progress.increment_completed()


class WholeStep(_AutomaticOptimization):
    """Forward, backward, clipping and the optimizer, in a straight line.

    Args:
        trainer: that steps.
        grad_clip: largest global gradient norm; None does not clip.
    """

    def __init__(self, trainer: Trainer, grad_clip: float | None) -> None:
        super().__init__(trainer)
        self.grad_clip = grad_clip
        self._parameters: list[torch.nn.Parameter] = []

    def run(self, optimizer: Optimizer, batch_idx: int, kwargs: OrderedDict[str, Any]) -> dict[str, Any]:
        """One optimizer step; gives the loss as callbacks get it, still on the device."""
        done = self.optim_progress.optimizer.step
        done.increment_ready()
        parameters = self._of(optimizer)
        for parameter in parameters:
            parameter.grad = None
        loss = self.trainer.strategy.training_step(*kwargs.values())
        assert isinstance(loss, Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, self.grad_clip)
        optimizer.step()
        done.increment_completed()
        return {"loss": loss.detach()}

    def _of(self, optimizer: Optimizer) -> list[torch.nn.Parameter]:
        if not self._parameters:
            self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        return self._parameters


def _hooks(callbacks: list[Callback], name: str) -> list[Callable[..., None]]:
    """What the callbacks that have something to do at a point do there."""
    return [getattr(each, name) for each in callbacks if getattr(type(each), name) is not getattr(Callback, name)]
