"""Spectral filters: the leading eigenpairs of the Hankel matrices of Spectral State Space Models. No torch here."""

import contextlib
import math
import os
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from platformdirs import user_cache_dir

from lra_bench.core.errors import ConfigError
from lra_bench.core.files import replacing

Array = NDArray[np.float64]
Integers = NDArray[np.object_]

Hankel = Literal["Z", "Z_L"]
"""Which matrix: Z stands for eigenvalues in [0, 1], Z_L for those in [-1, 1]."""

Entries = Callable[[Integers, int], Integers]
"""Entries of a Hankel matrix with i + j given, i, j = 1, 2, ...; as multiples of 1 / the second argument."""

FILTERS_VERSION = 1
"""Part of the cache file's name: raised whenever the numbers change."""


@lru_cache(maxsize=32)
def spectral_filters(seq_len: int, num_filters: int, hankel: Hankel = "Z") -> tuple[Array, Array]:
    """Leading eigenpairs of an L x L Hankel matrix, i, j = 1..L.

        Z_ij = 2 / ((i+j)^3 - (i+j)),    Z_L_ij = 8 ((-1)^(i+j) + 1) / ((i+j+3) (i+j-1) (i+j+1))

    Correct to 1e-9 for every L and K, also where an eigenvalue lies far below float64's resolution of the matrix.
    Computed once per matrix, then read from `LRA_BENCH_CACHE_DIR` (default: the platform's cache folder).
    Source: Agarwal et al., "Spectral State Space Models", arXiv 2312.06837, section 2; Z_L as in `get_hankel`
    of src/utils/hankel.py of hazan-lab/tensorized-filters.

    Args:
        seq_len: L, at least 1.
        num_filters: K, at most L.
        hankel: which matrix.

    Returns:
        sigma: (K,) float64, eigenvalues, descending.
        phi: (L, K) float64, orthonormal columns; each one's entry of largest magnitude is positive. Both read-only.

    Raises:
        ConfigError: K is not within 1..L.
    """
    if not 1 <= num_filters <= seq_len:
        raise ConfigError(f"model.num_filters must be between 1 and the sequence length, {seq_len}; got {num_filters}")
    sigma, phi = _cached(seq_len, num_filters, hankel)
    sigma.flags.writeable = phi.flags.writeable = False
    return sigma, phi


def _cached(L: int, K: int, hankel: Hankel) -> tuple[Array, Array]:
    """From the disk cache, which is filled if it can be. A file that cannot be read is made anew."""
    prefix, compute = ("stu", compute_filters) if hankel == "Z" else ("stu_zl", compute_signed_filters)
    path = cache_folder() / f"{prefix}_v{FILTERS_VERSION}_L{L}_K{K}.npz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            filters = _read(path, L, K)
            if filters is None:
                filters = compute(L, K)
                with replacing(path) as temporary, temporary.open("wb") as file:
                    np.savez(file, sigma=filters[0], phi=filters[1])
    except OSError:
        filters = _read(path, L, K) or compute(L, K)
    return filters


def cache_folder() -> Path:
    """Where filters are kept."""
    return Path(os.environ.get("LRA_BENCH_CACHE_DIR") or user_cache_dir("lra-bench")) / "filters"


def _read(path: Path, L: int, K: int) -> tuple[Array, Array] | None:
    """The filters in a cache file; None where there is none, or not a sound one."""
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            sigma, phi = stored["sigma"], stored["phi"]
        if sigma.shape == (K,) and phi.shape == (L, K) and sigma.dtype == phi.dtype == np.float64:
            return sigma, phi
    return None


def compute_filters(seq_len: int, num_filters: int) -> tuple[Array, Array]:
    """As `spectral_filters` of Z, always computed."""
    return _leading_eigenpairs(_plain, seq_len, num_filters)


def compute_signed_filters(seq_len: int, num_filters: int) -> tuple[Array, Array]:
    """As `spectral_filters` of Z_L, always computed.

    Entries with i + j odd are zero, so Z_L is a Hankel matrix on the odd indices and another on the even ones, each as
    smooth as Z. The latter lies below the former and above what the former is without its first row and column (its
    measure on [0, 1] is t times the former's), so their eigenvalues take turns, the odd block's first.
    """
    sigma, phi = np.zeros(num_filters), np.zeros((seq_len, num_filters))
    for start, entries in enumerate((_odd_block, _even_block)[:num_filters]):
        rows, columns = len(range(start, seq_len, 2)), len(range(start, num_filters, 2))
        sigma[start::2], phi[start::2, start::2] = _leading_eigenpairs(entries, rows, columns)
    return sigma, phi


def _plain(s: Integers, one: int) -> Integers:
    z: Integers = 2 * one // (s**3 - s)
    return z


def _odd_block(s: Integers, one: int) -> Integers:
    z: Integers = 16 * one // ((2 * s + 1) * (2 * s - 1) * (2 * s - 3))
    return z


def _even_block(s: Integers, one: int) -> Integers:
    z: Integers = 16 * one // ((2 * s + 3) * (2 * s + 1) * (2 * s - 1))
    return z


