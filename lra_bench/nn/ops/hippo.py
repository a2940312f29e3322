"""The HiPPO-LegS matrix and its normal plus low-rank form. No torch here."""

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


def legs(d_state: int) -> tuple[Real, Real, Real]:
    """The HiPPO matrix for scaled Legendre polynomials, and the vector that makes it normal.

        A_nk = -sqrt(2n + 1) sqrt(2k + 1) for n > k, -(n + 1) for n = k, 0 above;  B_n = sqrt(2n + 1);  P_n^2 = n + 1/2

    Source: Gu et al., "Efficiently Modeling Long Sequences with Structured State Spaces", arXiv 2111.00396,
    equation 2 and appendix C.1.

    Args:
        d_state: N.

    Returns:
        A: (N, N).
        B: (N,).
        P: (N,); A + P P^T is normal, with -1/2 on its diagonal and skew-symmetric elsewhere.
    """
    n = np.arange(d_state)
    B = np.sqrt(2 * n + 1.0)
    A = -np.tril(np.outer(B, B), -1) - np.diag(n + 1.0)
    return A, B, np.sqrt(n + 0.5)


def legs_spectrum(d_state: int) -> tuple[Complex, Complex]:
    """Eigenvalues and eigenvectors of the normal part of HiPPO-LegS: A + P P^T = V diag(lambda) V^*.

    Eigenvectors have the phase that LAPACK gives them in the authors' code: the first row is real. It is positive
    here, where LAPACK's sign is arbitrary.

    Args:
        d_state: N.

    Returns:
        eigenvalues: (N,), real parts -1/2, imaginary parts ascending; for even N the first half are the conjugates of
            the second.
        V: (N, N) unitary.
    """
    A, _, P = legs(d_state)
    normal = A + np.outer(P, P)
    frequencies, V = np.linalg.eigh((normal - normal.T) / 2j)
    return -0.5 + 1j * frequencies, V * (V[0].conj() / np.abs(V[0]))
