"""Losses and metrics of several networks at once, by the formulas of `training.objectives` and torchmetrics.

What counts is selected by masks and weights, not by index, so that all networks' numbers come from the same few sums.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from lra_bench.core.batch import Batch
from lra_bench.core.specs import OutputKind, TaskSpec


def losses(spec: TaskSpec, outputs: Tensor, batch: Batch, of_each: bool) -> Tensor:
    """Mean loss of each of M networks over a batch: (M, ...) outputs -> (M,).

    Args:
        spec: says what kind of outputs they are.
        outputs: of the networks.
        batch: that all have read, or with a leading dimension M.
        of_each: whether it has that dimension.
    """
    M, B = outputs.shape[:2]
    if spec.output is OutputKind.REGRESS_SEQUENCE:
        terms = (outputs.to(batch.y.dtype) - batch.y).square().flatten(2)
    else:
        logits = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        labels = batch.y if of_each else batch.y.expand(M, *batch.y.shape)
        terms = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none").view(M, B, -1)
    if batch.y_mask is None:
        return terms.flatten(1).mean(1)
    counts = _weights(batch.y_mask, terms.shape[-1])
    return torch.where(counts, terms, 0).flatten(1).sum(1) / counts.expand_as(terms).flatten(1).sum(1)


class StackedScores:
    """The metrics of one evaluation of M networks on the same examples, over all of them and by group.

    Args:
        spec: of the task.
    """

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self.examples = 0
        self._sums: dict[str, dict[str, Tensor]] = {}

    def update(self, outputs: Tensor, batch: Batch) -> None:
        """Count in the outputs (M, B, ...) for one batch."""
        self.examples += len(batch.y)
        terms = _terms(self.spec, outputs, batch)
        self._add("", terms, None)
        for index, group in enumerate(self.spec.groups):
            assert batch.group is not None, "a task with groups must say which one each example is in"
            self._add(f"/{group}", terms, batch.group == index)

    def compute(self) -> dict[str, Tensor]:
        """Values (M,) by "<metric>" and "<metric>/<group>"; a group of which nothing was seen is left out."""
        values: dict[str, Tensor] = {}
        for group, sums in self._sums.items():
            if not group or sums["count"] > 0:
                values |= {f"{name}{group}": value for name, value in _metrics(sums).items()}
        return values

    def _add(self, group: str, terms: Mapping[str, Tensor], examples: Tensor | None) -> None:
        sums = self._sums.setdefault(group, {})
        for name, value in terms.items():
            chosen = value if examples is None else torch.where(examples, value, 0)
            sums[name] = sums.get(name, 0) + chosen.sum(-1)


def _terms(spec: TaskSpec, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Sums over the targets of each example that count: (M, B), or (B,) where they are the same for all networks."""
    y = batch.y.flatten(1) if batch.y.ndim > 1 else batch.y[:, None]
    mask = None if batch.y_mask is None else _weights(batch.y_mask, y.shape[1])

    def total(values: Tensor) -> Tensor:
        return (values if mask is None else torch.where(mask, values, 0)).sum(-1)

    count = total(torch.ones_like(y, dtype=torch.int64))
    if spec.output is not OutputKind.REGRESS_SEQUENCE:
        right = (outputs.argmax(-1) == batch.y).reshape(*outputs.shape[:2], -1)
        return {"right": total(right.long()), "count": count}
    error = outputs.to(y.dtype).flatten(2) - y
    return {"error": total(error.square()), "y": total(y), "y_squared": total(y.square()), "count": count}


def _metrics(sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
    count = sums["count"]
    if "right" in sums:
        return {"accuracy": sums["right"].float() / count.float()}
    variation = sums["y_squared"] - sums["y"] * sums["y"] / count
    error = sums["error"]
    return {"mse": error / count, "nmse": error / variation.clamp(min=torch.finfo(error.dtype).eps)}


def _weights(mask: Tensor, targets: int) -> Tensor:
    """(..., L) mask of steps -> (..., targets) mask of the targets, whose channels lie next to each other."""
    return mask.repeat_interleave(targets // mask.shape[-1], dim=-1)
