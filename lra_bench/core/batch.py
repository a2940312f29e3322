"""One batch for every task."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """What a task hands to the training loop.

    Attributes:
        x: (B, L) int64 tokens or (B, L, C) float32.
        y: (B,) int64 class labels or (B, L, C_out) float32 targets.
        mask: (B, L) bool, True where real; None where nothing is padded. Padding is on the right.
        y_mask: (B, L) bool, True where a target counts; None where all do.
        x2: second document of a pair, shaped as `x`.
        mask2: its mask.
    """

    x: Tensor
    y: Tensor
    mask: Tensor | None = None
    y_mask: Tensor | None = None
    x2: Tensor | None = None
    mask2: Tensor | None = None
