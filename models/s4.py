"""S4, the structured state space model: HiPPO, diagonal plus low rank."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lra_bench.core.mixer import MixerConfig
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.nn.convolution import ChannelConvolution
from lra_bench.nn.ops.cauchy import conjugate_poles
from lra_bench.nn.ops.hippo import legs, legs_spectrum
from lra_bench.nn.ops.precision import at_least_float32

MAX_IMAGINARY_B = 2.0
"""To which the authors clip the imaginary part of the initial B."""


@dataclass(frozen=True)
class S4Config(MixerConfig):
    """Knobs of S4.

    Attributes:
        d_state: N, states of each channel, in N/2 conjugate pairs; even.
        n_ssm: copies of A, B and P, each shared by d_model / n_ssm channels; None: one for each channel.
        rank: of the correction to the diagonal. HiPPO-LegS has rank 1; further vectors start at small random numbers.
        dt_min: smallest time step at the start; log-uniform over channels.
        dt_max: largest time step at the start.
        lr_scale: multiplier of the learning rate of A, P, B and dt, which also have no weight decay. The authors take
            0.001 beside a main rate of 0.01 in four of six Long Range Arena recipes, hence 0.1.
    """

    d_state: int = 64
    n_ssm: int | None = None
    rank: int = 1
    dt_min: float = 0.001
    dt_max: float = 0.1
    lr_scale: float = 0.1

    def __post_init__(self) -> None:
        require(self.d_state >= 2 and self.d_state % 2 == 0, "model.d_state", "even and at least 2", self.d_state)
        require(self.n_ssm is None or self.n_ssm >= 1, "model.n_ssm", "at least 1, or null", self.n_ssm)
        require(self.rank >= 1, "model.rank", "at least 1", self.rank)
        require(self.dt_min > 0, "model.dt_min", "above 0", self.dt_min)
        require(self.dt_max >= self.dt_min, "model.dt_max", "at least model.dt_min", self.dt_max)
        require(self.lr_scale >= 0, "model.lr_scale", "at least 0", self.lr_scale)


class S4State(NamedTuple):
    """What a step needs: the states x, (B, H, N/2) complex, and C in discrete time, (H, N/2) complex, fixed."""

    x: Tensor
    C: Tensor


class S4(ChannelConvolution):
    """One state space model for each channel, with a diagonal plus low-rank state matrix, run as a convolution.

        x' = (Lambda - P P^*) x + B u,    y = 2 Re(C x) + D u

    discretised by the bilinear rule with the channel's own step dt; conjugate pairs are stored once, hence the
    factor 2. The parameter C is the C (I - A^L) of the paper, A discrete and L the longest sequence: with it the
    transform of the kernel is a sum of poles, and no power of A is needed. That is also what the authors' code trains.

    Paper: Gu et al., "Efficiently Modeling Long Sequences with Structured State Spaces", arXiv 2111.00396, section 3
    and appendix C.3. Numbers match `SSMKernelDPLR` and `FFTConv` in models/s4/s4.py of state-spaces/s4 (commit
    e757cef5), where the stored imaginary part of A has the opposite sign.

    Differences: activation, GLU and output projection are the backbone's; one direction only; the kernel is always that
    of the longest sequence, cut; the sum of poles is written so that it is not singular at w = -1; vectors of P beyond
    the first do not start at zero, where their gradient is zero.
    """

    Config = S4Config
    cfg: S4Config

    def __init__(self, cfg: S4Config, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        H, pairs = ctx.d_model, cfg.d_state // 2
        copies = cfg.n_ssm or H
        require(ctx.d_out == H, "d_out of s4", f"its d_model, {H}", ctx.d_out)
        require(H % copies == 0, "model.n_ssm", f"a divisor of the model's width, {H}", copies)
        frequencies, B, P = initial_dynamics(cfg.d_state)
        further = 0.01 * torch.randn(cfg.rank - 1, copies, pairs, 2)
        log_range = math.log(cfg.dt_max / cfg.dt_min)
        self.log_dt = nn.Parameter(torch.rand(H) * log_range + math.log(cfg.dt_min))
        self.log_A_real = nn.Parameter(torch.full((copies, pairs), math.log(0.5)))
        self.A_imag = nn.Parameter(frequencies.repeat(copies, 1))
        self.B = nn.Parameter(B.repeat(copies, 1, 1))
        self.P = nn.Parameter(torch.cat([P.repeat(1, copies, 1, 1), further]))
        self.C = nn.Parameter(torch.randn(H, pairs, 2) / math.sqrt(2))
        self.D = nn.Parameter(torch.randn(H))
        with torch.no_grad():
            rows = _real_rows(self.C)
            self.C.copy_(_pairs(rows - (rows[:, None] @ self._decay()).squeeze(1)))

    def kernels(self, seq_len: int, dtype: torch.dtype) -> Tensor:
        """(H, seq_len), those of the longest sequence, cut: K[h, l] = 2 Re(C A^l B), all three of discrete time.

        In terms of the parameter C, its transform at w = exp(-i t) is exp(i t/2) C (i sin(t/2) - M cos(t/2))^-1 B, with
        M and B of `_discretized`. Without P it is a sum of poles; each vector of P is then added by the
        Sherman-Morrison formula.
        """
        mu, B, P = self._discretized(dtype)
        C = torch.view_as_complex(self.C.to(dtype))
        turn = _half_turns(self.ctx.max_len).to(mu)
        left = torch.cat([C[:, None], P.conj()], dim=1)
        right = torch.cat([B[:, None], P], dim=1)
        weights = (left[:, :, None] * right[:, None]).flatten(1, 2)
        sums = conjugate_poles(weights, mu, turn.real, turn.imag)
        sums = sums.reshape(len(sums), left.shape[1], right.shape[1], -1)
        for _ in range(self.cfg.rank):
            gain = turn.real / (1 + turn.real * sums[:, -1, -1])
            sums = sums[:, :-1, :-1] - gain[:, None, None] * sums[:, :-1, -1:] * sums[:, -1:, :-1]
        kernels: Tensor = torch.fft.irfft(turn * sums[:, 0, 0], n=self.ctx.max_len)
        return kernels[:, :seq_len]

    def init_state(self, batch_size: int) -> S4State:
        """Zeros, and C from the parameter by one linear system for each channel."""
        dtype = at_least_float32(self.C).dtype.to_complex()
        rows = _real_rows(self.C)[..., None]
        undecayed = torch.eye(self.cfg.d_state, dtype=rows.dtype, device=rows.device) - self._decay()
        C = torch.view_as_complex(_pairs(torch.linalg.solve(undecayed.mT, rows).squeeze(-1)))
        return S4State(torch.zeros(batch_size, *C.shape, dtype=dtype, device=C.device), C.to(dtype))

    def step(self, x_t: Tensor, state: S4State) -> tuple[Tensor, S4State]:
        """(B, H) and a state -> (B, H) and the next state, by O(N) operations in each channel (Woodbury)."""
        with torch.autocast(x_t.device.type, enabled=False):
            u = at_least_float32(x_t)
            mu, B, P = self._discretized(u.dtype)
            resolvent = 1 / (1 - mu)
            explicit = state.x + mu * state.x - _combined(P, _projected(P, state.x)) + 2 * B * u[..., None]
            x = resolvent * explicit
            small = _projected(P, (resolvent[:, None] * P).transpose(0, 1)).permute(1, 2, 0)
            identity = torch.eye(self.cfg.rank, dtype=u.dtype, device=u.device)
            correction = torch.linalg.solve(identity + small, _projected(P, x)[..., None]).squeeze(-1)
            x = x - resolvent * _combined(P, correction)
            y = 2 * (state.C * x).real.sum(-1)
            return (y + u * self.D.to(u.dtype)).to(x_t.dtype), S4State(x, state.C)

    def _discretized(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Lambda and B times dt/2, (H, N/2), and P times its root, (H, rank, N/2), all complex.

        With M = Lambda - P P^* of these, and this B, the bilinear rule is x_t = (I - M)^-1 ((I + M) x_{t-1} + 2 B u_t).
        """
        share = self.ctx.d_model // len(self.A_imag)
        half_dt = self.log_dt.to(dtype).exp()[:, None] / 2
        A = torch.complex(-self.log_A_real.to(dtype).exp(), self.A_imag.to(dtype)).repeat(share, 1)
        B = torch.view_as_complex(self.B.to(dtype)).repeat(share, 1)
        P = torch.view_as_complex(self.P.to(dtype)).repeat(1, share, 1).transpose(0, 1)
        return half_dt * A, half_dt * B, half_dt.sqrt()[:, None] * P

    def _decay(self) -> Tensor:
        """The discrete A to the power of the longest sequence, (H, N, N) float64, on real and imaginary parts."""
        mu, _, P = self._discretized(torch.float64)
        M = torch.diag_embed(mu.real.repeat(1, 2))
        M = M + torch.diag_embed(mu.imag, offset=-mu.shape[1]) - torch.diag_embed(mu.imag, offset=mu.shape[1])
        p = torch.cat([P.real, P.imag], dim=-1)
        M = M - 2 * p.mT @ p
        identity = torch.eye(M.shape[-1], dtype=M.dtype, device=M.device)
        discrete = torch.linalg.solve(identity - M, identity + M)
        decay: Tensor = torch.linalg.matrix_power(discrete, self.ctx.max_len)
        return decay

    def state_size(self, seq_len: int) -> int:
        """N/2 complex numbers in each channel."""
        return self.ctx.d_model * self.cfg.d_state

    def optim_hints(self) -> dict[str, OptimHint]:
        """A, P, B and dt move slowly and undecayed, as in models/s4/s4.py."""
        hint = OptimHint(lr_scale=self.cfg.lr_scale, weight_decay=0.0)
        return dict.fromkeys(["log_dt", "log_A_real", "A_imag", "B", "P"], hint)


