"""The product of a spectrum with the response of a filter bank on a GPU; the response is made in registers, in tiles.

    Y(w) = U(w) H(w),    H(w) = sum_j bank_j(w) weights[j]

Making H takes 4 J D D_out operations a frequency, the product 8 B D D_out; nothing of size (F, D, D_out) is written. A
program has a tile of frequencies, of the batch and of outputs, and goes through the inputs block by block, so a block
of weights is read once (from the cache) for all its frequencies. The gradient of the weights is a sum over frequencies:
programs have a block of (D, D_out) and a share of the frequencies each, and a second pass adds the shares up in order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lra_bench.nn.ops.kernels.complex_pairs import load_complex, store_complex

PRODUCT_TILE = {"f_tile": 8, "d_tile": 16, "o_tile": 32}
"""8,192 numbers of H, in 256 threads: with the results for 16 sequences, three quarters of a thread's registers."""

GRADIENT_TILE = {"f_tile": 16, "d_tile": 16, "o_tile": 16, "k_tile": 16}
"""Of the weights' gradient; 8 sequences at a time, two parts each. In 512 threads, so that 32 filters' sums fit too."""

BATCH = 16
"""Sequences of a tile, at most."""

PROGRAMS = 1024
"""Into how many programs the weights' gradient is divided by sharing out the frequencies."""


def spectral_product(U: Tensor, spectrum: Tensor, weights: Tensor) -> Tensor:
    """U H(w) at each frequency. The gradient of U is the same with `spectrum` conjugated and `weights` transposed.

    Args:
        U: (F, B, D) complex64.
        spectrum: (F, 2, J) float32, real and imaginary parts of the bank.
        weights: (J, D, D_out) float32.

    Returns:
        (F, B, D_out) complex64.
    """
    F, B, D = U.shape
    J, _, D_out = weights.shape
    pairs, bank = _pairs(U), _frequencies_last(spectrum)
    Y = torch.empty(F, B, D_out, dtype=torch.complex64, device=U.device)
    batch = min(triton.next_power_of_2(B), BATCH)
    tiles = triton.cdiv(D_out, PRODUCT_TILE["o_tile"]), triton.cdiv(F, PRODUCT_TILE["f_tile"]), triton.cdiv(B, batch)
    with torch.cuda.device_of(U):
        _product[tiles](
            *(pairs, bank, weights.contiguous(), torch.view_as_real(Y)),
            *(F, B, D, D_out, J, bank.shape[2], *pairs.stride()[:2]),
            b_tile=batch,
            **PRODUCT_TILE,
            num_warps=8,
        )
    return Y


def spectral_product_weights(U: Tensor, G: Tensor, spectrum: Tensor) -> Tensor:
    """The gradient of `spectral_product`'s weights: sum_f Re(conj(bank_j(f)) sum_b conj(U[f, b, d]) G[f, b, o]).

    Args:
        U: (F, B, D) complex64.
        G: (F, B, D_out) complex64, the gradient of the result.
        spectrum: (F, 2, J) float32.

    Returns:
        (J, D, D_out) float32.
    """
    F, B, D = U.shape
    D_out, J = G.shape[2], spectrum.shape[2]
    u_pairs, g_pairs, bank = _pairs(U), _pairs(G), _frequencies_last(spectrum)
    filters = 32 if J <= 32 else 64
    tile = GRADIENT_TILE
    blocks = triton.cdiv(D_out, tile["o_tile"]), triton.cdiv(D, tile["d_tile"]), triton.cdiv(J, filters)
    shares = min(triton.cdiv(PROGRAMS, blocks[0] * blocks[1] * blocks[2]), triton.cdiv(F, 4 * tile["f_tile"]))
    sums = torch.empty(shares, J, D, D_out, dtype=torch.float32, device=U.device)
    with torch.cuda.device_of(U):
        _weights_gradient[(blocks[0], blocks[1] * shares, blocks[2])](
            *(u_pairs, g_pairs, bank, sums),
            *(F, B, D, D_out, J, bank.shape[2], shares, *u_pairs.stride()[:2], *g_pairs.stride()[:2]),
            j_tile=filters,
            **tile,
            num_warps=16,
            num_stages=1,
        )
    return sums.sum(0)


def _pairs(x: Tensor) -> Tensor:
    """(..., 2) float32 of a complex tensor, its last dimension but one contiguous."""
    x = x.resolve_conj()
    return torch.view_as_real(x if x.stride(-1) == 1 else x.contiguous())


def _frequencies_last(spectrum: Tensor) -> Tensor:
    """(2, J, F), with zeros up to a multiple of 16 frequencies: a thread reads those of a tile at once."""
    padded = spectrum.new_zeros(2, spectrum.shape[2], triton.cdiv(len(spectrum), 16) * 16)
    padded[..., : len(spectrum)] = spectrum.permute(1, 2, 0)
    return padded


