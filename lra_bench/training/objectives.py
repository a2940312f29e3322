"""What is minimised and what is measured. Both follow from the output kind alone."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanSquaredError, Metric, MetricCollection, RelativeSquaredError, SumMetric
from torchmetrics.classification import MulticlassAccuracy

from lra_bench.core.batch import Batch
from lra_bench.core.specs import OutputKind, TaskSpec

LEFT_OUT = -100
"""Label of steps that do not count."""


class Objective(ABC):
    """Loss and metrics of an output kind.

    Args:
        groups: of the task's examples.
    """

    def __init__(self, groups: tuple[str, ...] = ()) -> None:
        self.groups = groups

    @abstractmethod
    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Scalar mean over the batch."""

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Fresh metrics, reduced over targets by count."""

    @abstractmethod
    def pairs(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions and targets as the metrics take them."""

    def scores(self) -> "Scores":
        """Fresh metrics of one evaluation, over all examples and by group."""
        return Scores(self)


class Classification(Objective):
    """Cross-entropy and accuracy, one label for each example."""

    def __init__(self, n_classes: int, groups: tuple[str, ...] = ()) -> None:
        super().__init__(groups)
        self.n_classes = n_classes

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of the logits, in float32 or better."""
        logits, labels = self.pairs(output, batch)
        return F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels)

    def metrics(self) -> MetricCollection:
        """Accuracy over all labels, in [0, 1]."""
        accuracy: Metric = MulticlassAccuracy(self.n_classes, average="micro")
        return MetricCollection({"accuracy": accuracy})

    def pairs(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, n_classes) and labels (B,)."""
        return output, batch.y


class StepClassification(Classification):
    """Cross-entropy and accuracy over the steps that count."""

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy over the steps that count; a GPU is not waited for to find them."""
        if batch.y_mask is None or output.device.type == "cpu":
            return super().loss(output, batch)
        return masked_cross_entropy(output, batch.y, batch.y_mask)

    def pairs(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (N, n_classes) and labels (N,) of the N steps that count."""
        return counted(output, batch.y_mask), counted(batch.y, batch.y_mask)


class SequenceRegression(Objective):
    """Mean squared error, plain and divided by the variance of the targets."""

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Mean squared error over the steps that count and all channels; a GPU is not waited for to find them."""
        if batch.y_mask is not None and output.device.type != "cpu":
            return masked_mse(output, batch.y, batch.y_mask)
        prediction, target = self.pairs(output, batch)
        return F.mse_loss(prediction, target)

    def metrics(self) -> MetricCollection:
        """`mse`, and `nmse` = mse / variance of all targets pooled."""
        return MetricCollection({"mse": MeanSquaredError(), "nmse": RelativeSquaredError()}, compute_groups=False)

    def pairs(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions and targets at the steps that count, flattened, at least float32."""
        prediction = counted(output.to(batch.y.dtype), batch.y_mask)
        return prediction.reshape(-1), counted(batch.y, batch.y_mask).reshape(-1)


class Scores(nn.Module):
    """The metrics of one evaluation: over all examples, and over those of each group alone.

    A group of which nothing was seen is left out.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective
        self.overall = objective.metrics()
        self.examples = SumMetric()
        self.by_group: Any = nn.ModuleList(objective.metrics() for _ in objective.groups)
        self.seen: Any = nn.ModuleList(SumMetric() for _ in objective.groups)

    def update(self, output: Tensor, batch: Batch) -> None:
        """Count in the outputs of one batch."""
        self.examples.update(len(batch.y))
        self.overall.update(*self.objective.pairs(output, batch))
        for index, (metrics, seen) in enumerate(zip(self.by_group, self.seen, strict=True)):
            assert batch.group is not None, "a task with groups must say which one each example is in"
            members = batch.group == index
            prediction, target = self.objective.pairs(output[members], batch.select(members))
            seen.update(len(target))
            if len(target):
                metrics.update(prediction, target)

    def compute(self) -> dict[str, Tensor]:
        """Values by "<metric>" and "<metric>/<group>"."""
        values = dict(self.overall.compute())
        for group, metrics, seen in zip(self.objective.groups, self.by_group, self.seen, strict=True):
            if seen.compute() > 0:
                values |= {f"{name}/{group}": value for name, value in metrics.compute().items()}
        return {name: torch.as_tensor(value) for name, value in values.items()}

    def count(self) -> int:
        """Examples seen, by all processes together."""
        return int(self.examples.compute())

    def reset(self) -> None:
        """Forget everything."""
        for metrics in (self.overall, self.examples, *self.by_group, *self.seen):
            metrics.reset()


def counted(values: Tensor, y_mask: Tensor | None) -> Tensor:
    """(B, L, ...) -> (N, ...): the values at the steps where a target counts."""
    return values.flatten(0, 1) if y_mask is None else values[y_mask]


def masked_cross_entropy(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Mean over the steps that count, in float32 or better, by a label that is left out instead of a selection.

    Args:
        logits: (B, L, n_classes).
        labels: (B, L) int64.
        mask: (B, L) bool.
    """
    precise = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.cross_entropy(precise.flatten(0, 1), labels.masked_fill(~mask, LEFT_OUT).flatten(), ignore_index=LEFT_OUT)


def masked_mse(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean over the steps that count and all channels, by zeros instead of a selection.

    Args:
        output: (B, L, C).
        target: (B, L, C).
        mask: (B, L) bool.
    """
    error = torch.where(mask.unsqueeze(-1), output.to(target.dtype) - target, 0)
    return error.square().sum() / (mask.sum() * target.shape[-1])


def make_objective(spec: TaskSpec) -> Objective:
    """The objective of a task."""
    if spec.output is OutputKind.REGRESS_SEQUENCE:
        return SequenceRegression(spec.groups)
    if spec.output is OutputKind.CLASSIFY_STEPS:
        return StepClassification(spec.output_size, spec.groups)
    return Classification(spec.output_size, spec.groups)
