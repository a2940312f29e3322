"""Causal convolutions along time by FFT. Inputs are real, float32 or float64."""

import torch
from torch import Tensor


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
