"""The output recurrence on a GPU: programs that hold all taps in registers and take a few dozen steps.

Steps that follow one another are what a GPU is slow at, so a long sequence is cut into chunks. All chunks are run from
zero side by side, together with the responses to each unit state, of which there are k * D; these carry the states from
chunk to chunk, by a few products of matrices. A step in a program is one product of the last k outputs, read back from
the cache, with the taps, and one barrier.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

WHOLE = 128
"""Steps up to which a sequence is one chunk."""

CHUNK = 32
"""Steps of a chunk otherwise: as many in sequence, and 1/32 of the sequence's length of states to carry."""

ROWS = 4
"""Chunks in a program, which share the taps and the wait at each step."""

TAPS_PER_THREAD = 64
"""Registers for the taps."""


def recurrence(taps: Tensor, x: Tensor, reverse: bool = False) -> Tensor:
    """y_t = sum_{j=1..k} y_{t-j} taps[j-1] + x_t; with `reverse`, y_t = sum_j y_{t+j} taps[j-1] + x_t. Zeros beyond.

    Args:
        taps: (k, D, D) float32 for which `recurrence_fits`.
        x: (B, L, D) float32.
        reverse: from the end.

    Returns:
        (B, L, D) float32.
    """
    k, D, _ = taps.shape
    B, L, _ = x.shape
    S = k * D
    T = L if L <= WHOLE else max(CHUNK, k)
    chunks = triton.cdiv(L, T)
    rows = B * chunks
    outputs = x.new_empty(rows + (S if chunks > 1 else 0), T, D)
    _take_steps(taps.contiguous(), x.contiguous(), outputs, chunks, reverse)
    local = outputs[:rows].view(B, chunks, T * D)
    if chunks > 1:
        local = _carried(local, outputs[rows:], k, reverse)
    y = local.view(B, chunks * T, D)
    return y[:, -L:] if reverse else y[:, :L]


def _carried(local: Tensor, responses: Tensor, k: int, reverse: bool) -> Tensor:
    """Chunks (B, C, T * D) that began with zeros, continued from one another; responses (S, T, D) to unit states."""
    B, C, _ = local.shape
    S, T, D = responses.shape
    last = slice(0, k) if reverse else slice(T - k, T)
    ends = local.view(B, C, T, D)[:, :, last]
    transition = responses[:, last]
    if reverse:
        ends = ends.flip(1)
    else:
        ends, transition = ends.flip(2), transition.flip(1)
    starts = torch.zeros(B, C, S, dtype=local.dtype, device=local.device)
    starts[:, 1:] = _matrix_scan(transition.reshape(S, S), ends.reshape(B, C, S)[:, :-1])
    if reverse:
        starts = starts.flip(1)
    return torch.addmm(local.view(B * C, T * D), starts.view(B * C, S), responses.view(S, T * D)).view(B, C, T * D)


def _matrix_scan(P: Tensor, x: Tensor) -> Tensor:
    """s_c = s_{c-1} P + x_c with s_{-1} = 0, by doubling: P (S, S), x (B, C, S)."""
    reach = 1
    while reach < x.shape[1]:
        x = torch.cat([x[:, :reach], x[:, reach:] + x[:, :-reach] @ P], dim=1)
        reach *= 2
        P = P @ P
    return x


def _take_steps(taps: Tensor, x: Tensor, outputs: Tensor, chunks: int, reverse: bool) -> None:
    """Fills outputs: (B * chunks, T, D) of all chunks from zero, and below them the responses to unit states."""
    k, D, _ = taps.shape
    B, L, _ = x.shape
    rows, T, _ = outputs.shape
    state, width = triton.next_power_of_2(k * D), triton.next_power_of_2(D)
    warps = min(max(state * width // (32 * TAPS_PER_THREAD), 1), 16)
    with torch.cuda.device_of(x):
        _steps[(triton.cdiv(rows, ROWS),)](
            *(taps, x, outputs, B * chunks, rows, chunks, L, T, D, k),
            reverse=reverse,
            R=ROWS,
            S=state,
            W=width,
            num_warps=warps,
        )


@triton.jit
def _steps(
    taps,
    x,
    outputs,
    sequences,
    rows,
    chunks,
    L,
    T,
    D,
    k,
    reverse: tl.constexpr,
    R: tl.constexpr,
    S: tl.constexpr,
    W: tl.constexpr,
):
    """T steps of R rows: chunks of the input, `sequences` of them, then unit states.

    `outputs` is in the order of time; with `reverse` each row is filled from its end, and what is missing of the last
    chunk lies before the sequence.
    """
    row = tl.program_id(0) * R + tl.arange(0, R)
    column = tl.arange(0, W)
    past = tl.arange(0, S)
    lag, channel = past // D + 1, past % D
    matrix = tl.load(taps + past[:, None] * D + column, mask=(past < k * D)[:, None] & (column < D), other=0.0)
    begin = (row % chunks) * T - (chunks * T - L if reverse else 0)
    x_row = (row // chunks).to(tl.int64) * L + begin
    y_row = row.to(tl.int64) * T
    unit = row - sequences
    for step in range(T):
        place = T - 1 - step if reverse else step
        time = begin + place
        there = (row < sequences) & (time >= 0) & (time < L)
        y = tl.load(x + ((x_row + place) * D)[:, None] + column, mask=there[:, None] & (column < D), other=0.0)
        before = step - lag
        known = (before >= 0) & (lag <= k)
        back = place + lag if reverse else before
        history = tl.load(
            outputs + y_row[:, None] * D + back * D + channel, mask=(row < rows)[:, None] & known, other=0.0
        )
        history += tl.where((before < 0) & (unit[:, None] == (-1 - before) * D + channel), 1.0, 0.0)
        y += tl.sum(history[:, :, None] * matrix, axis=1)
        tl.store(outputs + ((y_row + place) * D)[:, None] + column, y, mask=(row < rows)[:, None] & (column < D))
        tl.debug_barrier()
