"""Recurrences of the output along time, with matrices.

A step is one product of the last k outputs, which lie side by side in memory, with the stacked taps, added in place.
Either the whole sequence is taken in steps, or all its chunks side by side; the states at the chunks' ends are then
carried by the same recurrence with one large tap. The gradient of the input is the recurrence of transposed taps from
the end, that of each tap one product.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from lra_bench.nn.ops import kernels
from lra_bench.nn.ops.eager import apply_eagerly
from lra_bench.nn.ops.stacking import as_channels, unfolded

PAIRS = 16
"""Pairs of steps of a block that `two_step_sum` sums by one product."""

SMALL = 2**16
"""Numbers up to which it is a plain cumulative sum, which takes fewer calls but is slow where there are many."""


@dataclass(frozen=True)
class Speed:
    """What a product of matrices costs on a kind of device: the larger of its work and its traffic, and a call.

    Attributes:
        call: seconds.
        work: operations a second.
        traffic: bytes of a matrix read a second.
    """

    call: float
    work: float
    traffic: float

    def product(self, groups: int, rows: int, inner: int, columns: int) -> float:
        """Seconds of (rows, inner) @ (inner, columns) for each group."""
        work = 2 * rows * inner * columns / self.work
        return self.call + groups * max(work, 4 * inner * columns / self.traffic)


SETTING_UP = 20
"""Calls of torch that a split into chunks takes beside its products."""

SPEEDS = {"cpu": Speed(6e-6, 1.5e11, 5e10), "cuda": Speed(1e-5, 1e13, 1e12)}
"""Round numbers of two cores and of a large GPU: they only weigh ways against each other."""


@dataclass(frozen=True)
class Route:
    """How `autoregression` is computed.

    Attributes:
        steps: taken one after another, of every chunk at once.
        chunks: into which the sequence is split.
        kernel: by a kernel on the device.
    """

    steps: int
    chunks: int
    kernel: bool = False

    def __str__(self) -> str:
        if self.kernel:
            return "kernel"
        return "in sequence" if self.chunks == 1 else f"chunks of {self.steps}"


def route(B: int, L: int, D: int, k: int, device: torch.device, groups: int = 1) -> Route:
    """Which way `autoregression` takes.

    Args:
        B: sequences.
        L: steps.
        D: channels.
        k: taps.
        device: where.
        groups: members of a stack of layers that are computed together.
    """
    if groups == 1 and kernels.recurrence_fits(k, D) and kernels.find("recurrence", device) is not None:
        return Route(L, 1, kernel=True)
    steps = _fastest(B, L, D, k, device.type if device.type in SPEEDS else "cpu", groups)[1]
    return Route(steps, -(-L // steps))


@lru_cache(maxsize=1024)
def _fastest(B: int, L: int, D: int, k: int, device_type: str, groups: int) -> tuple[float, int]:
    """Seconds by `SPEEDS`, and steps of a chunk."""
    lengths = [2**i for i in range(2, 9) if 2**i < L]
    return min([(_seconds(steps, B, L, D, k, device_type, groups), steps) for steps in (L, *lengths)])


def _seconds(steps: int, B: int, L: int, D: int, k: int, device_type: str, groups: int) -> float:
    speed, S, chunks = SPEEDS[device_type], k * D, -(-L // steps)
    if chunks == 1:
        return steps * speed.product(groups, B, S, D)
    local = steps * speed.product(groups, B * chunks + S, S, D)
    carried = _fastest(B, chunks - 1, S, 1, device_type, groups)[0]
    return SETTING_UP * speed.call + local + carried + speed.product(groups, B * (chunks - 1), S, steps * D)


def autoregression(taps: Tensor, x: Tensor) -> Tensor:
    """y_t = sum_{j=1..k} y_{t-j} taps[j-1] + x_t (row vectors) with zeros before the start.

    `route` says which way it is computed. Keeps the outputs for the backward pass, and not `x`.

    Args:
        taps: (k, D, D) real, one matrix for each lag.
        x: (B, L, D), of the same dtype.

    Returns:
        (B, L, D).
    """
    y: Tensor = apply_eagerly(_Autoregression, taps[None], x[None], False)
    return y[0]


class _Autoregression(torch.autograd.Function):
    """For groups apart, or from the end: taps (G, k, D, D), x (G, B, L, D) -> (G, B, L, D)."""

    @staticmethod
    def forward(taps: Tensor, x: Tensor, reverse: bool) -> Tensor:
        return recur(taps, x, reverse)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        taps, _, ctx.reverse = inputs
        ctx.save_for_backward(taps, output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor, None]:
        taps, y = ctx.saved_tensors
        with torch.autocast(dy.device.type, enabled=False):
            dx = _Autoregression.apply(taps.mT, dy, not ctx.reverse)
            dtaps = _gradient_of_taps(y, dx, taps.shape[1], ctx.reverse) if ctx.needs_input_grad[0] else None
        return dtaps, dx, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], taps: Tensor, x: Tensor, reverse: bool) -> tuple[Tensor, int]:
        """Members with taps of their own are groups; those that share them are further sequences."""
        M = info.batch_size
        if in_dims[0] is None:
            return _Autoregression.apply(taps, x.movedim(in_dims[1], 1).flatten(1, 2), reverse).unflatten(1, (M, -1)), 1
        grouped = as_channels((taps, x), in_dims[:2], M, (0, 0))
        return unfolded(_Autoregression.apply(*grouped, reverse), M, 0), 0


def _gradient_of_taps(y: Tensor, dx: Tensor, k: int, reverse: bool) -> Tensor:
    """(G, k, D, D): for each lag, sum over sequences and steps of y_{t-lag}^T dx_t; from the end, y_{t+lag}."""
    if reverse:
        return torch.stack([(y[:, :, lag:].mT @ dx[:, :, :-lag]).sum(1) for lag in range(1, k + 1)], dim=1)
    return torch.stack([(y[:, :, :-lag].mT @ dx[:, :, lag:]).sum(1) for lag in range(1, k + 1)], dim=1)


def recur(taps: Tensor, x: Tensor, reverse: bool = False) -> Tensor:
    """The recurrence without autograd: y_t = sum_j y_{t-j} taps[:, j-1] + x_t; from the end, y_{t+j} instead.

    Args:
        taps: (G, k, D, D).
        x: (G, B, L, D).
        reverse: from the end.

    Returns:
        (G, B, L, D).
    """
    G, k, D, _ = taps.shape
    B, L = x.shape[1:3]
    way = route(B, L, D, k, x.device, G)
    kernel = kernels.find("recurrence", x.device) if way.kernel and x.dtype == torch.float32 else None
    if kernel is not None:
        return kernel(taps[0].contiguous(), x[0].contiguous(), reverse)[None]  # type: ignore[no-any-return]
    T, C, S = way.steps, way.chunks, k * D
    if T * C > L:
        x = pad(x, (0, 0, *((T * C - L, 0) if reverse else (0, T * C - L))))
    states = S if C > 1 else 0
    rows = x.new_empty(G, B * C + states, k + T, D)
    history, outputs = (slice(T, None), slice(T)) if reverse else (slice(k), slice(k, None))
    local, units = rows[:, : B * C], rows[:, B * C :]
    local[:, :, history], local[:, :, outputs] = 0, x.reshape(G, B * C, T, D)
    units[:, :, outputs] = 0
    units[:, :, history] = torch.eye(S, dtype=x.dtype, device=x.device)[:states].view(states, k, D)
    _take_steps(taps, rows, T, reverse)
    y = local[:, :, outputs]
    if C > 1:
        y = _with_carried_states(y.reshape(G, B, C, T, D), local, units, reverse)
    return y[:, :, T * C - L :] if reverse else y[:, :, :L]


def _take_steps(taps: Tensor, rows: Tensor, T: int, reverse: bool) -> None:
    """In place on (G, R, k + T, D): a history, then inputs that become outputs; from the end, the history is last."""
    G, R, length, D = rows.shape
    k = length - T
    matrix = (taps if reverse else taps.flip(1)).reshape(G, k * D, D)
    windows = rows.as_strided((T + 1, G, R, k * D), (D, R * length * D, length * D, 1))
    outputs, pasts = (rows[:, :, :T], windows[1:]) if reverse else (rows[:, :, k:], windows[:-1])
    if G == 1:
        matrix, outputs, pasts = matrix[0], outputs[0], pasts[:, 0]
    steps = zip(outputs.unbind(-2), pasts.unbind(), strict=True)
    for y, past in reversed(list(steps)) if reverse else steps:
        if G == 1:
            y.addmm_(past, matrix)
        else:
            y += past @ matrix


def _with_carried_states(y: Tensor, local: Tensor, units: Tensor, reverse: bool) -> Tensor:
    """Chunks' outputs from zero (G, B, C, T, D), with what each chunk's first state adds: (G, B, C T, D)."""
    G, B, C, T, D = y.shape
    S = units.shape[1]
    k = S // D
    end, outputs = (slice(k), slice(T)) if reverse else (slice(T, None), slice(k, None))
    given, taken = (slice(1, None), slice(C - 1)) if reverse else (slice(C - 1), slice(1, None))
    ends = local[:, :, end].reshape(G, B, C, S)[:, :, given]
    starts = recur(units[:, :, end].reshape(G, 1, S, S), ends, reverse)
    responses = units[:, :, outputs].reshape(G, S, T * D)
    y[:, :, taken] += (starts.reshape(G, B * (C - 1), S) @ responses).view(G, B, C - 1, T, D)
    return y.reshape(G, B, C * T, D)


def two_step_sum(x: Tensor) -> Tensor:
    """y_t = y_{t-2} + x_t with zeros before the start, for (B, L, D). Keeps nothing for the backward pass."""
    if x.numel() <= SMALL:
        B, L, D = x.shape
        return pad(x, (0, 0, 0, L % 2)).reshape(B, -1, 2 * D).cumsum(1).reshape(B, -1, D)[:, :L]
    y: Tensor = apply_eagerly(_TwoStepSum, x, False)
    return y


class _TwoStepSum(torch.autograd.Function):
    """`two_step_sum`, or the same from the end."""

    @staticmethod
    def forward(x: Tensor, reverse: bool) -> Tensor:
        B, L, D = x.shape
        odd = L % 2
        pairs = (pad(x, (0, 0, *((odd, 0) if reverse else (0, odd)))) if odd else x).reshape(B, -1, 2 * D)
        y = _running_sum(pairs, reverse).reshape(B, L + odd, D)
        return y[:, odd:] if reverse else y[:, :L]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, bool], output: Tensor) -> None:
        ctx.reverse = inputs[1]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        with torch.autocast(dy.device.type, enabled=False):
            return _TwoStepSum.apply(dy, not ctx.reverse), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: Tensor, reverse: bool) -> tuple[Tensor, int]:
        x = x.movedim(in_dims[0], 0)
        return _TwoStepSum.apply(x.flatten(0, 1), reverse).unflatten(0, x.shape[:2]), 0


def _running_sum(x: Tensor, reverse: bool) -> Tensor:
    """Sums up to each step, or from it, of (B, P, W): by products with a triangle of ones, over blocks and within."""
    B, P, W = x.shape
    T = min(P, PAIRS)
    blocks = -(-P // T)
    if blocks * T > P:
        x = pad(x, (0, 0, 0, blocks * T - P))
    ones = x.new_ones(T, T)
    triangle = ones.triu() if reverse else ones.tril()
    y = torch.bmm(triangle.expand(B * blocks, T, T), x.reshape(B * blocks, T, W)).view(B, blocks, T, W)
    if blocks > 1:
        if reverse:
            y[:, :-1] += _running_sum(y[:, 1:, 0], reverse)[:, :, None]
        else:
            y[:, 1:] += _running_sum(y[:, :-1, -1], reverse)[:, :, None]
    return y.view(B, blocks * T, W)[:, :P]
