"""Sums of exponentials along time."""

import math

import torch
from torch import Tensor


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
    T = math.isqrt(max(seq_len - 1, 1)) + 1
    rows = -(-seq_len // T)
    steps = torch.arange(max(T, rows), dtype=rates.real.dtype, device=rates.device)
    coarse = weights[:, None] * torch.exp(rates[:, None] * (T * steps[:rows, None]))
    fine = torch.exp(rates[..., None] * steps[:T])
    real = torch.cat([coarse.real, -coarse.imag], dim=-1) @ torch.cat([fine.real, fine.imag], dim=1)
    return real.flatten(1)[:, :seq_len]
