"""STU-T, the tensordot factorisation of the Spectral Transform Unit."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext
from lra_bench.nn.ops.fft_conv import channel_conv
from lra_bench.nn.ops.precision import at_least_float32
from lra_bench.nn.ops.spectral import spectral_filters


@dataclass(frozen=True)
class STUTConfig(MixerConfig):
    """Knobs of STU-T.

    Attributes:
        num_filters: K, spectral filters of each sign; at most the longest sequence.
        alternating: coefficients of the filters times (-1)^i: own; or shared with the plain ones, as released, which
            leaves the layer blind to every odd lag.
    """

    num_filters: int = 24
    alternating: Literal["own", "shared"] = "own"

    def __post_init__(self) -> None:
        require(self.num_filters >= 1, "model.num_filters", "at least 1", self.num_filters)
        require(self.alternating in ("own", "shared"), "model.alternating", "own or shared", self.alternating)


class STUT(SequenceMixer):
    """STU with its K matrices factorised as M_k = M_in diag(F_k): one learned combination of filters a channel.

        y_{t,c} = sum_{i=0..t} g_c(i) (u_{t-i} M_in)_c,    g_c(i) = sum_k sigma_k^(1/4) phi_k(i) (F+_kc + (-1)^i F-_kc)

    Paper: Liu et al., "Flash STU: Fast Spectral Transform Units", arXiv 2409.10489, section on the tensordot
    approximation. With `alternating="shared"`, where F- is F+, it is `STU` with `use_approx` in
    flash_stu/modules/stu.py of windsornguyen/flash-stu (commit 54f78d4b), up to the filters: there from float64 `eigh`.

    Differences: F- has its own coefficients by default: with shared ones g_c vanishes at every odd i. Both branches
    are one kernel, so one FFT a channel. d_out may differ from d_model.
    """

    Config = STUTConfig
    cfg: STUTConfig
    bank: Tensor

    def __init__(self, cfg: STUTConfig, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        K, dtype = cfg.num_filters, torch.get_default_dtype()
        fits = ctx.max_len >= K
        require(fits, "model.num_filters", f"at most the longest sequence, {ctx.max_len}", K)
        self.register_buffer("bank", torch.from_numpy(_filter_bank(ctx.max_len, K)).to(dtype), persistent=False)
        self.M_in = nn.Parameter(nn.init.xavier_normal_(torch.empty(ctx.d_model, ctx.d_out)))
        self.F_plus = nn.Parameter(nn.init.xavier_normal_(torch.empty(K, ctx.d_out)))
        if cfg.alternating == "own":
            self.F_minus = nn.Parameter(nn.init.xavier_normal_(torch.empty(K, ctx.d_out)))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, d_model) -> (B, L, d_out), computed in float32 or better, returned in the dtype of `x`."""
        with torch.autocast(x.device.type, enabled=False):
            u = at_least_float32(x)
            return channel_conv(u @ self.M_in.to(u.dtype), self.kernels(u.shape[1], u.dtype)).to(x.dtype)

    def kernels(self, seq_len: int, dtype: torch.dtype) -> Tensor:
        """(d_out, seq_len): g_c."""
        coefficients = torch.cat([self.F_plus, self.F_minus if self.cfg.alternating == "own" else self.F_plus])
        return (self.bank[:seq_len].to(dtype) @ coefficients.to(dtype)).T

    def state_size(self, seq_len: int) -> int:
        """All past inputs, before or after M_in."""
        return seq_len * min(self.ctx.d_model, self.ctx.d_out)


def _filter_bank(max_len: int, num_filters: int) -> np.ndarray:
    """(max_len, 2K) float64: filters, and the same with alternating signs."""
    sigma, phi = spectral_filters(max_len, num_filters)
    plain = sigma**0.25 * phi
    signs = np.where(np.arange(max_len) % 2 == 0, 1.0, -1.0)
    return np.concatenate([plain, plain * signs[:, None]], axis=1)