def _leading_eigenpairs(entries: Entries, size: int, count: int) -> tuple[Array, Array]:
    """(count,) eigenvalues, descending, and (size, count) eigenvectors of a positive Hankel matrix.

    Eigenvalues fall geometrically, to 1e-97 at L = K = 64, so an eigensolver run in float64 returns noise.
    Instead: (1) the matrix ~ X diag(d) X^T by pivoted Cholesky in long fixed-point arithmetic, which leaves X well
    conditioned and all the grading in d; the columns of X are smooth, so this is done for a sample of rows and the
    others are interpolated; (2) QR and one-sided Jacobi rotations of X diag(sqrt(d)) in float64, which keep the
    relative accuracy of every singular value and vector of such a product (Demmel et al., "Computing the singular
    value decomposition with high relative accuracy", Linear Algebra Appl. 299, 1999).
    """
    panels = _panels(size, count + 32)
    sample = np.unique(np.concatenate(panels))
    X, d = _pivoted_cholesky(entries, sample, count)
    Q, R = np.linalg.qr(_interpolated(panels, sample, X) * d)
    U, s = _one_sided_jacobi(R)
    phi = (Q @ U)[:, :count]
    peak = np.abs(phi).argmax(axis=0)
    phi *= np.sign(np.take_along_axis(phi, peak[None], axis=0))
    return s[:count] ** 2, np.ascontiguousarray(phi)


def _panels(L: int, nodes: int) -> list[Array]:
    """Rows 1..L in dyadic panels that share their ends; at most `nodes` rows of each, near Chebyshev points."""
    first = min(L, 2 * nodes)
    panels = [np.arange(1.0, first + 1)]
    while first < L:
        last = min(2 * first, L)
        points = np.cos(np.pi * np.arange(nodes) / (nodes - 1))
        panels.append(np.unique(np.round((first + last - (last - first) * points) / 2)))
        first = last
    return panels


def _interpolated(panels: list[Array], sample: Array, X: Array) -> Array:
    """All rows of a matrix of which a sample is known, by barycentric interpolation within each panel."""
    parts = [X[: len(panels[0])]]
    for nodes in panels[1:]:
        known = X[np.searchsorted(sample, nodes)]
        gaps = 4 * (nodes[:, None] - nodes) / (nodes[-1] - nodes[0]) + np.eye(len(nodes))
        rows = np.arange(nodes[0] + 1, nodes[-1] + 1)
        distances = rows[:, None] - nodes
        hit = distances == 0
        weights = 1 / gaps.prod(axis=1) / np.where(hit, 1, distances)
        weights = np.where(hit.any(axis=1, keepdims=True), hit, weights)
        parts.append(weights / weights.sum(axis=1, keepdims=True) @ known)
    return np.concatenate(parts)


def _pivoted_cholesky(entries: Entries, rows: Array, K: int, bits: int = 128) -> tuple[Array, Array]:
    """X (len(rows), r), within [-1, 1], and sqrt(d) (r,): X diag(d) X^T is the matrix at the given rows and columns.

    What is left over is below 1e-8 of the K-th eigenvalue. Integers stand for multiples of 2^-bits. The K-th pivot
    must be 2^64 of them or more, which leaves ample room for that accuracy and for rounding; where it is not,
    everything is done again with twice the bits.
    """
    i = rows.astype(int).astype(object)
    one = 1 << bits
    rest = entries(2 * i, one)
    columns: list[Integers] = []
    pivots: list[int] = []
    while len(pivots) < len(i):
        p = int(rest.argmax())
        if len(pivots) > K and int(rest[p]) * int(i[-1]) * 10**8 < pivots[K - 1]:
            break
        if len(pivots) < K and rest[p] < 1 << 64:
            return _pivoted_cholesky(entries, rows, K, 2 * bits)
        column = entries(i + i[p], one)
        if columns:
            column -= sum(x * (x[p] * d >> bits) for x, d in zip(columns, pivots, strict=True)) >> bits
        column = column * one // column[p]
        pivots.append(int(rest[p]))
        columns.append(column)
        rest -= (column * column >> bits) * pivots[-1] >> bits
    X = np.stack([(x / one).astype(np.float64) for x in columns], axis=1)
    return X, np.array([math.isqrt(d << bits) / one for d in pivots])


def _one_sided_jacobi(R: Array) -> tuple[Array, Array]:
    """Left singular vectors (r, r) and singular values (r,), descending, of a square R with graded columns.

    Plane rotations from the right until all columns are orthogonal (Hestenes).
    """
    A = R.copy().T
    r = len(A)
    for _sweep in range(60):
        rotated = False
        for p in range(r - 1):
            for q in range(p + 1, r):
                a, b, c = A[p] @ A[p], A[q] @ A[q], A[p] @ A[q]
                if abs(c) <= 1e-15 * math.sqrt(a) * math.sqrt(b):
                    continue
                rotated = True
                zeta = (b - a) / (2 * c)
                t = math.copysign(1.0, zeta) / (abs(zeta) + math.hypot(1.0, zeta))
                cos = 1 / math.hypot(1.0, t)
                A[p], A[q] = cos * (A[p] - t * A[q]), cos * (A[q] + t * A[p])
        if not rotated:
            break
    s = np.linalg.norm(A, axis=1)
    order = np.argsort(-s)
    return (A[order] / s[order, None]).T, s[order]