@triton.jit
def _product(
    U,
    bank,
    weights,
    Y,
    F,
    B,
    D,
    D_out,
    J,
    bank_f,
    u_f,
    u_b,
    f_tile: tl.constexpr,
    b_tile: tl.constexpr,
    d_tile: tl.constexpr,
    o_tile: tl.constexpr,
):
    """A tile of Y (F, B, D_out): U (F, B, D) with strides u_f and u_b in real numbers, bank (2, J, bank_f)."""
    first_o = tl.program_id(0) * o_tile
    first_f = tl.program_id(1) * f_tile
    row = tl.arange(0, f_tile * b_tile)[:, None]
    row_f, row_b = (first_f + row // b_tile).to(tl.int64), tl.program_id(2) * b_tile + row % b_tile
    inside = (row_f < F) & (row_b < B)
    o = first_o + tl.arange(0, o_tile)[None, None, :]
    f = first_f + tl.arange(0, f_tile)
    there = f < bank_f
    Y_re = tl.zeros([f_tile, b_tile, o_tile], tl.float32)
    Y_im = tl.zeros([f_tile, b_tile, o_tile], tl.float32)
    for first_d in range(0, D, d_tile):
        d = first_d + tl.arange(0, d_tile)[None, :, None]
        H_re = tl.zeros([f_tile, d_tile, o_tile], tl.float32)
        H_im = tl.zeros([f_tile, d_tile, o_tile], tl.float32)
        for first_j in range(0, J, 8):
            for i in tl.static_range(8):
                j = first_j + i
                W = tl.load(weights + (j * D + d) * D_out + o, mask=(j < J) & (d < D) & (o < D_out), other=0.0)
                H_re += tl.load(bank + j * bank_f + f, mask=there & (j < J), other=0.0)[:, None, None] * W
                H_im += tl.load(bank + (J + j) * bank_f + f, mask=there & (j < J), other=0.0)[:, None, None] * W
        U_re, U_im = load_complex(U, (row_f * u_f + row_b * u_b) // 2, first_d, D, inside, d_tile)
        U_re = tl.reshape(U_re, [f_tile, b_tile, d_tile])
        U_im = tl.reshape(U_im, [f_tile, b_tile, d_tile])
        Y_re = tl.dot(U_re, H_re, Y_re, input_precision="ieee")
        Y_re = tl.dot(-U_im, H_im, Y_re, input_precision="ieee")
        Y_im = tl.dot(U_re, H_im, Y_im, input_precision="ieee")
        Y_im = tl.dot(U_im, H_re, Y_im, input_precision="ieee")
    Y_re = tl.reshape(Y_re, [f_tile * b_tile, o_tile])
    Y_im = tl.reshape(Y_im, [f_tile * b_tile, o_tile])
    store_complex(Y, (row_f * B + row_b) * D_out, first_o, D_out, inside, Y_re, Y_im)


@triton.jit
def _weights_gradient(
    U,
    G,
    bank,
    sums,
    F,
    B,
    D,
    D_out,
    J,
    bank_f,
    shares,
    u_f,
    u_b,
    g_f,
    g_b,
    f_tile: tl.constexpr,
    d_tile: tl.constexpr,
    o_tile: tl.constexpr,
    j_tile: tl.constexpr,
    k_tile: tl.constexpr,
):
    """One share of the frequencies and a block of filters, inputs and outputs, into sums (shares, J, D, D_out).

    C = sum_b conj(U) G has Re C = (Re U, Im U) (Re G, Im G) and Im C = (Re U, Im U) (Im G, -Re G), sums over b and the
    two parts together: k counts both.
    """
    share, block_d = tl.program_id(1) % shares, tl.program_id(1) // shares
    o = tl.program_id(0) * o_tile + tl.arange(0, o_tile)[None, None, :]
    d = block_d * d_tile + tl.arange(0, d_tile)[None, :, None]
    j = tl.program_id(2) * j_tile + tl.arange(0, j_tile)[:, None]
    part_row, part_column = tl.arange(0, k_tile)[None, None, :], tl.arange(0, k_tile)[None, :, None]
    total = tl.zeros([j_tile, d_tile * o_tile], tl.float32)
    steps = tl.cdiv(tl.cdiv(F, shares), f_tile) * f_tile
    for first_f in range(share * steps, min((share + 1) * steps, F), f_tile):
        f = (first_f + tl.arange(0, f_tile)).to(tl.int64)[:, None, None]
        C_re = tl.zeros([f_tile, d_tile, o_tile], tl.float32)
        C_im = tl.zeros([f_tile, d_tile, o_tile], tl.float32)
        for first_k in range(0, 2 * B, k_tile):
            k, q = first_k + part_row, first_k + part_column
            u_mask = (f < F) & (d < D) & (k < 2 * B)
            g_mask = (f < F) & (o < D_out) & (q < 2 * B)
            u = tl.load(U + f * u_f + (k // 2) * u_b + 2 * d + k % 2, mask=u_mask, other=0.0)
            g_row = G + f * g_f + (q // 2) * g_b + 2 * o
            g = tl.load(g_row + q % 2, mask=g_mask, other=0.0)
            turned = tl.load(g_row + (1 - q % 2), mask=g_mask, other=0.0) * (1 - 2 * (q % 2)).to(tl.float32)
            C_re = tl.dot(u, g, C_re, input_precision="ieee")
            C_im = tl.dot(u, turned, C_im, input_precision="ieee")
        place = j * bank_f + first_f + tl.arange(0, f_tile)
        re = tl.load(bank + place, mask=j < J, other=0.0)
        im = tl.load(bank + J * bank_f + place, mask=j < J, other=0.0)
        total = tl.dot(re, tl.reshape(C_re, [f_tile, d_tile * o_tile]), total, input_precision="ieee")
        total = tl.dot(im, tl.reshape(C_im, [f_tile, d_tile * o_tile]), total, input_precision="ieee")
    block = tl.reshape(total, [j_tile, d_tile, o_tile])
    place = ((share * J + j[:, :, None]) * D + d).to(tl.int64) * D_out + o
    tl.store(sums + place, block, mask=(j[:, :, None] < J) & (d < D) & (o < D_out))
