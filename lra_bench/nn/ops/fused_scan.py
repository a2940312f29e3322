"""The selective scan by the CUDA kernel of the package mamba-ssm, where it is installed and proves itself."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from importlib import metadata
from importlib.util import find_spec

import torch
from torch import Tensor

from lra_bench.nn.ops.kernels.proof import prove
from lra_bench.nn.ops.selective_scan import selective_scan

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
TOLERANCE = 1e-3
"""Of outputs and gradients against `selective_scan`, relative to the largest, in float32."""


@lru_cache(maxsize=8)
def fused_scan(device: torch.device) -> Kernel | None:
    """The kernel, or None where the device is no GPU, the package is missing, or its numbers are not ours."""
    if device.type != "cuda" or find_spec("mamba_ssm") is None:
        return None
    return proven(_kernel, device)


def kernel_name() -> str:
    """Name and version, for the record."""
    return f"mamba-ssm {metadata.version('mamba-ssm')}"


def proven(kernel: Kernel, device: torch.device) -> Kernel | None:
    """The kernel if it gives the outputs and gradients of `selective_scan` on random input, else None."""
    found, expected = (partial(_outputs_and_gradients, scan) for scan in (kernel, selective_scan))
    agrees = prove("the selective scan", lambda: found, expected, _cases(device), TOLERANCE)
    return kernel if agrees else None


def _cases(device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 33, 8), (2, 33, 8), (8, 4), (2, 33, 4), (2, 33, 4)
    yield tuple(torch.randn(shape, generator=generator).to(device).requires_grad_() for shape in shapes)


def _outputs_and_gradients(scan: Kernel, *arguments: Tensor) -> tuple[Tensor, ...]:
    x, dt, A, B, C = arguments
    y = scan(x, dt.exp(), -A.exp(), B, C)
    return y.detach(), *torch.autograd.grad(y.square().sum(), arguments)


def _kernel(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """mamba-ssm's, imported at the first call."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    return _call(selective_scan_fn, x, dt, A, B, C)


def _call(function: Callable[..., Tensor], x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """In the package's layout, time last."""
    time_last = (part.transpose(1, 2).contiguous() for part in (x, dt))
    maps = (part.transpose(1, 2).contiguous() for part in (B, C))
    return function(*time_last, A, *maps).transpose(1, 2)
