"""Convolution with a bank of fixed filters, each with a matrix of its own, by FFT."""

from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lra_bench.nn.ops.fft_conv import fft_length

CHUNK_ELEMENTS = {"cpu": 2**20, "cuda": 2**24}
"""Complex numbers of a frequency response that are held at once, by kind of device; more are computed in chunks."""


def bank_spectrum(bank: Tensor) -> Tensor:
    """Transform of a filter bank, long enough for a linear convolution.

    Args:
        bank: (L, J) real filters.

    Returns:
        (F, 2, J) real: real and imaginary part at each of F frequencies.
    """
    return torch.view_as_real(torch.fft.rfft(bank, n=fft_length(len(bank)), dim=0)).transpose(1, 2).contiguous()


def bank_conv(u: Tensor, spectrum: Tensor, weights: Tensor) -> Tensor:
    """A bank of fixed filters, each with its own matrix.

        y[b, t] = sum_j sum_{s <= t} bank[s, j] u[b, t - s] weights[j]

    One transform of u, one product with H(w) = sum_j bank_j(w) weights[j] at each frequency, one transform back:
    filtered copies of the input, (B, L, J, D), are never made. Where H would be large, frequencies are taken in
    chunks and H is computed again in the backward pass (by `torch.utils.checkpoint`, which `torch.func` refuses).

    Args:
        u: (B, L, D) real.
        spectrum: `bank_spectrum` of filters of length L.
        weights: (J, D, D_out) real, of the same dtype.

    Returns:
        (B, L, D_out).
    """
    L = u.shape[1]
    n = fft_length(L)
    U = torch.fft.rfft(u, n=n, dim=1).transpose(0, 1)
    chunk = max(1, CHUNK_ELEMENTS.get(u.device.type, 2**20) // weights[0].numel())
    if chunk >= len(U):
        Y = _response(U, spectrum, weights)
    else:
        parts = zip(torch.split(U, chunk), torch.split(spectrum, chunk), strict=True)
        recomputed = partial(checkpoint, _response, use_reentrant=False, preserve_rng_state=False)
        Y = torch.cat([recomputed(U_part, bank_part, weights) for U_part, bank_part in parts])
    y: Tensor = torch.fft.irfft(Y.transpose(0, 1), n=n, dim=1)
    return y[:, :L]


def _response(U: Tensor, spectrum: Tensor, weights: Tensor) -> Tensor:
    """U H(w) by real products: (F, B, D) complex, (F, 2, J) and (J, D, D_out) real -> (F, B, D_out) complex."""
    B = U.shape[1]
    H = torch.tensordot(spectrum, weights, dims=1)
    by_real, by_imag = (torch.cat([U.real, U.imag], dim=1)[:, None] @ H).unbind(1)
    return torch.complex(by_real[:, :B] - by_imag[:, B:], by_real[:, B:] + by_imag[:, :B])
