"""S5, one state space model with many inputs and outputs."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.nn.ops.hippo import legs_spectrum
from lra_bench.nn.ops.precision import at_least_float32
from lra_bench.nn.ops.state_space import route, state_space, state_space_step

MAX_REAL_PART = -1e-4
"""Of the eigenvalues, where they are clipped."""


@dataclass(frozen=True)
class S5Config(MixerConfig):
    """Knobs of S5.

    Attributes:
        d_state: N, states. 64 as for S4D, so that the diagonal models compare at one size; the authors' Long Range
            Arena runs take 16 to 384.
        blocks: J, HiPPO matrices of size N / J on the diagonal of the initial state matrix; the authors take 3 to 16.
        conj_sym: states are N/2 conjugate pairs, stored once; else N free complex states.
        discretization: zoh (zero-order hold) or bilinear.
        c_init: trunc_standard_normal or lecun_normal, in the basis of the HiPPO matrix, of which the second is
            sqrt(d_out) times smaller; or complex_normal, in the basis of the eigenvectors.
        clip_eigs: keep the real parts of the eigenvalues at or below -1e-4.
        step_rescale: multiplier of all time steps, for inputs sampled at another rate.
        dt_min: smallest time step at the start; log-uniform over states.
        dt_max: largest time step at the start.
        lr_scale: multiplier of the learning rate of eigenvalues, time steps and B, which also have no weight decay.
            The authors' Long Range Arena runs have 0.2 to 0.5.
    """

    d_state: int = 64
    blocks: int = 1
    conj_sym: bool = True
    discretization: Literal["zoh", "bilinear"] = "zoh"
    c_init: Literal["trunc_standard_normal", "lecun_normal", "complex_normal"] = "trunc_standard_normal"
    clip_eigs: bool = False
    step_rescale: float = 1.0
    dt_min: float = 0.001
    dt_max: float = 0.1
    lr_scale: float = 0.25

    def __post_init__(self) -> None:
        require(self.blocks >= 1, "model.blocks", "at least 1", self.blocks)
        unit = self.blocks * (2 if self.conj_sym else 1)
        wanted = f"a positive multiple of {unit}: model.blocks{', times 2 for conjugate pairs' * self.conj_sym}"
        require(self.d_state >= 1 and self.d_state % unit == 0, "model.d_state", wanted, self.d_state)
        known = self.discretization in ("zoh", "bilinear")
        require(known, "model.discretization", "zoh or bilinear", self.discretization)
        inits = ("trunc_standard_normal", "lecun_normal", "complex_normal")
        require(self.c_init in inits, "model.c_init", f"{inits[0]}, {inits[1]} or {inits[2]}", self.c_init)
        require(self.step_rescale > 0, "model.step_rescale", "above 0", self.step_rescale)
        require(self.dt_min > 0, "model.dt_min", "above 0", self.dt_min)
        require(self.dt_max >= self.dt_min, "model.dt_max", "at least model.dt_min", self.dt_max)
        require(self.lr_scale >= 0, "model.lr_scale", "at least 0", self.lr_scale)

    @property
    def stored_states(self) -> int:
        """P, complex states that are computed."""
        return self.d_state // 2 if self.conj_sym else self.d_state


class S5(SequenceMixer):
    """A diagonal complex state space model, run as a scan.

        x' = Lambda x + B u,    y = 2 Re(C x) + D u

    discretised with one time step for each state; without `conj_sym` the factor is 1.

    Paper: Smith et al., "Simplified State Space Layers for Sequence Modeling", arXiv 2208.04933, sections 3 and 4.
    Numbers match `S5SSM` in s5/ssm.py of lindermanlab/S5 (commit 3c18fdb6), which calls N ssm_size.

    Differences: one direction only; D is elementwise only where d_out equals d_model, otherwise it is a full matrix
    with entries of variance 1 / d_model.
    """

    Config = S5Config
    cfg: S5Config

    def __init__(self, cfg: S5Config, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        N, P, d_in, d_out = cfg.d_state, cfg.stored_states, ctx.d_model, ctx.d_out
        eigenvalues, V = _block_diagonal_hippo(cfg)
        self.Lambda_re = _parameter(eigenvalues.real)
        self.Lambda_im = _parameter(eigenvalues.imag)
        self.log_step = nn.Parameter(torch.rand(P) * math.log(cfg.dt_max / cfg.dt_min) + math.log(cfg.dt_min))
        self.B = _parameter(torch.view_as_real(V.mH @ _lecun_normal((N, d_in), fan_in=N).to(V.dtype)))
        self.C = _parameter(torch.view_as_real(_initial_c(cfg, d_out, V)))
        self.D = nn.Parameter(torch.randn(d_in) if d_in == d_out else torch.randn(d_out, d_in) / math.sqrt(d_in))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, d_model) -> (B, L, d_out), computed in float32 or better, returned in the dtype of `x`."""
        with torch.autocast(x.device.type, enabled=False):
            u = at_least_float32(x)
            decay, B = self._discretized(u.dtype)
            y = state_space(decay, B, self._read_out(u.dtype), u)
            return (y + self._passed(u)).to(x.dtype)

    def backend(self, device: torch.device, batch_size: int, seq_len: int) -> str:
        """Whether the states of every step are made, or those at the start of each block of time."""
        return f"scan {route(self.ctx.d_model, self.cfg.stored_states, self.ctx.d_out, seq_len)}"

    def init_state(self, batch_size: int) -> Tensor:
        """(batch_size, P) complex zeros."""
        dtype = at_least_float32(self.B).dtype.to_complex()
        return torch.zeros(batch_size, self.cfg.stored_states, dtype=dtype, device=self.B.device)

    def step(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, d_model), (B, P) complex -> (B, d_out), (B, P) complex."""
        with torch.autocast(x_t.device.type, enabled=False):
            u = at_least_float32(x_t)
            decay, B = self._discretized(u.dtype)
            y, state = state_space_step(decay, B, self._read_out(u.dtype), u, state)
            return (y + self._passed(u)).to(x_t.dtype), state

    def _discretized(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The discrete Lambda, (P,), and the discrete B, (P, d_model), complex (paper, section 3.2)."""
        real = self.Lambda_re.to(dtype)
        if self.cfg.clip_eigs:
            real = real.clamp(max=MAX_REAL_PART)
        eigenvalues = torch.complex(real, self.Lambda_im.to(dtype))
        dt = self.cfg.step_rescale * self.log_step.to(dtype).exp()
        z = dt * eigenvalues
        if self.cfg.discretization == "zoh":
            decay, scale = z.exp(), torch.expm1(z) / eigenvalues
        else:
            decay, scale = (1 + z / 2) / (1 - z / 2), dt / (1 - z / 2)
        return decay, scale[:, None] * torch.view_as_complex(self.B.to(dtype))

    def _read_out(self, dtype: torch.dtype) -> Tensor:
        """C, (d_out, P) complex; twice it where each state stands for a conjugate pair."""
        C = torch.view_as_complex(self.C.to(dtype))
        return 2 * C if self.cfg.conj_sym else C

    def _passed(self, u: Tensor) -> Tensor:
        """D u, (..., d_model) -> (..., d_out)."""
        D = self.D.to(u.dtype)
        return u * D if D.dim() == 1 else u @ D.T

    def state_size(self, seq_len: int) -> int:
        """P complex numbers."""
        return 2 * self.cfg.stored_states

    def optim_hints(self) -> dict[str, OptimHint]:
        """Eigenvalues, time steps and B move slowly and undecayed, the authors' "standard" groups."""
        hint = OptimHint(lr_scale=self.cfg.lr_scale, weight_decay=0.0)
        return dict.fromkeys(["Lambda_re", "Lambda_im", "log_step", "B"], hint)


