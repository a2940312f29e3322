"""The diagonal scan on a GPU: programs of one warp, each with some channels of one sequence and a segment of time.

A program goes through its segment in tiles of (`TIME`, `CHANNELS`) complex numbers. All loads of a tile are under way
at once; its steps are taken in registers, where a channel belongs to one thread. That is bound by memory as soon as
there are enough programs. Where batch and channels give too few, time is cut into segments: their last states are
computed first, then carried from one to the next (the same problem, on one state a segment), then the segments are
computed again from the states that they begin with. That reads x twice.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lra_bench.nn.ops.kernels.complex_pairs import load_complex, store_complex

TIME = 16
"""Steps of a tile: 32 registers for its numbers."""

CHANNELS = 64
"""Channels of a program, two to a thread."""

SHORTEST_SEGMENT = 64
"""Steps below which a sequence is not cut."""

PROGRAMS = 2048
"""Enough to keep a GPU busy: 16 warps on each of some 130 multiprocessors."""


def scan(decay: Tensor, x: Tensor, reverse: bool = False) -> Tensor:
    """h_t = decay * h_{t-1} + x_t with h_{-1} = 0; with `reverse`, h_t = decay * h_{t+1} + x_t with h_L = 0.

    Args:
        decay: (N,) complex64.
        x: (B, L, N) complex64.
        reverse: from the end.

    Returns:
        (B, L, N) complex64.
    """
    decay, x = (torch.view_as_real(z.resolve_conj().contiguous()) for z in (decay, x))
    return torch.view_as_complex(_scan(decay, x, reverse, doublings=0))


def segment_steps(B: int, L: int, N: int) -> int:
    """Steps of a segment, a power of two: L or more if batch and channels suffice to keep the device busy."""
    programs = B * triton.cdiv(N, CHANNELS)
    steps: int = max(triton.next_power_of_2(L), TIME)
    while steps > SHORTEST_SEGMENT and programs * triton.cdiv(L, steps) < PROGRAMS:
        steps //= 2
    return steps


def _scan(decay: Tensor, x: Tensor, reverse: bool, doublings: int) -> Tensor:
    """By decay^(2^doublings): decay (N, 2), x (B, L, N, 2) real pairs -> (B, L, N, 2)."""
    B, L, N, _ = x.shape
    steps = segment_steps(B, L, N)
    segments = triton.cdiv(L, steps)
    grid = B, segments, triton.cdiv(N, CHANNELS)
    states = torch.empty_like(x)

    def launch(out: Tensor, starts: Tensor | None, ends: bool) -> Tensor:
        with torch.cuda.device_of(x):
            _segments[grid](
                *(decay, x, x if starts is None else starts, out, L, N, steps, doublings),
                reverse=reverse,
                continued=starts is not None,
                ends=ends,
                T=TIME,
                C=CHANNELS,
                num_warps=1,
            )
        return out

    if segments == 1:
        return launch(states, None, ends=False)
    ends = launch(x.new_empty(B, segments, N, 2), None, ends=True)
    carried = _scan(decay, ends, False, doublings + steps.bit_length() - 1)
    return launch(states, carried, ends=False)


@triton.jit
def _segments(
    decay,
    x,
    starts,
    out,
    L,
    N,
    steps,
    doublings,
    reverse: tl.constexpr,
    continued: tl.constexpr,
    ends: tl.constexpr,
    T: tl.constexpr,
    C: tl.constexpr,
):
    """One segment of one sequence, `C` channels: its states into out (B, L, N), or its last ones into (B, segments, N).

    With `continued`, segment s begins with starts[:, s - 1]. Segments are counted in the order of the scan.
    """
    b, segment, first = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2) * C
    here = tl.zeros([1, 1], tl.int64)
    a_re, a_im = _power(*load_complex(decay, here, first, N, here == 0, C), doublings)
    factor_re, factor_im = tl.broadcast_to(a_re, T, C), tl.broadcast_to(a_im, T, C)
    row = here + b * tl.num_programs(1) + segment
    h_re, h_im = load_complex(starts, (row - 1) * N, first, N, (row >= 0) & (continued and segment > 0), C)
    tile = tl.arange(0, T)[:, None]
    begin = segment * steps
    for t0 in range(begin, min(begin + steps, L), T):
        t = t0 + tile
        places = (b * L + (L - 1 - t if reverse else t)) * N
        x_re, x_im = load_complex(x, places, first, N, t < L, C)
        x_re += tl.where(tile == 0, a_re * h_re - a_im * h_im, 0.0)
        x_im += tl.where(tile == 0, a_re * h_im + a_im * h_re, 0.0)
        _, _, x_re, x_im = tl.associative_scan((factor_re, factor_im, x_re, x_im), 0, _compose)
        h_re = tl.sum(tl.where(tile == T - 1, x_re, 0.0), 0, keep_dims=True)
        h_im = tl.sum(tl.where(tile == T - 1, x_im, 0.0), 0, keep_dims=True)
        if not ends:
            store_complex(out, places, first, N, t < L, x_re, x_im)
    if ends:
        store_complex(out, row * N, first, N, here == 0, h_re, h_im)


@triton.jit
def _compose(a_re, a_im, x_re, x_im, b_re, b_im, y_re, y_im):
    """First h -> a h + x, then h -> b h + y."""
    return (
        a_re * b_re - a_im * b_im,
        a_re * b_im + a_im * b_re,
        b_re * x_re - b_im * x_im + y_re,
        b_re * x_im + b_im * x_re + y_im,
    )


@triton.jit
def _power(a_re, a_im, doublings):
    """a^(2^doublings) by squaring, in float64: each squaring doubles the relative error."""
    a_re, a_im = a_re.to(tl.float64), a_im.to(tl.float64)
    for _ in range(doublings):
        a_re, a_im = a_re * a_re - a_im * a_im, 2 * a_re * a_im
    return a_re.to(tl.float32), a_im.to(tl.float32)
