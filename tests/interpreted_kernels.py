"""Runs the CUDA kernels in Triton's interpreter, on the CPU, with small blocks: `TRITON_INTERPRET=1 python -m ...`.

Prints, as JSON, the largest difference from the definition for each kernel, and from float64 for the outputs and
gradients of each operation that has been made to use them. The interpreter has to be chosen before Triton is imported,
so this is a program of its own.
"""

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from lra_bench.nn.ops import kernels, spectral_conv
from lra_bench.nn.ops.kernels import definitions, recurrence, scan
from lra_bench.nn.ops.recurrence import autoregression
from lra_bench.nn.ops.scan import diagonal_scan

SIZES = {
    "scan": [(1, 1, 1), (2, 9, 3), (1, 50, 5), (3, 8, 4)],
    "recurrence": [(1, 1, 1, 1), (2, 2, 9, 3), (3, 1, 14, 2), (1, 2, 8, 4), (5, 1, 11, 1)],
    "spectral_product": [(1, 1, 1, 1, 1), (9, 3, 17, 33, 5), (8, 17, 16, 3, 9)],
    "spectral_product_weights": [(1, 1, 1, 1, 1), (131, 9, 20, 5, 3), (16, 2, 3, 17, 51), (5, 1, 2, 2, 65)],
}
"""Of the cases of each kernel: B, L, N; k, B, L, D; F, B, D, D_out, J."""


def small_blocks() -> None:
    """Makes few steps and channels as many blocks, chunks and segments as a GPU would have."""
    scan.TIME, scan.CHANNELS, scan.SHORTEST_SEGMENT = 2, 4, 4
    recurrence.WHOLE, recurrence.CHUNK, recurrence.ROWS = 8, 4, 2


def interpreted(name: str) -> Callable[..., Any]:
    kernel: Callable[..., Any] = getattr(import_module(f"{kernels.__name__}.{kernels.FILES[name]}"), name)
    return kernel


def difference(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    found, expected = found.detach(), expected.detach()
    return ((found - expected).abs().max() / expected.abs().max()).item()


def of_kernel(name: str) -> float:
    kernel, definition = interpreted(name), getattr(definitions, name)
    return max(
        difference(kernel(*given), definition(*given)) for sizes in SIZES[name] for given in arguments(name, *sizes)
    )


def arguments(name: str, *sizes: int) -> list[tuple[Any, ...]]:
    if name == "scan":
        B, L, N = sizes
        decay = torch.polar(torch.rand(N), 6 * torch.rand(N))
        x = torch.randn(B, L, 2 * N, dtype=torch.complex64)[..., ::2]
        return [(decay, x, False), (decay.conj(), x, True)]
    if name == "recurrence":
        k, B, L, D = sizes
        taps = (torch.randn(k, D, D) / (2 * k * D**0.5)).transpose(1, 2)
        return [(taps, torch.randn(B, L, D), reverse) for reverse in (False, True)]
    F, B, D, D_out, J = sizes
    U = torch.randn(B, F, D, dtype=torch.complex64).transpose(0, 1)
    spectrum = torch.randn(F, 2, J)
    if name == "spectral_product":
        return [(U, spectrum, torch.randn(J, D_out, D).transpose(1, 2)), (U.conj(), spectrum, torch.randn(J, D, D_out))]
    return [(U, torch.randn(F, D_out, B, dtype=torch.complex64).transpose(1, 2), spectrum)]


def operations() -> dict[str, tuple[Callable[..., Tensor], list[Tensor]]]:
    """Name of an operation, the operation, and what it is given, in float32."""
    spectrum = spectral_conv.bank_spectrum(torch.randn(10, 4))
    return {
        "diagonal_scan": (diagonal_scan, [torch.randn(3, dtype=torch.complex64) / 3, torch.randn(2, 13, 3) + 0j]),
        "autoregression": (autoregression, [torch.randn(2, 3, 3) / 4, torch.randn(2, 11, 3)]),
        "bank_conv": (
            lambda u, weights: spectral_conv.bank_conv(u, spectrum.to(u.dtype), weights),
            [torch.randn(3, 10, 3), torch.randn(4, 3, 5)],
        ),
    }


def of_operation(operation: Callable[..., Tensor], given: list[Tensor]) -> float:
    """Outputs and gradients against float64, in which no kernel is used."""
    exact = [z.to(torch.complex128 if z.is_complex() else torch.float64).requires_grad_() for z in given]
    fast, slow = operation(*(z.requires_grad_() for z in given)), operation(*exact)
    cotangent = torch.randn_like(fast)
    ours = torch.autograd.grad(fast, given, cotangent)
    theirs = torch.autograd.grad(slow, exact, cotangent.to(slow.dtype))
    return max(difference(a, b) for a, b in zip((fast, *ours), (slow, *theirs), strict=True))


def main() -> None:
    torch.manual_seed(0)
    small_blocks()
    found: dict[str, Any] = {name: of_kernel(name) for name in kernels.FILES}
    launched = []

    def find(name: str, device: torch.device) -> Callable[..., Any]:
        return lambda *given: launched.append(name) or interpreted(name)(*given)

    kernels.find, spectral_conv.has_kernels = find, lambda device: True
    for name, (operation, given) in operations().items():
        launched.clear()
        found[name] = of_operation(operation, given), sorted(set(launched))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
