"""One batch for every task."""

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """What a task hands to the training loop.

    Attributes:
        x: (B, L) int64 tokens or (B, L, C) float32.
        y: (B,) int64 class labels, (B, L) int64 class labels of steps, or (B, L, C_out) float32 targets.
        mask: (B, L) bool, True where real; None where nothing is padded. Padding is on the right.
        y_mask: (B, L) bool, True where a target counts; None where all do.
        x2: second document of a pair, shaped as `x`.
        mask2: its mask.
        group: (B,) int64, which of the `groups` of the task's spec an example is in; None where there are none.
    """

    x: Tensor
    y: Tensor
    mask: Tensor | None = None
    y_mask: Tensor | None = None
    x2: Tensor | None = None
    mask2: Tensor | None = None
    group: Tensor | None = None

    def select(self, examples: Tensor | list[int] | slice) -> "Batch":
        """Some of the examples: by a (B,) bool mask, by index, or a range of them."""
        return Batch._make(None if part is None else part[examples] for part in self)

    def in_precision(self, dtype: torch.dtype) -> "Batch":
        """With real numbers of that type."""
        return Batch._make(part.to(dtype) if part is not None and part.is_floating_point() else part for part in self)