def _block_diagonal_hippo(cfg: S5Config) -> tuple[Tensor, Tensor]:
    """Eigenvalues (P,) and eigenvectors (N, P) of the initial state matrix, complex128 (paper, appendix B.1)."""
    size = cfg.d_state // cfg.blocks
    eigenvalues, V = map(torch.from_numpy, legs_spectrum(size))
    kept = size // 2 if cfg.conj_sym else size
    return eigenvalues[:kept].repeat(cfg.blocks), torch.kron(torch.eye(cfg.blocks), V[:, :kept].contiguous())


def _initial_c(cfg: S5Config, d_out: int, V: Tensor) -> Tensor:
    """(d_out, P) complex128."""
    if cfg.c_init == "complex_normal":
        return torch.randn(d_out, cfg.stored_states, dtype=V.dtype)
    fan_in = cfg.d_state * (d_out if cfg.c_init == "lecun_normal" else 1)
    return torch.view_as_complex(_lecun_normal((d_out, cfg.d_state, 2), fan_in)) @ V


def _lecun_normal(shape: tuple[int, ...], fan_in: int) -> Tensor:
    """Normal numbers of variance 1 / fan_in, cut at two deviations of the uncut ones, as JAX draws them; float64."""
    deviation = 1 / (0.87962566103423978 * math.sqrt(fan_in))
    values = torch.empty(shape, dtype=torch.float64)
    return nn.init.trunc_normal_(values, std=deviation, a=-2 * deviation, b=2 * deviation)


def _parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.to(torch.get_default_dtype(), copy=True))
