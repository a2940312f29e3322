"""Diagonal linear recurrences along time, a few steps on all chunks of the sequence at once.

A step is one multiply-add, in place, on a chunk's worth of states, so states are written once and corrected once. The
gradient of the input is the same scan from the end; that of the decay is one dot product along time.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lra_bench.nn.ops import kernels
from lra_bench.nn.ops.eager import apply_eagerly
from lra_bench.nn.ops.stacking import as_channels, unfolded

CHUNK = 32
"""Steps that are taken one after another; all chunks take them at once."""


def diagonal_scan(decay: Tensor, x: Tensor) -> Tensor:
    """h_t = decay * h_{t-1} + x_t with h_{-1} = 0, for each of N channels.

    Time O(L N), depth O(CHUNK log L), by powers of `decay` that are never negative, so nothing overflows. Keeps the
    states for the backward pass, and not `x`. Members of a stack under `torch.func.vmap` are further channels.

    Args:
        decay: (N,), real or complex.
        x: (B, L, N), of the same dtype.

    Returns:
        (B, L, N).
    """
    h: Tensor = apply_eagerly(_DiagonalScan, decay, x, False)
    return h


class _DiagonalScan(torch.autograd.Function):
    """`diagonal_scan`, or the same from the end."""

    @staticmethod
    def forward(decay: Tensor, x: Tensor, reverse: bool) -> Tensor:
        return scan_(decay[None], x.clone(memory_format=torch.contiguous_format), reverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        decay, _, ctx.reverse = inputs
        ctx.save_for_backward(decay, output)

    @staticmethod
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor | None, Tensor, None]:
        decay, h = ctx.saved_tensors
        g = _DiagonalScan.apply(decay.conj(), dh, not ctx.reverse)
        return decay_gradient(h, g, ctx.reverse).sum(0) if ctx.needs_input_grad[0] else None, g, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, int | None, None], decay: Tensor, x: Tensor, reverse: bool
    ) -> tuple[Tensor, int]:
        folded = as_channels((decay, x), in_dims[:2], info.batch_size, (0, 2))
        return unfolded(_DiagonalScan.apply(*folded, reverse), info.batch_size, 2), 2


def scan_(decay: Tensor, x: Tensor, reverse: bool = False) -> Tensor:
    """The recurrence without autograd, forwards or from the end. The result may have taken the place of x.

    Args:
        decay: (B, N), or (1, N) for all B alike.
        x: (B, L, N), contiguous.
        reverse: h_t = decay * h_{t+1} + x_t with h_L = 0.

    Returns:
        (B, L, N).
    """
    kernel = kernels.find("scan", x.device) if x.dtype == torch.complex64 else None
    if kernel is None:
        _in_chunks_(decay.resolve_conj(), x, reverse)
        return x
    h: Tensor
    if len(decay) == 1:
        h = kernel(decay[0], x, reverse)
        return h
    h = kernel(decay.flatten(), x.transpose(0, 1).flatten(1)[None], reverse)
    return h[0].reshape(-1, *decay.shape).transpose(0, 1)


def decay_gradient(h: Tensor, g: Tensor, reverse: bool = False) -> Tensor:
    """(B, N): of the decay, from states h (B, L, N) and the gradients g of the inputs that made them."""
    before, after = (h[:, 1:], g[:, :-1]) if reverse else (h[:, :-1], g[:, 1:])
    gradient: Tensor = torch.linalg.vecdot(before, after, dim=1)
    return gradient


def _in_chunks_(decay: Tensor, x: Tensor, reverse: bool) -> None:
    """All chunks at once from zero, then what they hand on, then its part in each chunk. In place."""
    L = x.shape[1]
    if L < 2 * CHUNK:
        _in_sequence_(decay, x.unbind(1), reverse)
        return
    whole = L - L % CHUNK
    body, rest = x[:, :whole], x[:, whole:].unbind(1)
    chunks = body.unflatten(1, (-1, CHUNK))
    if reverse and rest:
        _in_sequence_(decay, rest, reverse)
        body[:, -1].addcmul_(decay, rest[0])
    _in_sequence_(decay[:, None], chunks.unbind(2), reverse)
    powers = decay[:, None].expand(-1, CHUNK, -1).cumprod(1)
    ends = chunks[:, :, 0 if reverse else -1].clone()
    _in_chunks_(powers[:, -1], ends, reverse)
    if reverse:
        chunks[:, :-1].addcmul_(powers.flip(1)[:, None], ends[:, 1:, None])
    else:
        chunks[:, 1:].addcmul_(powers[:, None], ends[:, :-1, None])
        _in_sequence_(decay, (body[:, -1], *rest), reverse)


def _in_sequence_(decay: Tensor, steps: tuple[Tensor, ...], reverse: bool) -> None:
    """In place, one step after another."""
    for h, x_t in pairwise(reversed(steps) if reverse else steps):
        x_t.addcmul_(decay, h)
