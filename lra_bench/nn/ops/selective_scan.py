"""The selective scan: a diagonal recurrence whose time step, input map and read-out depend on the input.

States, N numbers a channel and step, are never held for the whole sequence: where they would be many, it is taken in
segments of time. Forwards, each segment's first state is kept; the backward pass goes through the segments from the
last, makes the states of one again, and runs the recurrence of the gradients in their place.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from lra_bench.nn.ops.eager import apply_eagerly
from lra_bench.nn.ops.stacking import as_channels, unfolded

CHUNK = 32
"""Steps that are taken one after another; all chunks of a segment take them at once."""

SEGMENT_ELEMENTS = {"cpu": 2**19, "cuda": 2**25}
"""Numbers in the states that are held at once, by kind of device; longer sequences go segment by segment."""


def selective_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t, y_t = h_t C_t with h_{-1} = 0, for each of D channels.

    Source: Gu and Dao, "Mamba", arXiv 2312.00752, algorithm 2.

    Args:
        x: (batch, L, D) real, float32 or float64; all the others have its dtype.
        dt: (batch, L, D), zero or more.
        A: (D, N), below zero.
        B: (batch, L, N).
        C: (batch, L, N).

    Returns:
        (batch, L, D).
    """
    y, _ = apply_eagerly(_SelectiveScan, x[None], dt[None], A[None], B[None], C[None])
    outputs: Tensor = y[0]
    return outputs


Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""Of G models: x and dt (G, batch, L, D), A (G, D, N), B and C (G, batch, L, N)."""


class _SelectiveScan(torch.autograd.Function):
    """Outputs (G, batch, L, D) of G models, and the states before each segment (G, segments, batch, D, N)."""

    @staticmethod
    def forward(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        rows, A_rows, steps = _rows(x, dt, A, B, C)
        y = torch.empty_like(rows[0], memory_format=torch.contiguous_format)
        starts, state = [], A_rows.new_zeros(len(y), *A.shape[1:])
        parts = (z.split(steps, dim=1) for z in (*rows, y))
        for x_part, dt_part, B_part, C_part, y_part in zip(*parts, strict=True):
            starts.append(state)
            _, h = _states(x_part, dt_part, A_rows, B_part, state)
            torch.matmul(h, C_part[..., None], out=y_part[..., None])
            state = h[:, -1].clone()
        kept = torch.stack(starts).unflatten(1, x.shape[:2]).transpose(0, 1)
        return y.view(x.shape), kept

    @staticmethod
    def setup_context(ctx: Any, inputs: Inputs, output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Tensor | None) -> tuple[Tensor, ...]:
        gradients: tuple[Tensor, ...] = _Gradients.apply(dy, *ctx.saved_tensors)
        return gradients

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[tuple[Tensor, ...], Any]:
        outputs = _SelectiveScan.apply(*as_channels(inputs, in_dims, info.batch_size, (0,) * 5))
        return tuple(unfolded(z, info.batch_size, 0) for z in outputs), (0, 0)


class _Gradients(torch.autograd.Function):
    """Of the five inputs."""

    @staticmethod
    def forward(
        dy: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, starts: Tensor
    ) -> tuple[Tensor, ...]:
        rows, A_rows, steps = _rows(x, dt, A, B, C)
        segment_starts = starts.transpose(0, 1).flatten(1, 2)
        outputs = [torch.empty_like(z, memory_format=torch.contiguous_format) for z in rows]
        dA, carried = torch.zeros_like(segment_starts[0]), torch.zeros_like(segment_starts[0])
        parts = (z.split(steps, dim=1) for z in (dy.flatten(0, 1), *rows, *outputs))
        for start, part in reversed(list(zip(segment_starts, zip(*parts, strict=True), strict=True))):
            dA_part, carried = _segment_gradients_(start, carried, A_rows, *part)
            dA += dA_part
        dx, ddt, dB, dC = (d.view(z.shape) for d, z in zip(outputs, (x, dt, B, C), strict=True))
        return dx, ddt, dA.unflatten(0, x.shape[:2]).sum(1), dB, dC

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[tuple[Tensor, ...], Any]:
        gradients = _Gradients.apply(*as_channels(inputs, in_dims, info.batch_size, (0,) * 7))
        return tuple(unfolded(z, info.batch_size, 0) for z in gradients), (0,) * 5


def _rows(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[list[Tensor], Tensor, int]:
    """x, dt, B and C with the batches of all models in one; A for each of these rows; steps of a segment."""
    G, batch = x.shape[:2]
    held = SEGMENT_ELEMENTS.get(x.device.type, SEGMENT_ELEMENTS["cpu"])
    rows = [z.flatten(0, 1) for z in (x, dt, B, C)]
    A_rows = A if G == 1 else A.repeat_interleave(batch, 0)
    return rows, A_rows, max(CHUNK, held // (batch * A.numel()))


def _states(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Decays exp(dt A) and states of a segment, both (R, S, D, N), from the state before it (R, D, N)."""
    decay = (dt[..., None] * A[:, None]).exp_()
    h = (dt * x)[..., None] * B[:, :, None]
    h[:, 0].addcmul_(decay[:, 0], start)
    _recur_(decay, h)
    return decay, h


def _segment_gradients_(
    start: Tensor, carried: Tensor, A: Tensor, dy: Tensor, x: Tensor, dt: Tensor, B: Tensor, C: Tensor, *out: Tensor
) -> tuple[Tensor, Tensor]:
    """Writes those of x, dt, B and C; returns those of A (R, D, N) and of the state before the segment (R, D, N)."""
    dx, ddt, dB, dC = out
    decay, h = _states(x, dt, A, B, start)
    torch.matmul(dy[:, :, None], h, out=dC[:, :, None])
    g = dy[..., None] * C[:, :, None]
    g[:, -1] += carried
    backwards = g.flip(1)
    _recur_(pad(decay[:, 1:].flip(1), (0, 0, 0, 0, 1, 0)), backwards)
    g = backwards.flip(1)
    torch.matmul((dt * x)[:, :, None], g, out=dB[:, :, None])
    by_input = (g @ B[..., None]).squeeze(-1)
    torch.mul(by_input, dt, out=dx)
    g *= decay
    carried = g[:, 0].clone()
    g[:, 0] *= start
    g[:, 1:] *= h[:, :-1]
    torch.addcmul((g * A[:, None]).sum(-1), by_input, x, out=ddt)
    return (g * dt[..., None]).sum(1), carried


def _recur_(decay: Tensor, h: Tensor) -> None:
    """h_t <- decay_t h_{t-1} + h_t in place, (R, S, D, N); as in `scan`, in chunks that run side by side."""
    S = h.shape[1]
    if S < 2 * CHUNK:
        _in_sequence_(decay.unbind(1), h.unbind(1))
        return
    whole = S - S % CHUNK
    decays, chunks = (z[:, :whole].unflatten(1, (-1, CHUNK)) for z in (decay, h))
    _in_sequence_(decays.unbind(2), chunks.unbind(2))
    products = decays.cumprod(2)
    ends = chunks[:, :, -1].clone()
    _recur_(products[:, :, -1], ends)
    chunks[:, 1:].addcmul_(products[:, 1:], ends[:, :-1, None])
    _in_sequence_(decay[:, whole - 1 :].unbind(1), h[:, whole - 1 :].unbind(1))


def _in_sequence_(decays: tuple[Tensor, ...], states: tuple[Tensor, ...]) -> None:
    """In place, one step after another."""
    for decay, (before, h_t) in zip(decays[1:], pairwise(states), strict=True):
        h_t.addcmul_(decay, before)
