"""Convolution with a bank of fixed filters, each with a matrix of its own, by FFT.

The input is transformed once, multiplied at each frequency by H(w) = sum_j bank_j(w) weights[j], and transformed back:
filtered copies of the input, (B, L, J, D), are never made. H is made for a few frequencies at a time and again in the
backward pass, for which only the input and the weights are kept. Within a band of neighbouring frequencies the spectra
of smooth filters are combinations of a few, so `banded` makes most sums short.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lra_bench.core.errors import LraBenchError
from lra_bench.nn.ops.eager import apply_eagerly
from lra_bench.nn.ops.fft_conv import fft_length
from lra_bench.nn.ops.spectral_product import Order, from_planes, has_kernels, multiply, planes
from lra_bench.nn.ops.stacking import as_channels, unfolded

HELD = {"cpu": 2**20, "cuda": 2**24}
"""Real numbers of H, or of its terms, that are held at once, by kind of device."""

MAX_TERMS_BATCH = 2
"""Sequences up to which terms are cheaper than H: H costs as much for one sequence as for many."""

MIN_TERMS_WIDTH = 16
"""Input channels from which terms are worth their larger product."""

MAX_ELEMENTS = 32
"""D * Do up to which products are taken number by number."""

BAND = 256
"""Frequencies of a band."""

MIN_BANDED_WEIGHTS = 1024
"""D * Do from which shorter sums are worth the weights' combination for each band."""

RANK_TOLERANCE = {torch.float32: 1e-9, torch.float64: 1e-13}
"""Largest error of a banded spectrum, relative to the spectrum's largest value: below the rounding of the transform."""


class BandedSpectrum(NamedTuple):
    """Spectra of J filters in bands of equal width, in each as combinations of the first few columns of a table.

    Attributes:
        table: (F, 2, R) real.
        mixing: (N, R, J) real: in band n, spectra are table[..., : ranks[n]] @ mixing[n, : ranks[n]]. None where the
            table holds the spectra themselves, in one band.
        ranks: N of them, at most R.
    """

    table: Tensor
    mixing: Tensor | None
    ranks: tuple[int, ...]


@dataclass(frozen=True)
class Route:
    """How the product with H is computed.

    Attributes:
        order: by H itself, by all its terms at once, or by a kernel on the device.
        at_once: frequencies that are held at a time.
    """

    order: Order
    at_once: int

    def __str__(self) -> str:
        return "kernel" if self.order == "kernel" else f"{self.order} of {self.at_once} frequencies at a time"


