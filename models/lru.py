"""LRU, the Linear Recurrent Unit."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.nn.ops.precision import at_least_float32
from lra_bench.nn.ops.state_space import route, state_space, state_space_step


@dataclass(frozen=True)
class LRUConfig(MixerConfig):
    """Knobs of the LRU.

    Attributes:
        d_state: N, complex states. 64 as for S4D, so that the diagonal models compare at one size; the paper's Long
            Range Arena runs take 192 to 384 (its table 9).
        stable_exp: eigenvalues exp(-exp(nu) + i exp(theta)), which cannot leave the unit disc; else exp(-nu + i theta).
        gamma_norm: learn a scale for the input of each state, sqrt(1 - |lambda|^2) at the start; else it is 1.
        r_min: smallest modulus of an eigenvalue at the start.
        r_max: largest modulus of an eigenvalue at the start.
        max_phase: largest phase of an eigenvalue at the start, in radians.
        lr_scale: multiplier of the learning rate of eigenvalues, gamma and B, which also have no weight decay. 0.25
            is what table 9 of the paper has most often (0.1 to 0.5).
    """

    d_state: int = 64
    stable_exp: bool = True
    gamma_norm: bool = True
    r_min: float = 0.0
    r_max: float = 1.0
    max_phase: float = 2 * math.pi
    lr_scale: float = 0.25

    def __post_init__(self) -> None:
        require(self.d_state >= 1, "model.d_state", "at least 1", self.d_state)
        require(0 <= self.r_min < 1, "model.r_min", "in [0, 1)", self.r_min)
        require(self.r_min < self.r_max <= 1, "model.r_max", "above model.r_min and at most 1", self.r_max)
        require(self.max_phase > 0, "model.max_phase", "above 0", self.max_phase)
        require(self.lr_scale >= 0, "model.lr_scale", "at least 0", self.lr_scale)


class LRU(SequenceMixer):
    """A diagonal complex linear recurrence.

        h_t = lambda * h_{t-1} + gamma * (B u_t),    y_t = Re(C h_t) + D u_t,    h_{-1} = 0

    Paper: Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", arXiv 2303.06349, section 3.
    Numbers match `LRU` in lru/model.py of NicolasZucchet/minimal-LRU (commit bbd71b11).

    Differences: D is elementwise only where d_out equals d_model; otherwise it is a full matrix with entries of
    variance 1 / d_model. `stable_exp` and `gamma_norm` can be switched off, as in the paper's ablation.
    """

    Config = LRUConfig
    cfg: LRUConfig

    def __init__(self, cfg: LRUConfig, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        N, d_in, d_out = cfg.d_state, ctx.d_model, ctx.d_out
        nu, theta = _ring(cfg)
        if cfg.stable_exp:
            self.nu_log = _parameter(nu.log())
            self.theta_log = _parameter(theta.log())
        else:
            self.nu = _parameter(nu)
            self.theta = _parameter(theta)
        if cfg.gamma_norm:
            self.gamma_log = _parameter((-torch.expm1(-2 * nu)).log() / 2)
        self.B = nn.Parameter(torch.randn(N, d_in, 2) / math.sqrt(2 * d_in))
        self.C = nn.Parameter(torch.randn(d_out, N, 2) / math.sqrt(N))
        self.D = nn.Parameter(torch.randn(d_in) if d_in == d_out else torch.randn(d_out, d_in) / math.sqrt(d_in))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, d_model) -> (B, L, d_out), computed in float32 or better, returned in the dtype of `x`."""
        with torch.autocast(x.device.type, enabled=False):
            u = at_least_float32(x)
            y = state_space(*self._system(u.dtype), u)
            return (y + self._passed(u)).to(x.dtype)

    def backend(self, device: torch.device, batch_size: int, seq_len: int) -> str:
        """Whether the states of every step are made, or those at the start of each block of time."""
        return f"scan {route(self.ctx.d_model, self.cfg.d_state, self.ctx.d_out, seq_len)}"

    def init_state(self, batch_size: int) -> Tensor:
        """(batch_size, N) complex zeros."""
        dtype = at_least_float32(self.B).dtype.to_complex()
        return torch.zeros(batch_size, self.cfg.d_state, dtype=dtype, device=self.B.device)

    def step(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, d_model), (B, N) complex -> (B, d_out), (B, N) complex."""
        with torch.autocast(x_t.device.type, enabled=False):
            u = at_least_float32(x_t)
            y, state = state_space_step(*self._system(u.dtype), u, state)
            return (y + self._passed(u)).to(x_t.dtype), state

    def _system(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Lambda (N,), gamma * B (N, d_model) and C (d_out, N), complex."""
        if self.cfg.stable_exp:
            nu, theta = self.nu_log.to(dtype).exp(), self.theta_log.to(dtype).exp()
        else:
            nu, theta = self.nu.to(dtype), self.theta.to(dtype)
        B = self.B.to(dtype)
        if self.cfg.gamma_norm:
            B = B * self.gamma_log.to(dtype).exp()[:, None, None]
        C = self.C.to(dtype)
        return torch.polar(torch.exp(-nu), theta), torch.view_as_complex(B), torch.view_as_complex(C)

    def _passed(self, u: Tensor) -> Tensor:
        """D u, (..., d_model) -> (..., d_out)."""
        D = self.D.to(u.dtype)
        return u * D if D.dim() == 1 else u @ D.T

    def state_size(self, seq_len: int) -> int:
        """N complex numbers."""
        return 2 * self.cfg.d_state

    def optim_hints(self) -> dict[str, OptimHint]:
        """Eigenvalues, gamma and B move slowly and undecayed (paper, appendix D)."""
        names = ["nu_log", "theta_log"] if self.cfg.stable_exp else ["nu", "theta"]
        if self.cfg.gamma_norm:
            names.append("gamma_log")
        hint = OptimHint(lr_scale=self.cfg.lr_scale, weight_decay=0.0)
        return dict.fromkeys([*names, "B"], hint)


def _ring(cfg: LRUConfig) -> tuple[Tensor, Tensor]:
    """-log|lambda| and phase, (N,) float64: eigenvalues uniform by area on the ring (lemma 3.2)."""
    area, phase = torch.rand(2, cfg.d_state, dtype=torch.float64)
    squared_modulus = area * (cfg.r_max**2 - cfg.r_min**2) + cfg.r_min**2
    return -0.5 * squared_modulus.log(), cfg.max_phase * phase


def _parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(torch.get_default_dtype()))
