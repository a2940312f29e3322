"""Long convolutions: a free kernel for each channel, made sparse."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, softshrink

from lra_bench.core.mixer import MixerConfig
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.nn.convolution import ChannelConvolution


@dataclass(frozen=True)
class LongConvConfig(MixerConfig):
    """Knobs of the long convolution.

    Attributes:
        threshold: lambda, by which every entry of the kernel is moved towards zero before use, and smaller ones are
            zero; the paper's Long Range Arena runs take 0.001 to 0.004.
        kernel_dropout: probability, on the entries of the kernel; the same runs take 0.1 to 0.3.
        init_scale: standard deviation of the first entry of a kernel at the start.
        lr_scale: multiplier of the learning rate of the kernel, which also has no weight decay. Those runs take 0.0005
            or 0.001 beside a main rate of 0.01 in most tasks, hence 0.1.
    """

    threshold: float = 0.001
    kernel_dropout: float = 0.0
    init_scale: float = 0.02
    lr_scale: float = 0.1

    def __post_init__(self) -> None:
        require(self.threshold >= 0, "model.threshold", "at least 0", self.threshold)
        require(0 <= self.kernel_dropout < 1, "model.kernel_dropout", "in [0, 1)", self.kernel_dropout)
        require(self.init_scale > 0, "model.init_scale", "above 0", self.init_scale)
        require(self.lr_scale >= 0, "model.lr_scale", "at least 0", self.lr_scale)


class LongConv(ChannelConvolution):
    """One learned kernel, as long as the longest sequence, for each channel.

        y_t = sum_{s=0..t} k_s u_{t-s} + D u_t,    k = sign(K) max(|K| - lambda, 0)

    Paper: Fu et al., "Simple Hardware-Efficient Long Convolutions for Sequence Modeling", arXiv 2302.06646, section 3.
    Kernel, its double-exponential initial values and skip equal `LongConvKernel` in
    src/models/sequence/long_conv_kernel.py and `LongConv` of HazyResearch/safari, with one kernel a channel.

    Differences: activation, GLU and output projection are the backbone's; there, two kernels a channel feed the
    projection. Smoothing of the kernel, which their Long Range Arena recipes do not use either, is left out.
    """

    Config = LongConvConfig
    cfg: LongConvConfig

    def __init__(self, cfg: LongConvConfig, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        require(ctx.d_out == ctx.d_model, "d_out of long_conv", f"its d_model, {ctx.d_model}", ctx.d_out)
        self.kernel = nn.Parameter(cfg.init_scale * _envelope(ctx) * torch.randn(ctx.d_model, ctx.max_len))
        self.D = nn.Parameter(torch.randn(ctx.d_model))

    def kernels(self, seq_len: int, dtype: torch.dtype) -> Tensor:
        """(H, seq_len): the parameter, moved towards zero; some of its entries dropped in training."""
        kernels = softshrink(self.kernel[:, :seq_len].to(dtype), self.cfg.threshold)
        return dropout(kernels, self.cfg.kernel_dropout, self.training)

    def state_size(self, seq_len: int) -> int:
        """All past inputs."""
        return seq_len * self.ctx.d_model

    def optim_hints(self) -> dict[str, OptimHint]:
        """The kernel moves slowly and undecayed."""
        return {"kernel": OptimHint(lr_scale=self.cfg.lr_scale, weight_decay=0.0)}


def _envelope(ctx: MixerContext) -> Tensor:
    """(H, max_len): exp(-(t / max_len) (H // 2)^(h / H)), decay at a rate that grows with the channel."""
    H = ctx.d_model
    rates = float(max(H // 2, 1)) ** (torch.arange(H) / H)
    return torch.exp(-rates[:, None] * torch.arange(ctx.max_len) / ctx.max_len)
