"""Random linear dynamical systems and their data. NumPy alone: usable without torch, Lightning or any trainer.

    x_t = A x_{t-1} + B u_t + w_t,    y_t = C x_t + D u_t + v_t,    x_{-1} = 0

All arithmetic is float64. A system is kept in modal form, where A is diagonal and the recurrence is a scan.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

Spectrum = Literal[
    "real_marginal", "positive_marginal", "negative_marginal", "complex_marginal", "real_uniform", "complex_disc", "gap"
]
ONE_SIGN = {"positive_marginal": 1.0, "negative_marginal": -1.0}
COMPLEX_SPECTRA: frozenset[str] = frozenset({"complex_marginal", "complex_disc"})
SKEW = 10.0
"""Condition number of the eigenbasis of an asymmetric A."""
NARROW = 64
"""States below which a scan lays its factors out in full."""


@dataclass(frozen=True)
class LinearSystem:
    """One system, real and modal.

    Attributes:
        A: (n, n) real state matrix.
        B: (n, d_in) real.
        C: (d_out, n) real.
        D: (d_out, d_in) real.
        eigenvalues: (n,) of A; real dtype where the spectrum is real.
        to_modal: (n, n) inverse of the eigenvectors of A.
        from_modal: (n, n) eigenvectors of A.
        process_noise: standard deviation of each entry of w_t.
        observation_noise: standard deviation of each entry of v_t.
    """

    A: NDArray[np.float64]
    B: NDArray[np.float64]
    C: NDArray[np.float64]
    D: NDArray[np.float64]
    eigenvalues: NDArray[np.inexact]
    to_modal: NDArray[np.inexact]
    from_modal: NDArray[np.inexact]
    process_noise: float = 0.0
    observation_noise: float = 0.0

    @property
    def noisy(self) -> bool:
        """Whether outputs are not a function of the inputs."""
        return self.process_noise > 0 or self.observation_noise > 0


def draw_system(
    rng: np.random.Generator,
    d_in: int = 3,
    d_state: int = 4,
    d_out: int = 3,
    spectrum: Spectrum = "real_marginal",
    stability: float = 0.9999,
    symmetric: bool = True,
    process_noise: float = 0.0,
    observation_noise: float = 0.0,
) -> LinearSystem:
    """Draw a system: B and C unit Gaussian, D diagonal unit Gaussian, A from its spectrum.

    The defaults are the marginally stable system of "Spectral State Space Models" (arXiv 2312.06837, section 3).

    Args:
        rng: source of all randomness.
        d_in: inputs.
        d_state: states; even for a complex spectrum.
        d_out: outputs.
        spectrum: law of the eigenvalues, see `draw_eigenvalues`.
        stability: largest modulus of an eigenvalue.
        symmetric: A symmetric; otherwise its eigenbasis has condition number `SKEW`.
        process_noise: standard deviation of w_t.
        observation_noise: standard deviation of v_t.
    """
    eigenvalues = draw_eigenvalues(rng, d_state, spectrum, stability)
    B = rng.standard_normal((d_state, d_in))
    C = rng.standard_normal((d_out, d_state))
    D = np.zeros((d_out, d_in))
    np.fill_diagonal(D, rng.standard_normal(min(d_in, d_out)))
    basis = np.eye(d_state) if symmetric else _skewed_basis(rng, d_state)
    from_modal = basis @ _pair_basis(d_state) if spectrum in COMPLEX_SPECTRA else basis
    to_modal = np.linalg.inv(from_modal)
    A = ((from_modal * eigenvalues) @ to_modal).real
    return LinearSystem(A, B, C, D, eigenvalues, to_modal, from_modal, process_noise, observation_noise)


def draw_eigenvalues(
    rng: np.random.Generator, d_state: int, spectrum: Spectrum, stability: float
) -> NDArray[np.inexact]:
    """Draw (d_state,) eigenvalues of modulus at most `stability`; complex ones as adjacent conjugate pairs.

    real_marginal: stability times a random sign (the paper's). positive_marginal, negative_marginal: all of one sign,
    so A is a multiple of the identity. complex_marginal: on the circle, uniform phase.
    real_uniform: uniform on the real interval. complex_disc: uniform on the disc. gap: one at +stability, the
    others uniform on the real interval of half its length.
    """
    if spectrum == "real_marginal":
        return stability * rng.choice([-1.0, 1.0], d_state)
    if spectrum in ONE_SIGN:
        return np.full(d_state, ONE_SIGN[spectrum] * stability)
    if spectrum == "real_uniform":
        return stability * rng.uniform(-1, 1, d_state)
    if spectrum == "gap":
        return stability * np.concatenate([[1.0], rng.uniform(-0.5, 0.5, d_state - 1)])
    radius = np.ones(d_state // 2) if spectrum == "complex_marginal" else np.sqrt(rng.uniform(0, 1, d_state // 2))
    upper = stability * radius * np.exp(1j * rng.uniform(0, np.pi, d_state // 2))
    return np.stack([upper, upper.conj()], axis=1).reshape(-1)


def draw_noise(
    rng: np.random.Generator, system: LinearSystem, length: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Noise of one sequence: w (length, n) on the states and v (length, d_out) on the outputs."""
    process = system.process_noise * rng.standard_normal((length, len(system.A)))
    observation = system.observation_noise * rng.standard_normal((length, len(system.C)))
    return process, observation


def simulate(
    system: LinearSystem,
    u: NDArray[np.float64],
    noise: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> NDArray[np.float64]:
    """Outputs (B, L, d_out) from rest, for inputs u (B, L, d_in) and noise w (B, L, n), v (B, L, d_out) if given."""
    drive = u @ (system.to_modal @ system.B).T
    direct = u @ system.D.T
    if noise is not None:
        process, observation = noise
        drive = drive + process @ system.to_modal.T
        direct = direct + observation
    states = diagonal_scan(system.eigenvalues, drive)
    return (states @ (system.C @ system.from_modal).T).real + direct


def diagonal_scan(eigenvalues: NDArray[np.inexact], drive: NDArray[np.inexact]) -> NDArray[np.inexact]:
    """x_t = eigenvalues * x_{t-1} + drive_t over axis 1 of (B, L, n), in log2(L) vectorised passes over each sequence.

    A sequence at a time stays in the processor's cache. Narrow ones meet factors laid out in full, since NumPy walks
    an array in runs as long as what it broadcasts.
    """
    x = np.array(drive, dtype=np.result_type(eigenvalues, drive))
    length, width = x.shape[1:]
    powers = [np.tile(eigenvalues, (length, 1)) if width < NARROW else eigenvalues[None]]
    while 1 << len(powers) < length:
        powers.append(powers[-1] * powers[-1])
    product = np.empty_like(x, shape=(length, width))
    for sequence in x:
        for level, power in enumerate(powers):
            kept = length - (1 << level)
            np.multiply(power[:kept], sequence[:kept], out=product[:kept])
            sequence[length - kept :] += product[:kept]
    return x


def output_variance(system: LinearSystem, length: int) -> float:
    """Exact variance of y under unit Gaussian inputs, averaged over `length` steps and all outputs."""
    powers = system.eigenvalues[None, :] ** np.arange(length)[:, None]
    read = system.C @ system.from_modal

    def energy(write: NDArray[np.inexact]) -> NDArray[np.float64]:
        """Cumulative energy of the impulse responses into one output, mean over outputs."""
        response = np.einsum("on,ln,ni->loi", read, powers, write).real
        return np.cumsum((response**2).sum(axis=(1, 2))) / len(read)

    direct = (system.C @ system.B + system.D) ** 2 - (system.C @ system.B) ** 2
    variance = energy(system.to_modal @ system.B) + direct.sum() / len(read)
    variance = variance + system.process_noise**2 * energy(system.to_modal) + system.observation_noise**2
    return float(variance.mean())


def kalman_one_step(system: LinearSystem, u: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Best prediction of y_t from u_0..u_t and the noisy y_0..y_{t-1}, by the Kalman filter of the true system.

    Args:
        system: that made the data.
        u: (B, L, d_in) inputs.
        y: (B, L, d_out) outputs.

    Returns:
        (B, L, d_out) predictions. A model that reads only inputs cannot reach them.
    """
    n = len(system.A)
    process = system.process_noise**2 * np.eye(n)
    observation = system.observation_noise**2 * np.eye(len(system.C))
    state, covariance = np.zeros((len(u), n)), np.zeros((n, n))
    predictions = np.empty_like(y)
    for t in range(u.shape[1]):
        state = state @ system.A.T + u[:, t] @ system.B.T
        covariance = system.A @ covariance @ system.A.T + process
        predictions[:, t] = state @ system.C.T + u[:, t] @ system.D.T
        innovation = system.C @ covariance @ system.C.T + observation
        gain = covariance @ system.C.T @ np.linalg.pinv(innovation, hermitian=True)
        state = state + (y[:, t] - predictions[:, t]) @ gain.T
        covariance = covariance - gain @ system.C @ covariance
    return predictions


def monic_chebyshev(degree: int) -> NDArray[np.float64]:
    """Coefficients 1, c_1, ..., c_n of x^n, x^(n-1), ..., 1 in the Chebyshev polynomial scaled to a leading 1.

    Of all monic polynomials it is the smallest on [-1, 1], where it stays within 2^(1-n).
    """
    coefficients = chebyshev.cheb2poly(np.eye(degree + 1)[degree])[::-1]
    return coefficients / coefficients[0]


def _pair_basis(d_state: int) -> NDArray[np.complex128]:
    """Eigenvectors of a block-diagonal matrix of plane rotations, in the order of `draw_eigenvalues`."""
    block = np.array([[1, 1], [-1j, 1j]]) / np.sqrt(2)
    return np.kron(np.eye(d_state // 2), block)


def _skewed_basis(rng: np.random.Generator, d_state: int) -> NDArray[np.float64]:
    """A random real basis of condition number `SKEW`."""
    left, _ = np.linalg.qr(rng.standard_normal((d_state, d_state)))
    right, _ = np.linalg.qr(rng.standard_normal((d_state, d_state)))
    return (left * np.geomspace(1, SKEW, d_state)) @ right
