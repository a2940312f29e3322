"""Losses of steps, looked at when they are needed and not before."""

import torch
from torch import Tensor

from lra_bench.training.ranks import Peers


class RecentLosses:
    """The losses of the steps that nobody has looked at yet.

    Until then they stay on the device, so that nobody waits for it. What a process adds is such that the mean over the
    processes is the loss of the whole batch.

    Args:
        peers: the processes, all of which must look at the same steps.
    """

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._steps: list[int] = []
        self._losses: list[Tensor] = []

    def add(self, step: int, loss: Tensor) -> None:
        """Keep the loss of a step."""
        self._steps.append(step)
        self._losses.append(loss.detach())

    def take(self) -> list[tuple[int, float]]:
        """Each step that was added since the last call, with the loss of its whole batch."""
        steps, losses = self._steps, self._losses
        self._steps, self._losses = [], []
        values: list[float] = torch.stack(losses).tolist() if losses else []
        return list(zip(steps, self._peers.means(values), strict=True))
