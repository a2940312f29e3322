"""Which precision the long-range operations run in."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or as it is where it is float64: FFTs and scans are never run in half precision."""
    return x if x.dtype == torch.float64 else x.float()
