"""Kernels for CUDA devices that stand in for steps of the operations, once they have proved themselves there.

A kernel does one step without autograd, in float32; what it computes is written out in `definitions.py`. It is used on
a device if, there and then, its numbers are those of its definition. Triton, in which they are written, is imported for
a CUDA device only.
"""

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch

FILES = {
    "scan": "scan",
    "recurrence": "recurrence",
    "spectral_product": "spectral_product",
    "spectral_product_weights": "spectral_product",
}
"""Where each kernel is."""

TOLERANCE = 1e-5
"""Of a kernel against its definition in float64, relative to the largest number: TF32 would not pass."""

MAX_TAPS = 2**15
"""Numbers in the taps of the recurrence, sizes rounded up to powers of two, that its kernel holds in registers."""


@lru_cache(maxsize=64)
def find(name: str, device: torch.device) -> Callable[..., Any] | None:
    """The kernel for a step of an operation on a device; None, with a warning in the log, where it does not do.

    Args:
        name: one of `FILES`.
        device: where it would run; None for any that is not CUDA.

    Returns:
        scan: (decay (N,) complex64, x (B, L, N) complex64, reverse) -> (B, L, N).
        recurrence: (taps (k, D, D), x (B, L, D), reverse) -> (B, L, D), where `recurrence_fits(k, D)`.
        spectral_product: (U (F, B, D) complex64, spectrum (F, 2, J), weights (J, D, D_out)) -> (F, B, D_out).
        spectral_product_weights: (U (F, B, D), G (F, B, D_out) complex64, spectrum (F, 2, J)) -> (J, D, D_out).
    """
    if device.type != "cuda":
        return None
    from lra_bench.nn.ops.kernels.definitions import DEFINITIONS
    from lra_bench.nn.ops.kernels.proof import prove

    def load() -> Callable[..., Any]:
        kernel: Callable[..., Any] = getattr(import_module(f"{__name__}.{FILES[name]}"), name)
        return kernel

    definition, cases = DEFINITIONS[name]
    return prove(name, load, definition, cases(device), TOLERANCE)


def recurrence_fits(k: int, D: int) -> bool:
    """Whether the kernel "recurrence" can hold taps of (k, D, D); up to D = 128 for k = 2."""
    return _power_of_two(k * D) * _power_of_two(D) <= MAX_TAPS


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
