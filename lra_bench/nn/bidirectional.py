"""Both directions of time, for any mixer."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.specs import MixerContext


class Bidirectional(nn.Module):
    """The sum of a mixer over the sequence and a mixer over the reversed sequence, turned round again.

    Each real prefix is reversed within itself, so right padding stays on the right and changes nothing. Both
    directions see the current step.

    Args:
        make_mixer: builds a mixer.
        ctx: its place.
        directions: tied, one mixer runs both ways; separate, each way has its own.
    """

    def __init__(
        self,
        make_mixer: Callable[[MixerContext], SequenceMixer],
        ctx: MixerContext,
        directions: Literal["tied", "separate"],
    ) -> None:
        super().__init__()
        self.ctx = ctx
        self.ahead = make_mixer(ctx)
        self.back = self.ahead if directions == "tied" else make_mixer(ctx)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, d_model), (B, L) bool or None -> (B, L, d_out)."""
        ahead: Tensor = self.ahead(x, mask)
        back: Tensor = self.back(reverse(x, mask), mask)
        return ahead + reverse(back, mask)


def reverse(x: Tensor, mask: Tensor | None) -> Tensor:
    """Reverse the real prefix of each sequence of (B, L, D); padding stays where it is. Its own inverse."""
    if mask is None:
        return x.flip(1)
    steps = torch.arange(x.shape[1], device=x.device)
    mirrored = mask.sum(dim=1, keepdim=True) - 1 - steps
    index = torch.where(mask, mirrored, steps)
    return x.gather(1, index.unsqueeze(-1).expand_as(x))
