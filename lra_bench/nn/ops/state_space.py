"""Diagonal state space systems: an input map, a diagonal scan and a read-out as one operation, in one of two ways.

With states: a product, the scan in place, a product; the backward pass keeps the states alone. In blocks, where inputs
and outputs are few: the outputs of a block of time are a product of its inputs and the impulse response, so only the
state at each block's start is ever made (the state space dual form; Dao and Gu, "Transformers are SSMs", arXiv
2405.21060, section 6).
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from lra_bench.nn.ops.eager import apply_eagerly
from lra_bench.nn.ops.scan import decay_gradient, diagonal_scan, scan_
from lra_bench.nn.ops.stacking import as_channels, unfolded

BLOCK = 16
"""Steps of a block."""

Route = Literal["with states", "in blocks of 16"]


def route(D: int, N: int, d_out: int, L: int) -> Route:
    """Which way is faster, by sizes: a block pays where its impulse response is small beside the states it saves.

    Measured on two cores in float32, forward and backward: blocks take a fifth of the time at D = 10, N = 256, four
    tenths at D = 32, N = 256, and the same time where D d_out is 16 N.

    Args:
        D: inputs.
        N: complex states.
        d_out: outputs.
        L: steps.
    """
    return "in blocks of 16" if D * d_out <= 8 * N and L >= 2 * BLOCK else "with states"


def state_space(decay: Tensor, B: Tensor, C: Tensor, u: Tensor) -> Tensor:
    """h_t = decay * h_{t-1} + B u_t, y_t = Re(C h_t) with h_{-1} = 0.

    Args:
        decay: (N,) complex.
        B: (N, D) complex.
        C: (d_out, N) complex.
        u: (batch, L, D) real, of the same precision.

    Returns:
        (batch, L, d_out) real.
    """
    N, D = B.shape
    if route(D, N, len(C), u.shape[1]) == "in blocks of 16":
        return _in_blocks(decay, B, C, u)
    y, _ = apply_eagerly(_WithStates, decay[None], _as_columns(B)[None], _as_rows(C)[None], u[None])
    outputs: Tensor = y[0]
    return outputs


def state_space_step(decay: Tensor, B: Tensor, C: Tensor, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One step of `state_space`: u (batch, D), h_{t-1} (batch, N) complex -> y (batch, d_out), h_t (batch, N)."""
    state = decay * state + u.to(B.dtype) @ B.mT
    return (state @ C.mT).real, state


def _as_columns(B: Tensor) -> Tensor:
    """(..., N, D) complex -> (..., D, 2N) real: u @ it is B u, as pairs."""
    return torch.view_as_real(B.mT.contiguous()).flatten(-2)


def _as_rows(C: Tensor) -> Tensor:
    """(..., d_out, N) complex -> (..., 2N, d_out) real: pairs @ it is Re(C h)."""
    return torch.stack([C.real, -C.imag], dim=-1).flatten(-2).mT


Inputs = tuple[Tensor, Tensor, Tensor, Tensor]
"""Of G systems: decay (G, N), input maps (G, D, 2N), read-outs (G, 2N, d_out), inputs (G, batch, L, D)."""


