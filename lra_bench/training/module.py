"""The one LightningModule: any network, any objective."""

from collections.abc import Mapping
from typing import Any

from lightning import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from lra_bench.core.batch import Batch
from lra_bench.core.settings import OptimConfig
from lra_bench.nn.backbone import Backbone
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
        compile_net: run the network through torch.compile; checkpoints stay those of the plain network.
    """

    def __init__(
        self,
        net: Backbone,
        objective: Objective,
        groups: list[ParameterGroup],
        optim: OptimConfig,
        max_steps: int,
        eval_sizes: Mapping[str, int],
        compile_net: bool = False,
    ) -> None:
        super().__init__()
        self.net = net
        self.objective = objective
        self.groups = groups
        self.optim = optim
        self.max_steps = max_steps
        self.eval_sizes = eval_sizes
        self.val_scores = objective.scores()
        self.test_scores = objective.scores()
        if compile_net:
            self.net.compile()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        return self.objective.loss(self.net(batch), batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch into the validation metrics."""
        self.val_scores.update(self.net(batch), batch)

    def on_validation_epoch_end(self) -> None:
        """Publish the validation metrics."""
        self._publish("val", self.val_scores)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch into the test metrics."""
        self.test_scores.update(self.net(batch), batch)

    def on_test_epoch_end(self) -> None:
        """Publish the test metrics."""
        self._publish("test", self.test_scores)

    def configure_optimizers(self) -> Any:
        """Optimizer, and a schedule that moves every step."""
        optimizer = make_optimizer(self.groups, self.optim)
        schedule = LambdaLR(optimizer, lr_factor(self.optim, self.max_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _publish(self, name: str, scores: Scores) -> None:
        count, size = scores.count(), self.eval_sizes[name]
        if count != size:
            raise RuntimeError(f"{name}: {count} examples were evaluated, there are {size}")
        self.log_dict({f"{name}/{metric}": value for metric, value in scores.compute().items()}, logger=False)
        scores.reset()
