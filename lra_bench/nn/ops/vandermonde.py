"""Sums of exponentials along time, as products of two short tables that are made again in the backward pass."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from lra_bench.nn.ops.eager import apply_eagerly
from lra_bench.nn.ops.stacking import as_channels, unfolded

BLOCK_ELEMENTS = {"cpu": 2**17, "cuda": 2**24}
"""Complex numbers in a table, by kind of device."""

LEAST_EXPONENT = -60.0
"""What has decayed further counts as 1e-26: denormal numbers take ten times as long."""


def exponential_sums(weights: Tensor, rates: Tensor, seq_len: int) -> Tensor:
    """K[h, l] = Re sum_n weights[h, n] exp(l rates[h, n]) for l = 0..L-1.

    With l = a T + b and T near sqrt(L) it is, for each channel, the (L/T, N) table of weights exp(a T rates) times the
    (N, T) table of exp(b rates): memory is O(H N sqrt(L)), and nothing is larger than the weights.

    Args:
        weights: (H, N) complex.
        rates: (H, N) complex, real parts not above 0.
        seq_len: L.

    Returns:
        (H, L) real.
    """
    kernels: Tensor = apply_eagerly(_ExponentialSums, weights, rates, seq_len)
    return kernels


class _ExponentialSums(torch.autograd.Function):
    """`exponential_sums`. Its backward pass is of operations that `vmap` and autograd know."""

    @staticmethod
    def forward(weights: Tensor, rates: Tensor, seq_len: int) -> Tensor:
        blocks = zip(*(_blocks(x, rates, seq_len) for x in (weights, rates)), strict=True)
        return torch.cat([_sums(w, r, seq_len) for w, r in blocks])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        weights, rates, ctx.seq_len = inputs
        ctx.save_for_backward(weights, rates)

    @staticmethod
    def backward(ctx: Any, dkernels: Tensor) -> tuple[Tensor, Tensor, None]:
        weights, rates = ctx.saved_tensors
        blocks = zip(*(_blocks(x, rates, ctx.seq_len) for x in (dkernels, rates)), strict=True)
        sums, moments = zip(*(_moments(x, r) for x, r in blocks), strict=True)
        return torch.cat(sums).conj(), (weights * torch.cat(moments)).conj(), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], weights: Tensor, rates: Tensor, seq_len: int) -> Any:
        inputs = as_channels((weights, rates), in_dims[:2], info.batch_size, (0, 0))
        return unfolded(apply_eagerly(_ExponentialSums, *inputs, seq_len), info.batch_size, 0), 0


def _blocks(x: Tensor, rates: Tensor, seq_len: int) -> tuple[Tensor, ...]:
    """A tensor of channels first, cut so that one table is of at most BLOCK_ELEMENTS."""
    table = rates.shape[1] * _steps(seq_len)
    return torch.split(x, max(1, BLOCK_ELEMENTS.get(x.device.type, BLOCK_ELEMENTS["cpu"]) // table))


def _steps(seq_len: int) -> int:
    """T, the least whole number of which the square is at least L."""
    return math.isqrt(seq_len - 1) + 1


def _sums(weights: Tensor, rates: Tensor, seq_len: int) -> Tensor:
    coarse, fine = _tables(rates, seq_len)
    kernels: Tensor = _pairs(weights[:, None] * coarse) @ _pairs(fine.conj()).mT
    return kernels.flatten(1)[:, :seq_len]


def _moments(x: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
    """(H, L) real, (H, N) complex -> sum_l x[h, l] exp(l rates[h, n]), and the same with l x[h, l]; (H, N) complex."""
    L, T = x.shape[1], _steps(x.shape[1])
    coarse, fine = _tables(rates, L)
    square = pad(x, (0, T * coarse.shape[1] - L)).reshape(len(x), -1, T)
    by_row = coarse * _complex(square @ _pairs(fine))
    by_step = fine * _complex(square.mT @ _pairs(coarse))
    steps = torch.arange(T, dtype=x.dtype, device=x.device)
    moments = (T * steps[: by_row.shape[1], None] * by_row).sum(1) + (steps[:, None] * by_step).sum(1)
    return by_row.sum(1), moments


def _tables(rates: Tensor, seq_len: int) -> tuple[Tensor, Tensor]:
    """exp(a T rates), (H, rows, N), and exp(b rates), (H, T, N)."""
    T = _steps(seq_len)
    steps = torch.arange(T, dtype=rates.real.dtype, device=rates.device)[:, None]
    return _powers(rates, T * steps[: -(-seq_len // T)]), _powers(rates, steps)


def _powers(rates: Tensor, steps: Tensor) -> Tensor:
    """exp(steps rates) from real functions: those of complex numbers are not vectorised on a CPU."""
    real, imag = rates.real.contiguous()[:, None], rates.imag.contiguous()[:, None]
    modulus, angle = (real * steps).clamp(min=LEAST_EXPONENT).exp(), imag * steps
    return torch.complex(modulus * angle.cos(), modulus * angle.sin())


def _pairs(z: Tensor) -> Tensor:
    """(..., N) complex -> (..., 2N): real and imaginary parts in turn."""
    return torch.view_as_real(z.resolve_conj()).flatten(-2)


def _complex(pairs: Tensor) -> Tensor:
    """The inverse."""
    return torch.view_as_complex(pairs.reshape(*pairs.shape[:-1], -1, 2))