class _WithStates(torch.autograd.Function):
    """Outputs (G, batch, L, d_out) and states (G, batch, L, 2N) of G systems."""

    @staticmethod
    def forward(decay: Tensor, W_in: Tensor, W_out: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        h = _scanned(decay, u.flatten(1, 2) @ W_in, u.shape)
        return (h.flatten(1, 2) @ W_out).unflatten(1, u.shape[1:3]), h

    @staticmethod
    def setup_context(ctx: Any, inputs: Inputs, output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, output[1])

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
        ddecay, dW_in, dW_out, du = _Gradients.apply(ctx.needs_input_grad[3], dy, *ctx.saved_tensors)
        return ddecay, dW_in, dW_out, du

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[tuple[Tensor, ...], Any]:
        folded = as_channels(inputs, in_dims, info.batch_size, (0, 0, 0, 0))
        outputs = _WithStates.apply(*folded)
        return tuple(unfolded(y, info.batch_size, 0) for y in outputs), (0, 0)


class _Gradients(torch.autograd.Function):
    """Of the four inputs; that of u only where it is needed."""

    @staticmethod
    def forward(
        needs_u: bool, dy: Tensor, decay: Tensor, W_in: Tensor, W_out: Tensor, u: Tensor, h: Tensor
    ) -> tuple[Tensor | None, ...]:
        flat_u, flat_dy = u.flatten(1, 2), dy.flatten(1, 2)
        g = _scanned(decay.conj(), flat_dy @ W_out.mT, u.shape, reverse=True)
        complex_h, complex_g = (torch.view_as_complex(z.flatten(0, 1).unflatten(-1, (-1, 2))) for z in (h, g))
        ddecay = decay_gradient(complex_h, complex_g).unflatten(0, u.shape[:2]).sum(1)
        flat_g = g.flatten(1, 2)
        du = (flat_g @ W_in.mT).view_as(u) if needs_u else None
        return ddecay, flat_u.mT @ flat_g, h.flatten(1, 2).mT @ flat_dy, du

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        pass

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], needs_u: bool, *inputs: Tensor
    ) -> tuple[tuple[Tensor | None, ...], Any]:
        folded = as_channels(inputs, in_dims[1:], info.batch_size, (0,) * 6)
        gradients = _Gradients.apply(needs_u, *folded)
        whole = tuple(None if z is None else unfolded(z, info.batch_size, 0) for z in gradients)
        return whole, tuple(None if z is None else 0 for z in gradients)


def _scanned(decay: Tensor, pairs: Tensor, shape: torch.Size, reverse: bool = False) -> Tensor:
    """The scan of (G, batch * L, 2N) as (G, batch, L, 2N), in its place; `shape` begins with (G, batch, L)."""
    G, batch, L = shape[:3]
    x = torch.view_as_complex(pairs.view(G * batch, L, -1, 2))
    rows = decay if G == 1 else decay.repeat_interleave(batch, 0)
    return torch.view_as_real(scan_(rows, x, reverse)).reshape(G, batch, L, -1)


def _in_blocks(decay: Tensor, B: Tensor, C: Tensor, u: Tensor) -> Tensor:
    """By the impulse response within blocks of time, and the state at each one's start; plain autograd."""
    (N, D), d_out, (batch, L, _), T = B.shape, len(C), u.shape, BLOCK
    blocks = pad(u, (0, 0, 0, -L % T)).reshape(batch, -1, T * D)
    powers = diagonal_scan(decay, pad(decay.new_ones(1, 1, N), (0, 0, 0, T - 1)))[0]
    next_powers = decay * powers

    responses = torch.view_as_real(powers[:, None] * B.T.contiguous()).flatten(2)
    to_end = responses.flip(0).flatten(0, 1)
    ends = torch.view_as_complex((blocks @ to_end).unflatten(-1, (N, 2)))
    starts = pad(diagonal_scan(next_powers[-1], ends[:, :-1]), (0, 0, 1, 0))

    from_start = torch.view_as_real(next_powers.conj()[:, None] * C.conj()).flatten(2).flatten(0, 1).mT
    y = blocks @ _causal(responses @ _as_rows(C)) + torch.view_as_real(starts).flatten(2) @ from_start
    return y.view(batch, -1, d_out)[:, :L]


def _causal(response: Tensor) -> Tensor:
    """(T, D, d_out) -> (T D, T d_out), the block Toeplitz matrix that maps the inputs of a block to its outputs.

    T rows of 2T steps, cut into rows of 2T - 1 steps, are shifted by one step from each to the next.
    """
    T, D, d_out = response.shape
    rows = pad(response, (0, 0, 0, 0, 0, T)).expand(T, 2 * T, D, d_out).flatten(0, 1)
    shifted = rows[: T * (2 * T - 1)].view(T, 2 * T - 1, D, d_out)
    return shifted[:, :T].transpose(1, 2).reshape(T * D, T * d_out)
