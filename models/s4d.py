"""S4D, the diagonal structured state space model."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lra_bench.core.mixer import MixerConfig
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.nn.convolution import ChannelConvolution
from lra_bench.nn.ops.hippo import legs_spectrum
from lra_bench.nn.ops.precision import at_least_float32
from lra_bench.nn.ops.vandermonde import exponential_sums


@dataclass(frozen=True)
class S4DConfig(MixerConfig):
    """Knobs of S4D.

    Attributes:
        d_state: N, states of each channel, in N/2 conjugate pairs; even.
        init: where the eigenvalues start: lin, inv, or legs (the normal part of HiPPO-LegS).
        discretization: zoh (zero-order hold) or bilinear.
        train_b: learn the input vector B, as in s4.py; else it stays at one, as in s4d.py.
        dt_min: smallest time step at the start; log-uniform over channels.
        dt_max: largest time step at the start.
        lr_scale: multiplier of the learning rate of A, B and dt, which also have no weight decay. The authors take
            0.001 beside a main rate of 0.01 in four of six Long Range Arena recipes, hence 0.1.
    """

    d_state: int = 64
    init: Literal["lin", "inv", "legs"] = "lin"
    discretization: Literal["zoh", "bilinear"] = "zoh"
    train_b: bool = False
    dt_min: float = 0.001
    dt_max: float = 0.1
    lr_scale: float = 0.1

    def __post_init__(self) -> None:
        require(self.d_state >= 2 and self.d_state % 2 == 0, "model.d_state", "even and at least 2", self.d_state)
        require(self.init in ("lin", "inv", "legs"), "model.init", "lin, inv or legs", self.init)
        known = self.discretization in ("zoh", "bilinear")
        require(known, "model.discretization", "zoh or bilinear", self.discretization)
        require(self.dt_min > 0, "model.dt_min", "above 0", self.dt_min)
        require(self.dt_max >= self.dt_min, "model.dt_max", "at least model.dt_min", self.dt_max)
        require(self.lr_scale >= 0, "model.lr_scale", "at least 0", self.lr_scale)


class S4D(ChannelConvolution):
    """One diagonal state space model for each channel, run as a convolution.

        h' = A h + B u,    y = 2 Re(C h) + D u,    A = -exp(log_A_real) + i A_imag

    discretised with the channel's own step dt; conjugate pairs are stored once, hence the factor 2.

    Paper: Gu et al., "On the Parameterization and Initialization of Diagonal State Space Models", arXiv 2206.11893,
    sections 3 and 4. Numbers match models/s4/s4d.py (`train_b=False`) and `SSMKernelDiag` of models/s4/s4.py
    (`train_b=True`, where the stored imaginary part of A has the opposite sign) of state-spaces/s4 (commit e757cef5).

    Differences: activation, GLU and output projection are the backbone's; every channel has its own A and B; B starts
    at one for legs too, where s4.py takes the HiPPO vector with its imaginary part clipped; the kernel is a product of
    two short power tables, never an (H, N, L) tensor.
    """

    Config = S4DConfig
    cfg: S4DConfig

    def __init__(self, cfg: S4DConfig, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        require(ctx.d_out == ctx.d_model, "d_out of s4d", f"its d_model, {ctx.d_model}", ctx.d_out)
        H, pairs = ctx.d_model, cfg.d_state // 2
        frequencies = torch.from_numpy(initial_frequencies(cfg.init, cfg.d_state)).to(torch.get_default_dtype())
        log_range = math.log(cfg.dt_max / cfg.dt_min)
        self.log_dt = nn.Parameter(torch.rand(H) * log_range + math.log(cfg.dt_min))
        self.log_A_real = nn.Parameter(torch.full((H, pairs), math.log(0.5)))
        self.A_imag = nn.Parameter(frequencies.repeat(H, 1))
        if cfg.train_b:
            self.B = nn.Parameter(torch.tensor([1.0, 0.0]).repeat(H, pairs, 1))
        self.C = nn.Parameter(torch.randn(H, pairs, 2) / math.sqrt(2))
        self.D = nn.Parameter(torch.randn(H))

    def kernels(self, seq_len: int, dtype: torch.dtype) -> Tensor:
        """(H, seq_len): K[h, l] = 2 Re sum_n C_n B_n A_n^l, with A and B discretised."""
        log_A, B = self._discretized(dtype)
        return 2 * exponential_sums(B * self._complex_c(dtype), log_A, seq_len)

    def init_state(self, batch_size: int) -> Tensor:
        """(batch_size, H, N/2) complex zeros."""
        dtype = at_least_float32(self.D).dtype.to_complex()
        return torch.zeros(batch_size, *self.A_imag.shape, dtype=dtype, device=self.D.device)

    def step(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H), (B, H, N/2) complex -> (B, H), (B, H, N/2) complex."""
        with torch.autocast(x_t.device.type, enabled=False):
            u = at_least_float32(x_t)
            log_A, B = self._discretized(u.dtype)
            state = log_A.exp() * state + B * u[..., None]
            y = 2 * (self._complex_c(u.dtype) * state).real.sum(-1)
            return (y + u * self.D.to(u.dtype)).to(x_t.dtype), state

    def _discretized(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Logarithm of the discrete A, and the discrete B, each (H, N/2) complex."""
        A = torch.complex(-self.log_A_real.to(dtype).exp(), self.A_imag.to(dtype))
        dt = self.log_dt.to(dtype).exp()[:, None]
        z = dt * A
        if self.cfg.discretization == "zoh":
            log_A, B = z, torch.expm1(z) / A
        else:
            log_A, B = torch.log((1 + z / 2) / (1 - z / 2)), dt / (1 - z / 2)
        return log_A, B * torch.view_as_complex(self.B.to(dtype)) if self.cfg.train_b else B

    def _complex_c(self, dtype: torch.dtype) -> Tensor:
        return torch.view_as_complex(self.C.to(dtype))

    def state_size(self, seq_len: int) -> int:
        """N/2 complex numbers in each channel."""
        return self.ctx.d_model * self.cfg.d_state

    def optim_hints(self) -> dict[str, OptimHint]:
        """A, B and dt move slowly and undecayed, as in models/s4/s4.py."""
        names = ["log_dt", "log_A_real", "A_imag"] + (["B"] if self.cfg.train_b else [])
        return dict.fromkeys(names, OptimHint(lr_scale=self.cfg.lr_scale, weight_decay=0.0))


def initial_frequencies(init: str, d_state: int) -> np.ndarray:
    """(N/2,) float64: imaginary parts of the eigenvalues, whose real parts are all -1/2.

    Source: S4D paper, equations 8 (inv) and 9 (lin); for legs the normal part of HiPPO-LegS, A + P P^T.
    """
    n = np.arange(d_state // 2)
    if init == "lin":
        return np.pi * n
    if init == "inv":
        return d_state / np.pi * (d_state / (2 * n + 1) - 1)
    return legs_spectrum(d_state)[0].imag[d_state // 2 :]
