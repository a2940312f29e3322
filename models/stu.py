"""STU, the Spectral Transform Unit of Spectral State Space Models."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.nn.ops import recurrence, spectral_conv
from lra_bench.nn.ops.precision import at_least_float32
from lra_bench.nn.ops.recurrence import autoregression, two_step_sum
from lra_bench.nn.ops.spectral import Hankel, spectral_filters
from lra_bench.nn.ops.spectral_conv import BandedSpectrum, bank_conv, bank_spectrum, prepared

DELAY = 2
"""Steps by which the spectral part lags behind the input."""


@dataclass(frozen=True)
class STUConfig(MixerConfig):
    """Knobs of the STU.

    Attributes:
        num_filters: K, spectral filters of each sign, or in all with Z_L; at most the longest sequence.
        hankel: Z, filters for eigenvalues in [0, 1]; Z_L, for those in [-1, 1], so without alternating copies.
        alternating: also use the filters times (-1)^i, which stand for negative eigenvalues.
        sigma_power: the filters are scaled by this power of their eigenvalues of the Hankel matrix; the paper has 1/4.
        input_taps: k_u, matrices on the inputs u_t, u_{t-1}, ...
        output: fixed, y_{t-2} is added; learned, matrices on past outputs (AR-STU); none.
        output_taps: k_y, past outputs seen by a learned output part.
        output_alpha: initial value of the learned matrix on y_{t-2}, times the identity; the others start at zero.
        output_lr_scale: multiplier of the learning rate for learned output matrices, which also have no weight decay.
        input_init: zeros, or normal: cut at two standard deviations, divided by sqrt(d_model).
    """

    num_filters: int = 24
    hankel: Hankel = "Z"
    alternating: bool = True
    sigma_power: float = 0.25
    input_taps: int = 3
    output: Literal["fixed", "learned", "none"] = "fixed"
    output_taps: int = 2
    output_alpha: float = 0.9
    output_lr_scale: float = 0.1
    input_init: Literal["zeros", "normal"] = "zeros"

    def __post_init__(self) -> None:
        require(self.num_filters >= 1, "model.num_filters", "at least 1", self.num_filters)
        require(self.hankel in ("Z", "Z_L"), "model.hankel", "Z or Z_L", self.hankel)
        signed_once = self.hankel == "Z" or not self.alternating
        require(signed_once, "model.alternating", "false when model.hankel is Z_L", self.alternating)
        require(self.sigma_power >= 0, "model.sigma_power", "at least 0", self.sigma_power)
        require(self.input_taps >= 0, "model.input_taps", "at least 0", self.input_taps)
        known = self.output in ("fixed", "learned", "none")
        require(known, "model.output", "fixed, learned or none", self.output)
        require(self.input_init in ("zeros", "normal"), "model.input_init", "zeros or normal", self.input_init)
        require(self.output_taps >= 1, "model.output_taps", "at least 1", self.output_taps)
        require(self.output_lr_scale >= 0, "model.output_lr_scale", "at least 0", self.output_lr_scale)
        lags_reach_alpha = self.output != "learned" or self.output_alpha == 0 or self.output_taps >= 2
        require(lags_reach_alpha, "model.output_taps", "at least 2 when model.output_alpha is not 0", self.output_taps)


class STU(SequenceMixer):
    """Spectral filters of fixed shape, mixed by learned matrices.

        y_t = y_{t-2} + sum_{j=0..2} u_{t-j} Mu_j + sum_k sigma_k^(1/4) (U+_{t-2,k} M+_k + U-_{t-2,k} M-_k),
        U+_{t,k} = sum_{i=0..t} phi_k(i) u_{t-i},    U-_{t,k} = sum_{i=0..t} (-1)^i phi_k(i) u_{t-i}

    Paper: Agarwal et al., "Spectral State Space Models", arXiv 2312.06837, equation 4; with `output="learned"` the
    AR-STU, equation 6. With `alternating=False, output="learned", output_alpha=0` numbers match `apply_stu` in
    spectral_ssm/model.py of google-deepmind/spectral_ssm (commit f7024d82). With `hankel="Z_L"` the filters of the
    paper's appendix, with their matrix as in src/utils/hankel.py of hazan-lab/tensorized-filters.

    Differences: filters are exact where the released code's are round-off (see `spectral_filters`); the spectral part
    is delayed by two steps whatever the number of output taps, as released.
    """

    Config = STUConfig
    cfg: STUConfig
    bank: Tensor
    spectrum: Tensor
    mixing: Tensor | None

    def __init__(self, cfg: STUConfig, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        fits = cfg.num_filters <= ctx.max_len
        require(fits, "model.num_filters", f"at most the longest sequence, {ctx.max_len}", cfg.num_filters)
        bank = torch.from_numpy(_filter_bank(cfg, ctx.max_len))
        dtype = torch.get_default_dtype()
        self.register_buffer("bank", bank.to(dtype), persistent=False)
        spectrum, mixing, self.ranks = prepared(bank_spectrum(bank), ctx.d_model, ctx.d_out, dtype)
        self.register_buffer("spectrum", spectrum, persistent=False)
        self.register_buffer("mixing", mixing, persistent=False)
        spectral = (cfg.num_filters, ctx.d_model, ctx.d_out)
        self.M_plus = nn.Parameter(torch.zeros(spectral))
        if cfg.alternating:
            self.M_minus = nn.Parameter(torch.zeros(spectral))
        if cfg.input_taps:
            self.M_input = nn.Parameter(self._initial_input_matrices())
        if cfg.output == "learned":
            self.M_output = nn.Parameter(self._initial_output_matrices())

    def _initial_input_matrices(self) -> Tensor:
        M = torch.zeros(self.cfg.input_taps, self.ctx.d_model, self.ctx.d_out)
        if self.cfg.input_init == "normal":
            nn.init.trunc_normal_(M, a=-2.0, b=2.0).div_(self.ctx.d_model**0.5)
        return M

    def _initial_output_matrices(self) -> Tensor:
        M = torch.zeros(self.cfg.output_taps, self.ctx.d_out, self.ctx.d_out)
        if self.cfg.output_alpha:
            M[1] = self.cfg.output_alpha * torch.eye(self.ctx.d_out)
        return M

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, d_model) -> (B, L, d_out), computed in float32 or better, returned in the dtype of `x`."""
        with torch.autocast(x.device.type, enabled=False):
            u = at_least_float32(x)
            delta = bank_conv(u, self._spectrum_for(u), self._bank_weights().to(u.dtype))
            return self._add_past_outputs(delta).to(x.dtype)

    def _spectrum_for(self, u: Tensor) -> Tensor | BandedSpectrum:
        """Transform of the first L rows of the bank; for the longest sequence it is at hand."""
        seq_len = u.shape[1]
        if seq_len == self.ctx.max_len:
            mixing = None if self.mixing is None else self.mixing.to(u.dtype)
            return BandedSpectrum(self.spectrum.to(u.dtype), mixing, self.ranks)
        return bank_spectrum(self.bank[:seq_len].to(u.dtype))

    def _bank_weights(self) -> Tensor:
        """(J, d_model, d_out), in the order of the columns of the bank."""
        parts: list[Tensor] = [self.M_plus]
        if self.cfg.alternating:
            parts.append(self.M_minus)
        if self.cfg.input_taps:
            parts.append(self.M_input)
        return torch.cat(parts)

    def _add_past_outputs(self, delta: Tensor) -> Tensor:
        if self.cfg.output == "fixed":
            return two_step_sum(delta)
        if self.cfg.output == "learned":
            return autoregression(self.M_output.to(delta.dtype), delta)
        return delta

    def backend(self, device: torch.device, batch_size: int, seq_len: int) -> str:
        """Order of the product of spectra, and how a learned recurrence is run."""
        D, Do = self.ctx.d_model, self.ctx.d_out
        filters = max(self.ranks) if seq_len == self.ctx.max_len else self.bank.shape[1]
        ways = [f"spectral convolution: {spectral_conv.route(batch_size, seq_len, D, Do, filters, device)}"]
        if self.cfg.output == "learned":
            ways.append(f"recurrence: {recurrence.route(batch_size, seq_len, Do, self.cfg.output_taps, device)}")
        return "; ".join(ways)

    def state_size(self, seq_len: int) -> int:
        """All past inputs, which the filters reach, and the past outputs that are added."""
        outputs = {"fixed": 2, "learned": self.cfg.output_taps, "none": 0}[self.cfg.output]
        return seq_len * self.ctx.d_model + outputs * self.ctx.d_out

    def optim_hints(self) -> dict[str, OptimHint]:
        """Learned output matrices move slowly and undecayed, as in spectral_ssm/optimizer.py."""
        if self.cfg.output != "learned":
            return {}
        return {"M_output": OptimHint(lr_scale=self.cfg.output_lr_scale, weight_decay=0.0)}


def _filter_bank(cfg: STUConfig, max_len: int) -> np.ndarray:
    """(max_len, J) float64: delayed filters, the same with alternating signs, and a unit impulse for each input tap."""
    sigma, phi = spectral_filters(max_len, cfg.num_filters, cfg.hankel)
    delayed = np.zeros_like(phi)
    delayed[DELAY:] = (sigma**cfg.sigma_power * phi)[: max_len - DELAY]
    parts = [delayed]
    if cfg.alternating:
        signs = np.where(np.arange(max_len) % 2 == DELAY % 2, 1.0, -1.0)
        parts.append(delayed * signs[:, None])
    parts.append(np.eye(max_len, cfg.input_taps))
    return np.concatenate(parts, axis=1)
