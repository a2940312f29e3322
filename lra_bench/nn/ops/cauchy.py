"""Sums of simple poles on the unit circle, as real products of tables that are made a block at a time.

A block is of channels and angles, and small enough to stay in the cache. The backward pass makes it again.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lra_bench.nn.ops.eager import apply_eagerly
from lra_bench.nn.ops.stacking import as_channels, unfolded

BLOCK_ELEMENTS = {"cpu": 2**18, "cuda": 2**24}
"""Poles times angles in a table, by kind of device."""


def conjugate_poles(weights: Tensor, poles: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """sum_n v_n / (i sin - mu_n cos) + conj(v_n) / (i sin - conj(mu_n) cos), at each angle.

    Each pair is one fraction with real coefficients,

        2 (i sin Re v - cos Re(v conj(mu))) / (cos^2 |mu|^2 - sin^2 - 2 i sin cos Re mu)

    so that the sums are real products, with (H, M, F) tables of which one block is held at a time.

    Args:
        weights: (H, J, M) complex, v; J sums over the same poles.
        poles: (H, M) complex, mu, with negative real parts.
        cos: (F,) real, not negative; a constant.
        sin: (F,) real, not negative; a constant.

    Returns:
        (H, J, F) complex.
    """
    rows = torch.cat([weights.real, (weights * poles.conj()[:, None]).real], dim=1)
    square = poles.real.square() + poles.imag.square()
    sums: Tensor = apply_eagerly(_Fractions, rows, square, 2 * poles.real, cos, sin)
    return sums


class _Fractions(torch.autograd.Function):
    """2 (i sin p - cos q) / (cos^2 square - sin^2 - i sin cos twice), summed over poles.

    Rows are those of p, then those of q. Its backward pass is of operations that `vmap` and autograd know.
    """

    @staticmethod
    def forward(rows: Tensor, square: Tensor, twice: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(H, 2J, M), (H, M), (H, M), (F,), (F,) -> (H, J, F) complex."""
        J = rows.shape[1] // 2
        sums = torch.empty(len(rows), J, len(cos), dtype=rows.dtype.to_complex(), device=rows.device)
        for h, f in _blocks(square, cos):
            c, s = 2 * cos[f], 2 * sin[f]
            real, imag = (rows[h] @ table for table in _tables(square[h], twice[h], cos[f], sin[f]))
            sums[h, :, f] = torch.complex(-s * imag[:, :J] - c * real[:, J:], s * real[:, :J] - c * imag[:, J:])
        return sums

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, dsums: Tensor) -> tuple[Tensor | None, ...]:
        rows, square, twice, cos, sin = ctx.saved_tensors
        total: dict[int, tuple[Tensor, ...]] = {}
        for h, f in _blocks(square, cos):
            gradients = _block_gradients(rows[h], square[h], twice[h], cos[f], sin[f], dsums[h, :, f])
            before = total.get(h.start)
            total[h.start] = gradients if before is None else tuple(map(torch.add, before, gradients))
        drows, dsquare, dtwice = (torch.cat(parts) for parts in zip(*total.values(), strict=True))
        return drows, dsquare, dtwice, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        folded = as_channels(inputs[:3], in_dims[:3], info.batch_size, (0, 0, 0))
        return unfolded(apply_eagerly(_Fractions, *folded, *inputs[3:]), info.batch_size, 0), 0


def _tables(square: Tensor, twice: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of 1 / (a - i b), (H, M, F), with a = cos^2 square - sin^2 and b = sin cos twice."""
    a = square[..., None] * (cos * cos) - sin * sin
    b = twice[..., None] * (sin * cos)
    scale = torch.addcmul(a * a, b, b).reciprocal()
    return a * scale, b * scale


def _block_gradients(
    rows: Tensor, square: Tensor, twice: Tensor, cos: Tensor, sin: Tensor, dsums: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of rows, square and twice. With z = 1 / (a - i b) it is dz/da = -z^2 and dz/db = i z^2."""
    A, B = _tables(square, twice, cos, sin)
    s, c = 2 * sin * dsums, -2 * cos * dsums
    dreal, dimag = torch.cat([s.imag, c.real], dim=1), torch.cat([-s.real, c.imag], dim=1)
    drows = dreal @ A.mT + dimag @ B.mT
    dA, dB = rows.mT @ dreal, rows.mT @ dimag
    along, across = torch.addcmul(A * dA, B, dB), torch.addcmul(B * dA, A, dB, value=-1)
    da = torch.addcmul(B * across, A, along, value=-1)
    db = torch.addcmul(A * across, B, along)
    return drows, da @ (cos * cos), -(db @ (sin * cos))


def _blocks(square: Tensor, cos: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of channels and of angles, as many angles as go."""
    (H, M), F = square.shape, len(cos)
    elements = BLOCK_ELEMENTS.get(square.device.type, BLOCK_ELEMENTS["cpu"])
    height = max(1, elements // (M * F))
    width = max(1, elements // (M * height))
    for h in range(0, H, height):
        for f in range(0, F, width):
            yield slice(h, h + height), slice(f, f + width)
