"""What is minimised and what is measured. Both follow from the output kind alone."""

from abc import ABC, abstractmethod

from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanSquaredError, Metric, MetricCollection, RelativeSquaredError
from torchmetrics.classification import MulticlassAccuracy

from lra_bench.core.batch import Batch
from lra_bench.core.specs import OutputKind, TaskSpec


class Objective(ABC):
    """Loss and metrics of an output kind."""

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Scalar mean over the batch."""

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Fresh metrics, reduced over examples by count."""

    @abstractmethod
    def pairs(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions and targets as the metrics take them."""


class Classification(Objective):
    """Cross-entropy and accuracy."""

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of logits (B, n_classes) in float32."""
        return F.cross_entropy(output.float(), batch.y)

    def metrics(self) -> MetricCollection:
        """Accuracy over all examples, in [0, 1]."""
        accuracy: Metric = MulticlassAccuracy(self.n_classes, average="micro")
        return MetricCollection({"accuracy": accuracy})

    def pairs(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits and labels."""
        return output, batch.y


class SequenceRegression(Objective):
    """Mean squared error, plain and divided by the variance of the targets."""

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Mean squared error over the steps that count and all channels."""
        prediction, target = self.pairs(output, batch)
        return F.mse_loss(prediction, target)

    def metrics(self) -> MetricCollection:
        """`mse`, and `nmse` = mse / variance of all targets pooled."""
        return MetricCollection({"mse": MeanSquaredError(), "nmse": RelativeSquaredError()}, compute_groups=False)

    def pairs(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions and targets at the steps that count, flattened, at least float32."""
        target = batch.y
        output = output.to(target.dtype)
        if batch.y_mask is not None:
            output, target = output[batch.y_mask], target[batch.y_mask]
        return output.reshape(-1), target.reshape(-1)


def make_objective(spec: TaskSpec) -> Objective:
    """The objective of a task."""
    if spec.output is OutputKind.REGRESS_SEQUENCE:
        return SequenceRegression()
    return Classification(spec.output_size)
