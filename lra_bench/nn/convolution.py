"""What mixers share that run as one causal convolution in each channel."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from lra_bench.core.mixer import SequenceMixer
from lra_bench.nn.ops.fft_conv import channel_conv
from lra_bench.nn.ops.precision import at_least_float32


class ChannelConvolution(SequenceMixer):
    """A kernel and a skip for each channel, y[b, t, h] = sum_{s <= t} K[h, s] x[b, t - s, h] + D[h] x[b, t, h].

    A subclass has the parameter D, (H,), and says what K is.
    """

    mixes_channels: ClassVar[bool] = False
    D: nn.Parameter

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, H) -> (B, L, H), computed in float32 or better, returned in the dtype of `x`."""
        with torch.autocast(x.device.type, enabled=False):
            u = at_least_float32(x)
            return channel_conv(u, self.kernels(u.shape[1], u.dtype), self.D.to(u.dtype)).to(x.dtype)

    @abstractmethod
    def kernels(self, seq_len: int, dtype: torch.dtype) -> Tensor:
        """(H, seq_len) real, of `dtype`."""
