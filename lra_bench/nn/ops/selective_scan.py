"""The selective scan: a diagonal recurrence whose time step, input map and read-out depend on the input."""

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

CHUNK = 32
"""Steps that are taken one after another; all chunks of a segment take them at once."""

SEGMENT_ELEMENTS = {"cpu": 2**19, "cuda": 2**25}
"""Numbers in the states that are held at once, by kind of device; longer sequences go segment by segment."""


def selective_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t, y_t = h_t C_t with h_{-1} = 0, for each of D channels.

    The states, N numbers a channel and step, are never held for the whole sequence: where they would be large, it is
    cut into segments, which are computed again in the backward pass (by `torch.utils.checkpoint`, which `torch.func`
    refuses). Source: Gu and Dao, "Mamba", arXiv 2312.00752, algorithm 2.

    Args:
        x: (batch, L, D) real, float32 or float64; all the others have its dtype.
        dt: (batch, L, D), zero or more.
        A: (D, N), below zero.
        B: (batch, L, N).
        C: (batch, L, N).

    Returns:
        (batch, L, D).
    """
    batch, L, _ = x.shape
    state = x.new_zeros(batch, *A.shape)
    steps = max(CHUNK, SEGMENT_ELEMENTS.get(x.device.type, 2**19) // state.numel())
    if steps >= L:
        return _segment(x, dt, A, B, C, state)[0]
    recomputed = partial(checkpoint, _segment, use_reentrant=False, preserve_rng_state=False)
    outputs = []
    parts = (torch.split(z, steps, dim=1) for z in (x, dt, B, C))
    for x_part, dt_part, B_part, C_part in zip(*parts, strict=True):
        y, state = recomputed(x_part, dt_part, A, B_part, C_part, state)
        outputs.append(y)
    return torch.cat(outputs, dim=1)


def _segment(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs (batch, S, D) and last state (batch, D, N) of S steps that begin with `state` (batch, D, N)."""
    states = _scan(dt, A, (dt * x)[..., None] * B[:, :, None], state)
    return (states @ C[..., None]).squeeze(-1), states[:, -1]


def _scan(dt: Tensor, A: Tensor, x: Tensor, start: Tensor) -> Tensor:
    """h_t = exp(dt_t A) h_{t-1} + x_t: dt (batch, S, D), A (D, N), x (batch, S, D, N), start h_{-1} (batch, D, N).

    As `diagonal_scan`: chunks run side by side, and what they hand on is the same problem with their total time steps.
    """
    batch, S, D, N = x.shape
    steps = min(CHUNK, S)
    chunks = -(-S // steps)
    if chunks * steps > S:
        dt, x = pad(dt, (0, 0, 0, -S % steps)), pad(x, (0, 0, 0, 0, 0, -S % steps))
    dt = dt.reshape(batch, chunks, steps, D)
    states = [pad(start[:, None], (0, 0, 0, 0, 0, chunks - 1))]
    for dt_t, x_t in zip(dt.unbind(2), x.reshape(batch, chunks, steps, D, N).unbind(2), strict=True):
        states.append(torch.addcmul(x_t, (dt_t[..., None] * A).exp(), states[-1]))
    local = torch.stack(states[1:], dim=2)
    if chunks > 1:
        elapsed = dt.cumsum(2)
        ends = _scan(elapsed[:, :-1, -1], A, local[:, :-1, -1], torch.zeros_like(start))
        carried = pad(ends, (0, 0, 0, 0, 1, 0)).unsqueeze(2)
        local = torch.addcmul(local, (elapsed[..., None] * A).exp(), carried)
    return local.flatten(1, 2)[:, :S]
