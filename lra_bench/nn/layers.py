"""Small parts of the backbone: normalisation and pooling that know about padding."""

from typing import Literal

import torch
from torch import Tensor, nn

from lra_bench.nn.batch_norm import BatchNorm


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over the real positions of (B, L, D); padded positions become zero."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.norm = BatchNorm(d_model)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D), (B, L) bool or None -> (B, L, D)."""
        if mask is None:
            normed: Tensor = self.norm(x.transpose(1, 2))
            return normed.transpose(1, 2)
        out = torch.zeros_like(x)
        out[mask] = self.norm(x[mask]).to(out.dtype)
        return out


class LayerNorm(nn.Module):
    """Layer normalisation, with the signature of the other norms."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D) -> (B, L, D); each position alone, so the mask does not matter."""
        normed: Tensor = self.norm(x)
        return normed


class NoNorm(nn.Module):
    """No normalisation."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D) as it came."""
        return x


NORMS = {"batch": MaskedBatchNorm, "layer": LayerNorm}


def make_norm(kind: Literal["batch", "layer", "none"], d_model: int) -> nn.Module:
    """A module called as norm(x, mask)."""
    return NoNorm() if kind == "none" else NORMS[kind](d_model)


def pool(x: Tensor, mask: Tensor | None, kind: Literal["mean", "last"]) -> Tensor:
    """Reduce (B, L, D) over the real steps to (B, D)."""
    if mask is None:
        return x.mean(dim=1) if kind == "mean" else x[:, -1]
    lengths = mask.sum(dim=1)
    if kind == "mean":
        return (x * mask.unsqueeze(-1)).sum(dim=1) / lengths.unsqueeze(-1)
    return x[torch.arange(len(x), device=x.device), lengths - 1]
