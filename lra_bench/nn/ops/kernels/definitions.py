"""What each kernel computes, written out in float64, and the sizes at which it has to prove that.

Sizes are such that every kernel meets blocks that are not full, more than one block of each kind, and both directions.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Cases = Callable[[torch.device], Iterator[tuple[Any, ...]]]


def scan(decay: Tensor, x: Tensor, reverse: bool) -> Tensor:
    """h_t = decay * h_{t-1} + x_t; with `reverse` from the end."""
    decay, x = decay.to(torch.complex128), x.to(torch.complex128)
    states = [torch.zeros_like(x[:, 0])]
    for x_t in x.flip(1).unbind(1) if reverse else x.unbind(1):
        states.append(decay * states[-1] + x_t)
    h = torch.stack(states[1:], dim=1)
    return h.flip(1) if reverse else h


def recurrence(taps: Tensor, x: Tensor, reverse: bool) -> Tensor:
    """y_t = sum_j y_{t-j} taps[j-1] + x_t; with `reverse` from the end."""
    taps, x = taps.double(), x.double()
    outputs = [torch.zeros_like(x[:, 0])] * len(taps)
    for x_t in x.flip(1).unbind(1) if reverse else x.unbind(1):
        outputs.append(sum((outputs[-j] @ matrix for j, matrix in enumerate(taps, start=1)), start=x_t))
    y = torch.stack(outputs[len(taps) :], dim=1)
    return y.flip(1) if reverse else y


def spectral_product(U: Tensor, spectrum: Tensor, weights: Tensor) -> Tensor:
    """U H(w), H(w) = sum_j bank_j(w) weights[j]."""
    H: Tensor = torch.tensordot(_bank(spectrum), weights.to(torch.complex128), 1)
    return U.to(torch.complex128) @ H


def spectral_product_weights(U: Tensor, G: Tensor, spectrum: Tensor) -> Tensor:
    """sum_f Re(conj(bank_j(f)) sum_b conj(U[f, b, d]) G[f, b, o])."""
    outer = U.to(torch.complex128).mH @ G.to(torch.complex128)
    sums: Tensor = torch.tensordot(_bank(spectrum).mH, outer, 1)
    return sums.real


def _bank(spectrum: Tensor) -> Tensor:
    """(F, J) complex128."""
    real, imag = spectrum.double().unbind(1)
    return torch.complex(real, imag)


def _scans(device: torch.device) -> Iterator[tuple[Any, ...]]:
    normal = _source(device)
    for B, L, N in ((1, 1, 1), (2, 70, 67), (1, 301, 5)):
        decay = torch.polar(normal(N).sigmoid(), 3 * normal(N))
        for reverse in (False, True):
            yield decay, torch.complex(normal(B, L, N), normal(B, L, N)), reverse


def _recurrences(device: torch.device) -> Iterator[tuple[Any, ...]]:
    normal = _source(device)
    for k, B, L, D in ((1, 1, 1, 1), (3, 2, 150, 5), (2, 1, 40, 128)):
        for reverse in (False, True):
            yield normal(k, D, D) / (2 * k * D**0.5), normal(B, L, D), reverse


def _products(device: torch.device) -> Iterator[tuple[Any, ...]]:
    normal = _source(device)
    for F, B, D, D_out, J in ((1, 1, 1, 1, 1), (37, 17, 20, 35, 27)):
        yield torch.complex(normal(F, B, D), normal(F, B, D)), normal(F, 2, J), normal(J, D, D_out)


def _products_weights(device: torch.device) -> Iterator[tuple[Any, ...]]:
    normal = _source(device)
    for F, B, D, D_out, J in ((1, 1, 1, 1, 1), (131, 9, 20, 35, 27), (37, 2, 3, 5, 51)):
        U, G = (torch.complex(normal(F, B, size), normal(F, B, size)) for size in (D, D_out))
        yield U, G, normal(F, 2, J)


def _source(device: torch.device) -> Callable[..., Tensor]:
    """Normal float32 numbers, always the same."""
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(shape, generator=generator).to(device)


DEFINITIONS: dict[str, tuple[Callable[..., Tensor], Cases]] = {
    "scan": (scan, _scans),
    "recurrence": (recurrence, _recurrences),
    "spectral_product": (spectral_product, _products),
    "spectral_product_weights": (spectral_product_weights, _products_weights),
}
"""By name of the kernel."""
