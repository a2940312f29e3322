"""Causal convolutions along time by FFT. Inputs are real, float32 or float64."""

from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = {"cpu": 2**20, "cuda": 2**24}
"""Complex numbers of a frequency response that are held at once, by kind of device; more are computed in chunks."""


def fft_length(seq_len: int) -> int:
    """Shortest even 2^a 3^b 5^c that holds a linear convolution of two sequences of `seq_len` steps."""
    target = 2 * seq_len
    return min(_multiple_of_power_of_two(target, odd) for odd in (1, 3, 5, 9, 15, 25, 27, 45, 75, 81, 125, 135, 225))


def _multiple_of_power_of_two(target: int, odd: int) -> int:
    """Smallest odd * 2^k >= target with k >= 1."""
    return odd << max(1, (-(-target // odd) - 1).bit_length())


def channel_conv(u: Tensor, kernels: Tensor) -> Tensor:
    """One kernel for each channel: y[b, t, h] = sum_{s <= t} kernels[h, s] u[b, t - s, h].

    Args:
        u: (B, L, H) real.
        kernels: (H, L) real, of the same dtype.

    Returns:
        (B, L, H).
    """
    L = u.shape[1]
    n = fft_length(L)
    response = torch.fft.rfft(kernels, n=n) * torch.fft.rfft(u.transpose(1, 2), n=n)
    y: Tensor = torch.fft.irfft(response, n=n)
    return y[..., :L].transpose(1, 2)


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
