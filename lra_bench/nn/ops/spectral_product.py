"""Products U(w) H(w), H(w) = sum_j phi_j(w) W_j, over a band of frequencies; no autograd here.

`response` builds H(w) for some frequencies by one real product of matrices and multiplies by it: cheap where many
sequences share it. `terms` makes phi_j(w) U(w) for all j and multiplies by all W_j at once: one large product, and H is
never written; cheaper where there are one or two sequences. `elementwise` builds H(w) too and takes few calls, for
matrices of a few numbers. On CUDA, `kernel` builds H where it is used.

Each has the gradients at hand: the input's is the same product with the conjugate of phi_j and the transposed W_j, and
that of W_j needs nothing but what was made for it.
"""

from typing import Literal

import torch
from torch import Tensor

from lra_bench.nn.ops import kernels

Order = Literal["response", "terms", "elementwise", "kernel"]

_PLANES = {"response": (1, 2, 4, 0, 3), "terms": (1, 2, 0, 4, 3)}
_BACK = {"response": (3, 0, 1, 4, 2), "terms": (2, 0, 1, 4, 3)}


def planes(U: Tensor, order: Order) -> Tensor:
    """(B, F, G, D) complex -> (F, G, 2, B, D) real for `response`, (F, G, B, 2, D) for `terms`.

    They stay complex for the others: (F, B, G, D), and (F, B, D) for the kernel, which knows no groups.
    """
    if order == "elementwise":
        return U.transpose(0, 1)
    if order == "kernel":
        return U[:, :, 0].transpose(0, 1).contiguous()
    return torch.view_as_real(U).permute(_PLANES[order]).contiguous()


def from_planes(P: Tensor, order: Order) -> Tensor:
    """The inverse of `planes`."""
    if order == "elementwise":
        return P.transpose(0, 1)
    if order == "kernel":
        return P.transpose(0, 1)[:, :, None]
    return torch.view_as_complex(P.permute(_BACK[order]).contiguous())


def multiply(
    order: Order,
    U: Tensor,
    table: Tensor,
    weights: Tensor,
    conjugate: bool,
    at_once: int,
    out: Tensor | None,
    partner: Tensor | None = None,
) -> Tensor | None:
    """The product over one band, written to `out`, and the sum that is the gradient of the weights.

    Args:
        order: which way.
        U: planes of F frequencies, G groups, D channels.
        table: (F, 2, J) real and imaginary part of each phi_j.
        weights: (J, G, D, Do).
        conjugate: multiply by conj(phi_j) instead.
        at_once: frequencies for which H, or all terms, are held at once.
        out: planes of Do channels; None where the product is not asked for.
        partner: planes of Do channels.

    Returns:
        (J, G, D, Do): sum over frequencies and sequences of Re conj(phi_j U) (x) partner, each phi_j conjugated first
        where asked; None without a partner.
    """
    work = {"response": _by_response, "terms": _by_terms, "elementwise": _by_element, "kernel": _by_kernel}[order]
    return work(U, table, weights, conjugate, at_once, out, partner)


def _by_response(
    U: Tensor,
    table: Tensor,
    weights: Tensor,
    conjugate: bool,
    at_once: int,
    out: Tensor | None,
    partner: Tensor | None,
) -> Tensor | None:
    J, G, D, Do = weights.shape
    F, B = len(U), U.shape[3]
    matrix = weights.reshape(J, -1)
    left = _stacked(U, conjugate)
    buffer = matrix.new_empty(2 * min(at_once, F), G * D * Do)
    total = None if partner is None else torch.zeros_like(matrix)
    for start in range(0, F, at_once):
        f = min(at_once, F - start)
        part, H = slice(start, start + f), buffer[: 2 * f]
        rows, S = table[part].reshape(2 * f, J), left[part].view(f * G, 2 * B, 2 * D)
        if out is not None:
            torch.mm(rows, matrix, out=H)
            torch.bmm(S, _by_group(H, f, 2, G, D * Do).view(-1, 2 * D, Do), out=out[part].view(f * G, 2 * B, Do))
        if total is not None and partner is not None:
            dH = H if G == 1 else torch.empty_like(H)
            torch.bmm(S.transpose(1, 2), partner[part].view(f * G, 2 * B, Do), out=dH.view(-1, 2 * D, Do))
            total.addmm_(rows.T, _by_group(dH, f, G, 2, D * Do).view(2 * f, -1))
    return None if total is None else total.view(J, G, D, Do)


