"""The selective scan by the CUDA kernel of the package mamba-ssm, where it is installed and proves itself."""

from collections.abc import Callable
from functools import lru_cache
from importlib import metadata

import torch
from torch import Tensor

from lra_bench.nn.ops.selective_scan import selective_scan

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
TOLERANCE = 1e-3
"""Of outputs and gradients against `selective_scan`, relative to the largest, in float32."""


@lru_cache(maxsize=8)
def fused_scan(device: torch.device) -> Kernel | None:
    """The kernel, or None where the device is no GPU, the package is missing, or its numbers are not ours."""
    if device.type != "cuda":
        return None
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError:
        return None
    return proven(lambda x, dt, A, B, C: _call(selective_scan_fn, x, dt, A, B, C), device)


def kernel_name() -> str:
    """Name and version, for the record."""
    return f"mamba-ssm {metadata.version('mamba-ssm')}"


def proven(kernel: Kernel, device: torch.device) -> Kernel | None:
    """The kernel if it gives the outputs and gradients of `selective_scan` on random input, else None."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device).requires_grad_()

    x, A, B, C = normal(2, 33, 8), normal(8, 4), normal(2, 33, 4), normal(2, 33, 4)
    dt = normal(2, 33, 8)
    arguments = x, dt, A, B, C
    try:
        found, expected = (_outputs_and_gradients(scan, arguments) for scan in (kernel, selective_scan))
    except Exception:
        return None
    agrees = all(bool((a - b).abs().max() <= TOLERANCE * b.abs().max()) for a, b in zip(found, expected, strict=True))
    return kernel if agrees else None


def _outputs_and_gradients(scan: Kernel, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    x, dt, A, B, C = arguments
    y = scan(x, dt.exp(), -A.exp(), B, C)
    return y, *torch.autograd.grad(y.square().sum(), arguments)


def _call(function: Callable[..., Tensor], x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """In the package's layout, time last."""
    time_last = (part.transpose(1, 2).contiguous() for part in (x, dt))
    maps = (part.transpose(1, 2).contiguous() for part in (B, C))
    return function(*time_last, A, *maps).transpose(1, 2)
