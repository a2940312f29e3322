"""Sums of simple poles on the unit circle, in chunks of frequencies."""

from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = {"cpu": 2**18, "cuda": 2**24}
"""Poles times frequencies that are held at once, by kind of device; more are computed in chunks."""


def conjugate_poles(weights: Tensor, poles: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """sum_n v_n / (i sin - mu_n cos) + conj(v_n) / (i sin - conj(mu_n) cos), at each angle.

    Each pair is one fraction with real coefficients,

        2 (i sin Re v - cos Re(v conj(mu))) / (cos^2 |mu|^2 - sin^2 - 2 i sin cos Re mu)

    so that the sums are real products. Angles are taken in chunks where there are many, and their fractions computed
    again in the backward pass (by `torch.utils.checkpoint`, which `torch.func` refuses).

    Args:
        weights: (H, J, M) complex, v; J sums over the same poles.
        poles: (H, M) complex, mu, with negative real parts.
        cos: (F,) real, not negative.
        sin: (F,) real, not negative.

    Returns:
        (H, J, F) complex.
    """
    rows = torch.cat([weights.real, (weights * poles.conj()[:, None]).real], dim=1)
    chunk = max(1, CHUNK_ELEMENTS.get(weights.device.type, 2**18) // poles.numel())
    if chunk >= len(cos):
        return _sums(rows, poles.abs(), poles.real, cos, sin)
    recomputed = partial(checkpoint, _sums, use_reentrant=False, preserve_rng_state=False)
    parts = zip(torch.split(cos, chunk), torch.split(sin, chunk), strict=True)
    return torch.cat([recomputed(rows, poles.abs(), poles.real, c, s) for c, s in parts], dim=-1)


def _sums(rows: Tensor, modulus: Tensor, real: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(H, 2J, M), (H, M), (H, M), (F,), (F,) -> (H, J, F) complex."""
    radius = modulus[..., None] * cos
    a = (radius - sin) * (radius + sin)
    b = real[..., None] * (2 * sin * cos)
    scale = 1 / (a * a + b * b)
    sine_real, cosine_real = (rows @ (a * scale)).chunk(2, dim=1)
    sine_imag, cosine_imag = (rows @ (b * scale)).chunk(2, dim=1)
    return 2 * torch.complex(-sin * sine_imag - cos * cosine_real, sin * sine_real - cos * cosine_imag)