def _by_group(x: Tensor, f: int, first: int, second: int, size: int) -> Tensor:
    """(f, first, second, size) -> (f, second, first, size), a view where one of the two is 1."""
    return x.view(f, first, second, size).transpose(1, 2).contiguous()


def _stacked(U: Tensor, conjugate: bool) -> Tensor:
    """Rows that [Re H; Im H] takes to Re and Im of the product: (F, G, 2, B, D) -> (F, G, 2, B, 2, D)."""
    real, imag = U.unbind(2)
    S = U.new_empty(*U.shape[:4], 2, U.shape[4])
    S[..., 0, :] = U
    first, second = (imag, real) if conjugate else (real, imag)
    torch.neg(second, out=S[:, :, int(conjugate), :, 1])
    S[:, :, 1 - int(conjugate), :, 1] = first
    return S


def _by_terms(
    U: Tensor,
    table: Tensor,
    weights: Tensor,
    conjugate: bool,
    at_once: int,
    out: Tensor | None,
    partner: Tensor | None,
) -> Tensor | None:
    J, G, D, Do = weights.shape
    F, B = len(U), U.shape[2]
    matrix = weights.transpose(0, 1).reshape(G, J * D, Do)
    factors = _crossed(table, conjugate)
    total = None if partner is None else torch.zeros_like(matrix)
    for start in range(0, F, at_once):
        f = min(at_once, F - start)
        part = slice(start, start + f)
        phi = factors[part, None].expand(f, G * B, 2 * J, 2).reshape(-1, 2 * J, 2)
        terms = torch.bmm(phi, U[part].reshape(-1, 2, D)).view(f, G, B * 2 * J * D)
        terms = terms.transpose(0, 1).reshape(G, f * B * 2, J * D)
        if out is not None:
            out[part] = torch.bmm(terms, matrix).view(G, f, B, 2, Do).transpose(0, 1)
        if total is not None and partner is not None:
            other = partner[part].transpose(0, 1).reshape(G, f * B * 2, Do)
            total.baddbmm_(terms.transpose(1, 2), other)
    return None if total is None else total.view(G, J, D, Do).transpose(0, 1)


def _crossed(table: Tensor, conjugate: bool) -> Tensor:
    """What takes (Re u; Im u) to Re, then Im, of each phi_j u: (F, 2, J) -> (F, 2 J, 2)."""
    real, imag = table.unbind(1)
    imag = -imag if conjugate else imag
    return torch.stack([real, -imag, imag, real], dim=-1).view(len(table), -1, 2, 2).transpose(1, 2).flatten(1, 2)


def _by_element(
    U: Tensor,
    table: Tensor,
    weights: Tensor,
    conjugate: bool,
    at_once: int,
    out: Tensor | None,
    partner: Tensor | None,
) -> Tensor | None:
    J, G, D, Do = weights.shape
    matrix = weights.reshape(J, -1)
    total = None if partner is None else torch.zeros_like(matrix)
    for start in range(0, len(U), at_once):
        part = slice(start, start + at_once)
        rows = table[part].flatten(0, 1)
        if out is not None:
            real, imag = (rows @ matrix).view(-1, 2, 1, G, D, Do).unbind(1)
            H = torch.complex(real, -imag if conjugate else imag)
            torch.sum(U[part, ..., None] * H, dim=-2, out=out[part])
        if total is not None and partner is not None:
            dH = (U[part, ..., None].conj() * partner[part, :, :, None]).sum(1)
            imag = -dH.imag if conjugate else dH.imag
            total.addmm_(rows.T, torch.stack([dH.real, imag], dim=1).view(len(rows), -1))
    return None if total is None else total.view(J, G, D, Do)


def has_kernels(device: torch.device) -> bool:
    """Whether the order `kernel` is to be had."""
    return device.type == "cuda" and all(
        kernels.find(name, device) is not None for name in ("spectral_product", "spectral_product_weights")
    )


def _by_kernel(
    U: Tensor,
    table: Tensor,
    weights: Tensor,
    conjugate: bool,
    at_once: int,
    out: Tensor | None,
    partner: Tensor | None,
) -> Tensor | None:
    product, of_weights = (kernels.find(n, U.device) for n in ("spectral_product", "spectral_product_weights"))
    signs = torch.tensor([1, -1 if conjugate else 1], dtype=table.dtype, device=table.device)
    phi = table * signs[:, None]
    if out is not None and product is not None:
        out.copy_(product(U, phi, weights[:, 0].contiguous()))
    if partner is None or of_weights is None:
        return None
    return of_weights(U, partner, phi)[:, None]  # type: ignore[no-any-return]
