"""Batch normalisation over the batch of all processes that train together."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn


class BatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d`; with several processes, its statistics are those of all their positions together.

    Processes may have different numbers of positions; they must have met before the layer is made. Unlike
    `nn.SyncBatchNorm` it works on a CPU, too.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self._sum_over_processes: Callable[[Tensor], Tensor] | None = None
        if distributed.is_available() and distributed.is_initialized():
            self._sum_over_processes = torch.compiler.disable(_SumOverProcesses.apply)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) or (B, D, L), real -> same shape and dtype."""
        if self.training and self._sum_over_processes is not None:
            return self._normalised_by_all(x, self._sum_over_processes)
        return super().forward(x)

    def _normalised_by_all(self, x: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
        z = x.to(torch.promote_types(x.dtype, torch.float32)).movedim(1, -1)
        others = tuple(range(z.ndim - 1))
        count = total(z.new_tensor(z[..., 0].numel()))
        mean = total(z.sum(others)) / count
        centred = z - mean
        variance = total(centred.square().sum(others)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        normed = centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        out: Tensor = normed.movedim(-1, 1).to(x.dtype)
        return out

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as `nn.BatchNorm1d` does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked.add_(1)


class _SumOverProcesses(torch.autograd.Function):
    """The sum goes to all, so the gradient of what a process gave is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total
