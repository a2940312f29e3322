"""The one LightningModule: any network, any objective."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from lra_bench.core.batch import Batch
from lra_bench.core.settings import OptimConfig
from lra_bench.nn.backbone import Backbone
from lra_bench.training.compiling import MaybeCompiled
from lra_bench.training.objectives import Objective, Scores
from lra_bench.training.optimizers import ParameterGroup, lr_factor, make_optimizer


class LitSequenceModel(LightningModule):
    """Trains a backbone on an objective.

    Args:
        net: the network.
        objective: loss and metrics.
        groups: parameters by learning rate and decay.
        optim: optimizer and schedule.
        max_steps: length of the schedule.
        eval_sizes: examples of the validation ("val") and test ("test") data; every evaluation must see as many.
        accumulate: micro-batches that this process splits its share of a batch into.
        compile_net: run the network through torch.compile, where that works.
    """

    def __init__(
        self,
        net: Backbone,
        objective: Objective,
        groups: list[ParameterGroup],
        optim: OptimConfig,
        max_steps: int,
        eval_sizes: Mapping[str, int],
        accumulate: int = 1,
        compile_net: bool = False,
    ) -> None:
        super().__init__()
        self.net = net
        self.objective = objective
        self.groups = groups
        self.optim = optim
        self.max_steps = max_steps
        self.eval_sizes = eval_sizes
        self.accumulate = accumulate
        self.val_scores = objective.scores()
        self.test_scores = objective.scores()
        self._compiled = MaybeCompiled(net) if compile_net else None

    @property
    def not_compiled(self) -> str | None:
        """Why the network is not compiled though it should have been; None where nothing failed."""
        return self._compiled.failure if self._compiled else None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of this process's share of a batch; the mean over the processes is the loss of the whole batch.

        Gradients of all micro-batches but the last are summed up here, where Lightning's data-parallel wrapper does not
        reduce them; it averages the sums when the loop takes the loss that is returned backwards.
        """
        parts = self._micro_batches(batch)
        *early, (last, weight) = zip(parts, self._weights(parts), strict=True)
        before = [self._backward(micro, its_weight) for micro, its_weight in early]
        return torch.stack([*before, self._loss(last, weight)]).sum() if before else self._loss(last, weight)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch into the validation metrics."""
        self.val_scores.update(self._run(batch), batch)

    def on_validation_epoch_end(self) -> None:
        """Publish the validation metrics."""
        self._publish("val", self.val_scores)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch into the test metrics."""
        self.test_scores.update(self._run(batch), batch)

    def on_test_epoch_end(self) -> None:
        """Publish the test metrics."""
        self._publish("test", self.test_scores)

    def configure_optimizers(self) -> Any:
        """Optimizer, and a schedule that moves every step."""
        optimizer = make_optimizer(self.groups, self.optim)
        schedule = LambdaLR(optimizer, lr_factor(self.optim, self.max_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _run(self, batch: Batch) -> Tensor:
        output: Tensor = (self._compiled or self.net)(batch)
        return output

    def _micro_batches(self, batch: Batch) -> list[Batch]:
        if self.accumulate == 1:
            return [batch]
        size = len(batch.y) // self.accumulate
        return [batch.select(slice(size * index, size * (index + 1))) for index in range(self.accumulate)]

    def _weights(self, parts: list[Batch]) -> Tensor | list[None]:
        """Of the mean loss of each part in the mean loss of the whole batch, times the processes; None stands for 1."""
        ranks = self.trainer.world_size
        masks = [part.y_mask for part in parts if part.y_mask is not None]
        if len(parts) * (ranks if masks else 1) == 1:
            return [None]
        if masks:
            counts = torch.stack([mask.sum() for mask in masks])
            total = self.trainer.strategy.reduce(counts.sum(), reduce_op="sum")
        else:
            counts, total = torch.ones(len(parts), device=self.device), ranks * len(parts)
        return ranks * counts.to(self.dtype) / total

    def _loss(self, part: Batch, weight: Tensor | None) -> Tensor:
        loss = self.objective.loss(self._run(part), part)
        return loss if weight is None else torch.where(weight > 0, loss, 0) * weight

    def _backward(self, part: Batch, weight: Tensor | None) -> Tensor:
        """Add the gradients of a part to those there are."""
        loss = self._loss(part, weight)
        with torch.autocast(loss.device.type, enabled=False):
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _publish(self, name: str, scores: Scores) -> None:
        count, size = scores.count(), self.eval_sizes[name]
        if count != size:
            raise RuntimeError(f"{name}: {count} examples were evaluated, there are {size}")
        self.log_dict({f"{name}/{metric}": value for metric, value in scores.compute().items()}, logger=False)
        scores.reset()
