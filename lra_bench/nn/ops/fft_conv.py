"""Causal convolutions along time by FFT. Inputs are real, float32 or float64.

Spectra are made for blocks of channels and sequences that fit into the cache, and made again in the backward pass, so
that memory is that of inputs and outputs. Gradients of a kernel are summed over the batch as spectra.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lra_bench.nn.ops.eager import apply_eagerly
from lra_bench.nn.ops.stacking import as_channels, unfolded

BLOCK_ELEMENTS = {"cpu": 2**19, "cuda": 2**26}
"""Real numbers that are transformed at once, by kind of device."""

BLOCK_CHANNELS = 16
"""Fewest channels of a block, so that of a cache line in (B, L, H) all is used."""


def fft_length(seq_len: int) -> int:
    """Shortest even 2^a 3^b 5^c that holds a linear convolution of two sequences of `seq_len` steps."""
    target = 2 * seq_len
    return min(_multiple_of_power_of_two(target, odd) for odd in (1, 3, 5, 9, 15, 25, 27, 45, 75, 81, 125, 135, 225))


def _multiple_of_power_of_two(target: int, odd: int) -> int:
    """Smallest odd * 2^k >= target with k >= 1."""
    return odd << max(1, (-(-target // odd) - 1).bit_length())


def channel_conv(u: Tensor, kernels: Tensor, skip: Tensor | None = None) -> Tensor:
    """One kernel for each channel: y[b, t, h] = sum_{s <= t} kernels[h, s] u[b, t - s, h] + skip[h] u[b, t, h].

    Args:
        u: (B, L, H) real.
        kernels: (H, L) real, of the same dtype.
        skip: (H,) real, of the same dtype; None for zero.

    Returns:
        (B, L, H).
    """
    y: Tensor = apply_eagerly(_Convolution, u, kernels, skip)
    return y


Inputs = tuple[Tensor, Tensor, Tensor | None]
"""Sequences, kernels, skips."""


class _Convolution(torch.autograd.Function):
    """`channel_conv`."""

    @staticmethod
    def forward(u: Tensor, kernels: Tensor, skip: Tensor | None) -> Tensor:
        L, n = u.shape[1], fft_length(u.shape[1])
        y = torch.empty_like(u, memory_format=torch.contiguous_format)
        for channels, parts in _blocks(u, n):
            response = _responses(kernels, skip, channels, n)
            for part in parts:
                y[part] = torch.fft.irfft(_spectra(u[part], n).mul_(response), n=n)[..., :L].mT
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: Inputs, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        u, kernels, skip = ctx.saved_tensors
        du, dkernels = apply_eagerly(_Correlation, dy, u, kernels, skip)
        return du, dkernels, None if skip is None else dkernels[:, 0]

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor | None) -> tuple[Tensor, int]:
        y = apply_eagerly(_Convolution, *as_channels(inputs, in_dims, info.batch_size, (2, 0, 0)))
        return unfolded(y, info.batch_size, 2), 2


class _Correlation(torch.autograd.Function):
    """Gradients of `channel_conv`, which are products of the same spectra.

    du[b, s, h] = sum_t kernels[h, t - s] dy[b, t, h] + skip[h] dy[b, s, h], and dkernels[h, s] =
    sum_{b, t} u[b, t - s, h] dy[b, t, h], of which the first entry is that of skip[h].
    """

    @staticmethod
    def forward(dy: Tensor, u: Tensor, kernels: Tensor, skip: Tensor | None) -> tuple[Tensor, Tensor]:
        L, n = u.shape[1], fft_length(u.shape[1])
        du, dkernels = torch.empty_like(u, memory_format=torch.contiguous_format), torch.empty_like(kernels)
        for channels, parts in _blocks(u, n):
            response = _responses(kernels, skip, channels, n).conj_physical_()
            product = torch.zeros_like(response)
            for part in parts:
                spectra = _spectra(dy[part], n)
                product += _spectra(u[part], n).conj_physical_().mul_(spectra).sum(0)
                du[part] = torch.fft.irfft(spectra.mul_(response), n=n)[..., :L].mT
            dkernels[channels] = torch.fft.irfft(product, n=n)[:, :L]
        return du, dkernels

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, ddu: Tensor, ddkernels: Tensor) -> tuple[Tensor | None, ...]:
        dy, u, kernels, skip = ctx.saved_tensors
        of_u, of_kernels = apply_eagerly(_Correlation, dy, ddu, ddkernels, None)
        of_dy = apply_eagerly(_Convolution, ddu, kernels, skip) + apply_eagerly(_Convolution, u, ddkernels, None)
        return of_dy, of_u, of_kernels, None if skip is None else of_kernels[:, 0]

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        du, dkernels = apply_eagerly(_Correlation, *as_channels(inputs, in_dims, info.batch_size, (2, 2, 0, 0)))
        return (unfolded(du, info.batch_size, 2), unfolded(dkernels, info.batch_size, 0)), (2, 0)


def _spectra(x: Tensor, n: int) -> Tensor:
    """(B, L, H) -> (B, H, n / 2 + 1)."""
    spectra: Tensor = torch.fft.rfft(x.mT, n=n)
    return spectra


def _responses(kernels: Tensor, skip: Tensor | None, channels: slice, n: int) -> Tensor:
    """Spectra of the kernels of some channels: a skip is the same number at every frequency."""
    spectra: Tensor = torch.fft.rfft(kernels[channels], n=n)
    return spectra if skip is None else spectra.add_(skip[channels, None])


def _blocks(u: Tensor, n: int) -> Iterator[tuple[slice, list[tuple[slice, slice, slice]]]]:
    """Slices of channels; and for each, the indices of (B, L, H) that give its sequences, a few at a time."""
    B, _, H = u.shape
    rows = BLOCK_ELEMENTS.get(u.device.type, BLOCK_ELEMENTS["cpu"]) // n
    width = max(1, BLOCK_CHANNELS, rows // B)
    height = max(1, rows // width)
    for first in range(0, H, width):
        channels = slice(first, first + width)
        yield channels, [(slice(b, b + height), slice(None), channels) for b in range(0, B, height)]
