"""Mamba, the selective state space model (S6) in its block."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu, softplus

from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.nn.ops.fused_scan import fused_scan, kernel_name
from lra_bench.nn.ops.precision import at_least_float32
from lra_bench.nn.ops.selective_scan import selective_scan

State = tuple[Tensor, Tensor]
"""The last d_conv - 1 inputs of the convolution (B, d_conv - 1, D), and the states (B, D, N)."""


@dataclass(frozen=True)
class MambaConfig(MixerConfig):
    """Knobs of Mamba.

    Attributes:
        d_state: N, states of each inner channel.
        expand: inner channels D, as a multiple of d_model.
        d_conv: taps of the convolution before the state space model.
        dt_min: smallest time step at the start; log-uniform over channels.
        dt_max: largest time step at the start.
    """

    d_state: int = 16
    expand: int = 2
    d_conv: int = 4
    dt_min: float = 0.001
    dt_max: float = 0.1

    def __post_init__(self) -> None:
        for key in ("d_state", "expand", "d_conv"):
            require(getattr(self, key) >= 1, f"model.{key}", "at least 1", getattr(self, key))
        require(self.dt_min > 0, "model.dt_min", "above 0", self.dt_min)
        require(self.dt_max >= self.dt_min, "model.dt_max", "at least model.dt_min", self.dt_max)


class Mamba(SequenceMixer):
    """A state space model whose time step, B and C are functions of the input, between gated projections.

        [x, z] = u W_in,    x <- silu(conv(x)),    [r, B, C] = x W_x,    dt = softplus(r W_dt + b_dt),
        h_t = exp(dt_t A) h_{t-1} + dt_t B_t x_t,    y = ((C h + D x) silu(z)) W_out

    Paper: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv 2312.00752, algorithm
    2 and section 3.4. Follows `Mamba` in mamba_ssm/modules/mamba_simple.py of state-spaces/mamba: its defaults and
    initial values, A = -1, ..., -N in every channel and dt's rank d_model / 16.

    Differences: plain PyTorch, but for the scan on a GPU where mamba-ssm is installed and its kernel agrees with ours;
    the scan is in float32 or better; d_out may differ from d_model.
    """

    Config = MambaConfig
    cfg: MambaConfig

    def __init__(self, cfg: MambaConfig, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        D, N = cfg.expand * ctx.d_model, cfg.d_state
        self.dt_rank = math.ceil(ctx.d_model / 16)
        self.W_in = nn.Linear(ctx.d_model, 2 * D, bias=False)
        bound = cfg.d_conv**-0.5
        self.conv_weight = nn.Parameter(torch.empty(cfg.d_conv, D).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.empty(D).uniform_(-bound, bound))
        self.W_x = nn.Linear(D, self.dt_rank + 2 * N, bias=False)
        self.W_dt = nn.Linear(self.dt_rank, D)
        self._init_time_steps()
        self.log_A = nn.Parameter(torch.arange(1, N + 1).log().repeat(D, 1))
        self.D = nn.Parameter(torch.ones(D))
        self.W_out = nn.Linear(D, ctx.d_out, bias=False)

    def _init_time_steps(self) -> None:
        """softplus(b_dt) log-uniform within [dt_min, dt_max], and weights that keep the variance."""
        nn.init.uniform_(self.W_dt.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        log_range = math.log(self.cfg.dt_max / self.cfg.dt_min)
        dt = self.cfg.dt_min * torch.exp(torch.rand(self.W_dt.out_features) * log_range)
        with torch.no_grad():
            self.W_dt.bias.copy_(dt + torch.log(-torch.expm1(-dt)))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, d_model) -> (B, L, d_out); the scan is in float32 or better."""
        u, z = self.W_in(x).chunk(2, dim=-1)
        u = self._convolved(pad(u, (0, 0, self.cfg.d_conv - 1, 0)))
        with torch.autocast(x.device.type, enabled=False):
            scan = fused_scan(x.device) if u.dtype != torch.float64 else None
            y = (scan or selective_scan)(*self._selected(u))
        return self._outputs(y, u, z).to(x.dtype)

    def backend(self, device: torch.device, batch_size: int, seq_len: int) -> str:
        """The kernel of mamba-ssm where it is installed and agrees with ours, else torch."""
        return kernel_name() if fused_scan(device) else "torch"

    def init_state(self, batch_size: int) -> State:
        """Zeros."""
        window = self.D.new_zeros(batch_size, self.cfg.d_conv - 1, len(self.D))
        return window, at_least_float32(self.log_A.new_zeros(batch_size, *self.log_A.shape))

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, d_model), state -> (B, d_out), state."""
        window, h = state
        u, z = self.W_in(x_t).chunk(2, dim=-1)
        window = torch.cat([window, u[:, None]], dim=1)
        u = self._convolved(window)[:, 0]
        with torch.autocast(x_t.device.type, enabled=False):
            x, dt, A, B, C = self._selected(u)
            h = (dt[..., None] * A).exp() * h + (dt * x)[..., None] * B[:, None]
            y = (h @ C[..., None]).squeeze(-1)
        return self._outputs(y, u, z).to(x_t.dtype), (window[:, 1:], h)

    def _convolved(self, u: Tensor) -> Tensor:
        """Depthwise convolution of u (B, L + d_conv - 1, D), without padding, and SiLU: (B, L, D)."""
        L = u.shape[1] - self.cfg.d_conv + 1
        taps = (u[:, j : j + L] * weight for j, weight in enumerate(self.conv_weight))
        return silu(sum(taps, self.conv_bias))

    def _selected(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Inputs x and dt (..., D), A (D, N), B and C (..., N) of the scan, from (..., D), in float32 or better."""
        rank, N = self.dt_rank, self.cfg.d_state
        x = at_least_float32(u)
        r, B, C = self.W_x(x).split([rank, N, N], dim=-1)
        return x, softplus(self.W_dt(r)), -self.log_A.exp(), B, C

    def _outputs(self, y: Tensor, u: Tensor, z: Tensor) -> Tensor:
        """((y + D u) silu(z)) W_out: (..., D) -> (..., d_out)."""
        out: Tensor = self.W_out((y + self.D * u).to(z.dtype) * silu(z))
        return out

    def state_size(self, seq_len: int) -> int:
        """N states and d_conv - 1 past inputs in each inner channel."""
        return len(self.D) * (self.cfg.d_state + self.cfg.d_conv - 1)

    def optim_hints(self) -> dict[str, OptimHint]:
        """A and D are not decayed."""
        return dict.fromkeys(["log_A", "D"], OptimHint(weight_decay=0.0))