def route(
    batch_size: int, seq_len: int, channels: int, outputs: int, filters: int, device: torch.device, groups: int = 1
) -> Route:
    """Which way `bank_conv` takes.

    Args:
        batch_size: B.
        seq_len: L.
        channels: D.
        outputs: D_out.
        filters: J, or the largest rank of a banded spectrum.
        device: where.
        groups: members of a stack of layers that are computed together.
    """
    F = fft_length(seq_len) // 2 + 1
    order: Order
    if groups == 1 and has_kernels(device):
        return Route("kernel", F)
    if channels * outputs <= MAX_ELEMENTS:
        order, each = "elementwise", 2 * batch_size * channels * outputs
    elif batch_size <= MAX_TERMS_BATCH and channels >= MIN_TERMS_WIDTH:
        order, each = "terms", 2 * batch_size * filters * channels
    else:
        order, each = "response", 2 * channels * outputs
    return Route(order, min(F, max(1, HELD.get(device.type, HELD["cpu"]) // (groups * each))))


def bank_spectrum(bank: Tensor) -> Tensor:
    """Transform of a filter bank, long enough for a linear convolution.

    Args:
        bank: (L, J) real filters.

    Returns:
        (F, 2, J) real: real and imaginary part at each of F frequencies.
    """
    if torch.compiler.is_compiling():
        return torch.compiler.disable(_planar_transform)(bank)  # type: ignore[no-any-return]
    return _planar_transform(bank)


def _planar_transform(bank: Tensor) -> Tensor:
    return torch.view_as_real(torch.fft.rfft(bank, n=fft_length(len(bank)), dim=0)).transpose(1, 2).contiguous()


def prepared(spectrum: Tensor, channels: int, outputs: int, dtype: torch.dtype) -> BandedSpectrum:
    """A spectrum as `bank_conv` is fastest with it: `banded`, or where matrices are small, whole.

    Args:
        spectrum: `bank_spectrum` in float64.
        channels: D.
        outputs: D_out.
        dtype: in which it is stored.
    """
    if channels * outputs >= MIN_BANDED_WEIGHTS:
        return banded(spectrum, dtype)
    return BandedSpectrum(spectrum.to(dtype), None, (spectrum.shape[2],))


def banded(spectrum: Tensor, dtype: torch.dtype) -> BandedSpectrum:
    """The spectrum in bands of about `BAND` frequencies, by their singular vectors.

    Args:
        spectrum: `bank_spectrum` in float64.
        dtype: in which it is stored; decides how exact it is (`RANK_TOLERANCE`).
    """
    F, _, J = spectrum.shape
    edges = _edges(F, max(1, round(F / BAND)))
    tolerance = RANK_TOLERANCE[dtype] * spectrum.abs().max().item()
    parts = []
    for start, stop in pairwise(edges):
        Q, R = torch.linalg.qr(spectrum[start:stop].reshape(-1, J))
        V, s, mixing = torch.linalg.svd(R, full_matrices=False)
        rank = max(1, int((s > tolerance).sum()))
        parts.append((Q @ (V * s)[:, :rank], mixing[:rank]))
    ranks = tuple(len(mixing) for _, mixing in parts)
    table, mixing = spectrum.new_zeros(F, 2, max(ranks)), spectrum.new_zeros(len(parts), max(ranks), J)
    for n, (columns, combinations) in enumerate(parts):
        table[edges[n] : edges[n + 1], :, : ranks[n]] = columns.view(-1, 2, ranks[n])
        mixing[n, : ranks[n]] = combinations
    return BandedSpectrum(table.to(dtype), mixing.to(dtype), ranks)


def _edges(F: int, bands: int) -> list[int]:
    return [F * n // bands for n in range(bands + 1)]


def bank_conv(u: Tensor, spectrum: Tensor | BandedSpectrum, weights: Tensor) -> Tensor:
    """A bank of fixed filters, each with its own matrix.

        y[b, t] = sum_j sum_{s <= t} bank[s, j] u[b, t - s] weights[j]

    `route` says which way it is computed. The spectrum has no gradient.

    Args:
        u: (B, L, D) real.
        spectrum: `bank_spectrum` of filters of length L, or that `prepared`.
        weights: (J, D, D_out) real, of the same dtype.

    Returns:
        (B, L, D_out).
    """
    if isinstance(spectrum, Tensor):
        spectrum = BandedSpectrum(spectrum, None, (spectrum.shape[2],))
    y: Tensor = apply_eagerly(_BankConv, u[:, :, None], weights[:, None], *spectrum)
    return y[:, :, 0]


class _BankConv(torch.autograd.Function):
    """For groups of channels apart: u (B, L, G, D), weights (J, G, D, Do) -> (B, L, G, Do)."""

    @staticmethod
    def forward(u: Tensor, weights: Tensor, table: Tensor, mixing: Tensor | None, ranks: tuple[int, ...]) -> Tensor:
        L, n = u.shape[1], fft_length(u.shape[1])
        way = _route(u, weights, ranks)
        U = planes(torch.fft.rfft(u, n=n, dim=1), way.order)
        Y = U.new_empty(*U.shape[:-1], weights.shape[-1])
        for part, rows, combined in _bands(table, mixing, ranks):
            multiply(way.order, U[part], rows, _combination(combined, weights), False, way.at_once, out=Y[part])
        del U
        y: Tensor = torch.fft.irfft(from_planes(Y, way.order), n=n, dim=1)[:, :L]
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.ranks = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[:2]
        with torch.autocast(gradient.device.type, enabled=False):
            found = _BankConvGradient.apply(gradient, *ctx.saved_tensors, ctx.ranks, wanted)
        return *(x if asked else None for x, asked in zip(found, wanted, strict=True)), None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], u: Tensor, weights: Tensor, *bank: Any) -> tuple[Tensor, int]:
        """Members with weights of their own are groups of channels; where they share the input, further outputs."""
        u_dim, weights_dim, *bank_dims = in_dims
        _require_shared(bank_dims[:2])
        M = info.batch_size
        if weights_dim is None:
            return _BankConv.apply(u.movedim(u_dim, 0).flatten(0, 1), weights, *bank).unflatten(0, (M, -1)), 0
        if u_dim is None:
            outputs = weights.movedim(weights_dim, -2).flatten(-2)
            return _BankConv.apply(u, outputs, *bank).unflatten(-1, (M, -1)), 3
        groups = as_channels((u, weights), (u_dim, weights_dim), M, (2, 1))
        return unfolded(_BankConv.apply(*groups, *bank), M, 2), 2


class _BankConvGradient(torch.autograd.Function):
    """Gradients of u and of the weights; empty where not wanted. A function of its own for the sake of `vmap`."""

    @staticmethod
    def forward(
        gradient: Tensor,
        u: Tensor,
        weights: Tensor,
        table: Tensor,
        mixing: Tensor | None,
        ranks: tuple[int, ...],
        wanted: tuple[bool, bool],
    ) -> tuple[Tensor, Tensor]:
        L, n = u.shape[1], fft_length(u.shape[1])
        way = _route(u, weights, ranks)
        G = planes(torch.fft.rfft(gradient, n=n, dim=1), way.order)
        U = _parseval(planes(torch.fft.rfft(u, n=n, dim=1), way.order), n) if wanted[1] else None
        transposed = weights.transpose(2, 3).contiguous()
        dU = G.new_empty(*G.shape[:-1], u.shape[-1]) if wanted[0] else None
        total = torch.zeros_like(transposed) if wanted[1] else None
        for part, rows, combined in _bands(table, mixing, ranks):
            out, partner = (None if x is None else x[part] for x in (dU, U))
            band_weights = _combination(combined, transposed)
            found = multiply(way.order, G[part], rows, band_weights, True, way.at_once, out, partner)
            if total is not None and found is not None:
                total += found if combined is None else _combination(combined.T, found)
        del G, U
        du = u.new_empty(0) if dU is None else torch.fft.irfft(from_planes(dU, way.order), n=n, dim=1)[:, :L]
        return du, u.new_empty(0) if total is None else total.transpose(2, 3)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept: there is no second derivative."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, tuple[int, int]]:
        _require_shared(in_dims[3:5])
        M, wanted = info.batch_size, inputs[-1]
        groups = as_channels(inputs[:3], in_dims[:3], M, (2, 2, 1))
        found = zip(_BankConvGradient.apply(*groups, *inputs[3:]), wanted, (2, 1), strict=True)
        return tuple(unfolded(x, M, at) if asked else x.expand(1, M, M, 0) for x, asked, at in found), (2, 1)


def _require_shared(bank_dims: Sequence[int | None]) -> None:
    if any(dim is not None for dim in bank_dims):
        raise LraBenchError("members of a stack share their filters: stack parameters, and no buffers")


def _route(u: Tensor, weights: Tensor, ranks: tuple[int, ...]) -> Route:
    B, L, G, D = u.shape
    way = route(B, L, D, weights.shape[3], max(ranks), u.device, G)
    return Route("response", way.at_once) if way.order == "kernel" and u.dtype != torch.float32 else way


def _bands(
    table: Tensor, mixing: Tensor | None, ranks: tuple[int, ...]
) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
    """Each band's frequencies, its part of the table, and its combinations of filters."""
    edges = _edges(len(table), len(ranks))
    for n, rank in enumerate(ranks):
        part = slice(edges[n], edges[n + 1])
        yield part, table[part, :, :rank], None if mixing is None else mixing[n, :rank]


def _combination(combined: Tensor | None, weights: Tensor) -> Tensor:
    """(R, J) applied to (J, G, D, Do); without combinations, the weights themselves."""
    return weights if combined is None else torch.tensordot(combined, weights, 1)


def _parseval(U: Tensor, n: int) -> Tensor:
    """Scaled so that a sum over the frequencies of a real signal is the sum over its n steps."""
    U *= 2 / n
    U[0] /= 2
    U[-1] /= 2
    return U
