"""DSS, the diagonal state space model with softmax over time."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lra_bench.core.mixer import MixerConfig
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.nn.convolution import ChannelConvolution
from lra_bench.nn.ops.hippo import legs_spectrum
from lra_bench.nn.ops.precision import at_least_float32
from lra_bench.nn.ops.vandermonde import exponential_sums

EPSILON = 1e-7
"""Added to the squared modulus of a number of which the reciprocal is taken (paper, appendix A.2)."""


@dataclass(frozen=True)
class DSSConfig(MixerConfig):
    """Knobs of DSS.

    Attributes:
        d_state: N, complex states of each channel; 64 in the paper.
        version: softmax normalises each state's exponentials over time, and its eigenvalues may grow; exp keeps their
            real parts negative.
        dt_min: smallest time step at the start; log-uniform over channels.
        dt_max: largest time step at the start.
        lr_scale: multiplier of the learning rate of eigenvalues, time steps and W, which also have no weight decay.
            The authors take 0.001, mostly beside a main rate of 0.01, hence 0.1.
    """

    d_state: int = 64
    version: Literal["softmax", "exp"] = "softmax"
    dt_min: float = 0.001
    dt_max: float = 0.1
    lr_scale: float = 0.1

    def __post_init__(self) -> None:
        require(self.d_state >= 1, "model.d_state", "at least 1", self.d_state)
        require(self.version in ("softmax", "exp"), "model.version", "softmax or exp", self.version)
        require(self.dt_min > 0, "model.dt_min", "above 0", self.dt_min)
        require(self.dt_max >= self.dt_min, "model.dt_max", "at least model.dt_min", self.dt_max)
        require(self.lr_scale >= 0, "model.lr_scale", "at least 0", self.lr_scale)


class DSSState(NamedTuple):
    """Inputs summed with decaying weights, (B, H, N) complex, and the number of steps taken."""

    sums: Tensor
    time: int


class DSS(ChannelConvolution):
    """One diagonal state space model for each channel, with eigenvalues shared by all, run as a convolution.

        K_l = Re sum_n (W_n / lambda_n) softmax_l(lambda_n dt l),                     l = 0..L-1  (softmax)
        K_l = Re sum_n (W_n / lambda_n) (exp(lambda_n dt) - 1) exp(lambda_n dt l)                 (exp)

    and y = K * u + D u. The softmax of complex numbers is exp(z_l) / sum_l exp(z_l), over the longest sequence.

    Paper: Gupta et al., "Diagonal State Spaces are as Effective as Structured State Spaces", arXiv 2203.14343,
    proposition 1 and appendix A.2. Numbers of the softmax version are meant to match `DSSKernel` in
    src/models/sequence/ss/standalone/dss.py of ag1988/dlr (commit 0665848a) with sep_dt_re_im=False; there are no
    frozen outputs of it, so the tests check both versions against the equations.

    Differences: one dt for real and imaginary parts, as in the paper, where the code has two; the softmax runs over the
    longest sequence, not over that of the batch; the gradient is that of the equations, where the code takes none
    through the largest exponent of a growing state.
    """

    Config = DSSConfig
    cfg: DSSConfig

    def __init__(self, cfg: DSSConfig, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        H, N = ctx.d_model, cfg.d_state
        require(ctx.d_out == H, "d_out of dss", f"its d_model, {H}", ctx.d_out)
        frequencies = torch.from_numpy(legs_spectrum(2 * N)[0].imag[N:].copy())
        log_range = math.log(cfg.dt_max / cfg.dt_min)
        self.log_dt = nn.Parameter(torch.rand(H) * log_range + math.log(cfg.dt_min))
        if cfg.version == "softmax":
            self.Lambda_re = nn.Parameter(torch.full((N,), -0.5))
        else:
            self.log_Lambda_re = nn.Parameter(torch.full((N,), math.log(0.5)))
        self.Lambda_im = nn.Parameter(frequencies.to(torch.get_default_dtype()))
        self.W = nn.Parameter(torch.randn(H, N, 2))
        self.D = nn.Parameter(torch.randn(H))

    def kernels(self, seq_len: int, dtype: torch.dtype) -> Tensor:
        """(H, seq_len). The exponentials of a growing state are those of a decaying one that run backwards."""
        rates, weights, grows = self._decaying(dtype)
        if self.cfg.version == "exp":
            return exponential_sums(weights, rates, seq_len)
        forwards = exponential_sums(weights * ~grows, rates, seq_len)
        backwards = exponential_sums(weights * grows, rates, self.ctx.max_len).flip(-1)
        return forwards + backwards[:, :seq_len]

    def init_state(self, batch_size: int) -> DSSState:
        """(batch_size, H, N) complex zeros, before the first step."""
        dtype = at_least_float32(self.D).dtype.to_complex()
        shape = batch_size, self.ctx.d_model, self.cfg.d_state
        return DSSState(torch.zeros(shape, dtype=dtype, device=self.D.device), 0)

    def step(self, x_t: Tensor, state: DSSState) -> tuple[Tensor, DSSState]:
        """(B, H) and a state -> (B, H) and the next state, for at most max_len steps.

        A growing state is kept as sum_s exp(-z s) u_s, with z the growing rate, and multiplied by exp(z (t - L + 1))
        when it is read: in a recurrence of its own the first inputs would be lost to underflow.
        """
        with torch.autocast(x_t.device.type, enabled=False):
            u = at_least_float32(x_t)
            rates, weights, grows = self._decaying(u.dtype)
            left = self.ctx.max_len - 1 - state.time
            entering = torch.where(grows, rates * state.time, 0).exp()
            sums = torch.where(grows, 0, rates).exp() * state.sums + entering * u[..., None]
            y = (weights * torch.where(grows, rates * left, 0).exp() * sums).real.sum(-1)
            return (y + u * self.D.to(u.dtype)).to(x_t.dtype), DSSState(sums, state.time + 1)

    def _decaying(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Rates lambda dt, (H, N) complex, with the sign that decays; weights, (H, N); which ones grow, (N,) bool.

        The sum over L steps of exp(z l) is (exp(L z) - 1) / (exp(z) - 1).
        """
        dt, W = self.log_dt.to(dtype).exp()[:, None], torch.view_as_complex(self.W.to(dtype))
        if self.cfg.version == "exp":
            eigenvalues = torch.complex(-self.log_Lambda_re.to(dtype).exp(), self.Lambda_im.to(dtype))
            rates = dt * eigenvalues
            return rates, W * torch.expm1(rates) / eigenvalues, torch.zeros_like(eigenvalues.real, dtype=torch.bool)
        eigenvalues = torch.complex(self.Lambda_re.to(dtype), self.Lambda_im.to(dtype))
        grows = eigenvalues.real > 0
        rates = dt * torch.where(grows, -eigenvalues, eigenvalues)
        denominators = eigenvalues * torch.expm1(self.ctx.max_len * rates)
        return rates, W * torch.expm1(rates) * _bounded_reciprocal(denominators), grows

    def state_size(self, seq_len: int) -> int:
        """N complex numbers in each channel."""
        return 2 * self.ctx.d_model * self.cfg.d_state

    def optim_hints(self) -> dict[str, OptimHint]:
        """All but D move slowly and undecayed, as in the authors' code."""
        real = "Lambda_re" if self.cfg.version == "softmax" else "log_Lambda_re"
        hint = OptimHint(lr_scale=self.cfg.lr_scale, weight_decay=0.0)
        return dict.fromkeys(["log_dt", real, "Lambda_im", "W"], hint)


def _bounded_reciprocal(z: Tensor) -> Tensor:
    """conj(z) / (|z|^2 + epsilon)."""
    return z.conj() / (z.real.square() + z.imag.square() + EPSILON)