def initial_dynamics(d_state: int) -> tuple[Tensor, Tensor, Tensor]:
    """HiPPO-LegS in the basis of its eigenvectors of negative frequency, of torch's default dtype.

    Returns:
        frequencies: (N/2,), imaginary parts of the eigenvalues, whose real parts are all -1/2.
        B: (N/2, 2), with its imaginary part clipped to [-2, 2].
        P: (N/2, 2).
    """
    eigenvalues, V = legs_spectrum(d_state)
    _, B, P = legs(d_state)
    kept = d_state // 2
    basis = V[:, :kept].conj().T
    clipped = np.clip((basis @ B).imag, -MAX_IMAGINARY_B, MAX_IMAGINARY_B)
    columns = eigenvalues.imag[:kept], (basis @ B).real, clipped, (basis @ P).real, (basis @ P).imag
    frequencies, *parts = torch.from_numpy(np.stack(columns)).to(torch.get_default_dtype())
    return frequencies, torch.stack(parts[:2], dim=-1), torch.stack(parts[2:], dim=-1)


def _half_turns(n: int) -> Tensor:
    """exp(i t/2), complex128, at the angles t of a real transform of length n."""
    half_angles = math.pi / n * torch.arange(n // 2 + 1, dtype=torch.float64)
    return torch.polar(torch.ones_like(half_angles), half_angles)


def _projected(P: Tensor, x: Tensor) -> Tensor:
    """P^* x over both of each pair: (H, rank, M) and (B, H, M) complex -> (B, H, rank) real."""
    return 2 * (P.conj() * x[:, :, None]).real.sum(-1)


def _combined(P: Tensor, c: Tensor) -> Tensor:
    """P c: (H, rank, M) complex and (B, H, rank) real -> (B, H, M) complex."""
    return (P * c[..., None]).sum(-2)


def _real_rows(C: Tensor) -> Tensor:
    """(H, M, 2) -> (H, 2M) float64: the row that gives Re(C x) from real and imaginary parts of x."""
    return torch.cat([C[..., 0], -C[..., 1]], dim=-1).double()


def _pairs(rows: Tensor) -> Tensor:
    """The inverse: (H, 2M) -> (H, M, 2)."""
    real, negative_imag = rows.chunk(2, dim=-1)
    return torch.stack([real, -negative_imag], dim=-1)
