"""Recurrences of the output along time, with matrices. Plain autograd, any L."""

import torch
from torch import Tensor
from torch.nn.functional import pad

CHUNK = 16
"""Steps that are taken one after another; all chunks take them at once."""

MAX_CARRIED_STATE = 1024
"""Largest k * D of `autoregression` that is carried from chunk to chunk."""


def two_step_sum(x: Tensor) -> Tensor:
    """y_t = y_{t-2} + x_t with zeros before the start, for (B, L, D)."""
    B, L, D = x.shape
    pairs = pad(x, (0, 0, 0, L % 2)).reshape(B, -1, 2, D)
    return pairs.cumsum(1).flatten(1, 2)[:, :L]


def autoregression(taps: Tensor, x: Tensor) -> Tensor:
    """y_t = sum_{j=1..k} y_{t-j} taps[j-1] + x_t (row vectors) with zeros before the start.

    All chunks run side by side from zero, together with the responses to each unit state, of which there are k * D.
    Those responses then carry the states from chunk to chunk, in log-depth. Where the state is so large that its
    transition matrix would cost more than the steps it saves, one chunk holds the whole sequence.

    Args:
        taps: (k, D, D) real, one matrix for each lag.
        x: (B, L, D), of the same dtype.

    Returns:
        (B, L, D).
    """
    k, D, _ = taps.shape
    B, L, _ = x.shape
    steps = max(CHUNK, k) if k * D <= MAX_CARRIED_STATE else L
    chunks = -(-L // steps)
    x = pad(x, (0, 0, 0, chunks * steps - L)).reshape(B * chunks, steps, D)
    if chunks == 1:
        return _recur(taps, x, x.new_zeros(B, k, D))[:, :L]
    S = k * D
    units = torch.eye(S, dtype=x.dtype, device=x.device).view(S, k, D)
    both = _recur(taps, pad(x, (0, 0, 0, 0, 0, S)), pad(units, (0, 0, 0, 0, B * chunks, 0)))
    local, responses = both[: B * chunks], both[B * chunks :]
    ends = local[:, -k:].reshape(B, chunks, S)[:, :-1]
    starts = pad(_matrix_scan(responses[:, -k:].reshape(S, S), ends), (0, 0, 1, 0))
    carried = starts @ responses.reshape(S, steps * D)
    return (local.reshape(B, chunks * steps, D) + carried.reshape(B, chunks * steps, D))[:, :L]


def _recur(taps: Tensor, x: Tensor, history: Tensor) -> Tensor:
    """The recurrence step by step: x (R, T, D) after `history` (R, k, D), oldest first."""
    k = len(taps)
    matrices = taps.unbind()
    outputs = list(history.unbind(1))
    for y in x.unbind(1):
        for lag, matrix in enumerate(matrices, start=1):
            y = torch.addmm(y, outputs[-lag], matrix)
        outputs.append(y)
    return torch.stack(outputs[k:], dim=1)


def _matrix_scan(P: Tensor, x: Tensor) -> Tensor:
    """s_c = s_{c-1} P + x_c with s_{-1} = 0, by doubling: P (S, S), x (B, C, S)."""
    reach = 1
    while reach < x.shape[1]:
        x = x + pad(x[:, :-reach] @ P, (0, 0, reach, 0))
        reach *= 2
        if reach < x.shape[1]:
            P = P @ P
    return x
