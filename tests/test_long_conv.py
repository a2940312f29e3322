"""The long convolution against its definition, written out in float64."""

import math

import pytest
import torch
from torch import Tensor

from lra_bench.core.errors import ConfigError
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.models.long_conv import LongConv, LongConvConfig


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def make(*, d_model: int = 3, max_len: int = 40, **fields: float) -> LongConv:
    torch.manual_seed(0)
    return LongConv(LongConvConfig(**fields), MixerContext(d_model, d_model, max_len)).double()


def slow_long_conv(layer: LongConv, x: Tensor) -> Tensor:
    K = layer.kernel
    k = K.sign() * (K.abs() - layer.cfg.threshold).clamp(min=0)
    y = layer.D * x
    for t in range(x.shape[1]):
        for s in range(t + 1):
            y[:, t] += k[:, s] * x[:, t - s]
    return y


@pytest.mark.parametrize("threshold", [0.0, 0.01])
@pytest.mark.parametrize("length", [1, 2, 23, 40])
def test_long_conv_is_its_sum(threshold, length):
    layer, x = make(threshold=threshold), normal(2, length, 3)
    torch.testing.assert_close(layer(x), slow_long_conv(layer, x), rtol=1e-11, atol=1e-12)


def test_entries_below_the_threshold_neither_act_nor_learn():
    layer = make(threshold=0.01)
    layer(normal(2, 40, 3)).square().sum().backward()
    small = layer.kernel.abs() <= 0.01
    assert small.any()
    assert not small.all()
    assert torch.equal(layer.kernel.grad == 0, small)


def test_kernels_start_under_a_double_exponential():
    H, L = 6, 300
    kernel = make(d_model=H, max_len=L, init_scale=0.5).kernel
    envelope = [[math.exp(-(t / L) * (H // 2) ** (h / H)) for t in range(L)] for h in range(H)]
    drawn = kernel / (0.5 * torch.tensor(envelope))
    assert abs(drawn.mean()) < 0.1
    torch.testing.assert_close(drawn.std(dim=1), torch.ones(H, dtype=torch.float64), atol=0.15, rtol=0)


def test_kernel_is_dropped_in_training_alone():
    layer, x = make(kernel_dropout=0.5), normal(2, 9, 3)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


def test_long_conv_carries_all_inputs_and_learns_its_kernel_slowly():
    layer = make(lr_scale=0.05)
    assert layer.state_size(7) == 21
    assert layer.optim_hints() == {"kernel": OptimHint(lr_scale=0.05, weight_decay=0.0)}


def test_long_conv_maps_each_channel_to_itself():
    with pytest.raises(ConfigError, match="d_out of long_conv must be its d_model, 3, got 2"):
        LongConv(LongConvConfig(), MixerContext(3, 2, 8))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"threshold": -0.1}, "model.threshold must be at least 0, got -0.1"),
        ({"kernel_dropout": 1.0}, r"model.kernel_dropout must be in \[0, 1\), got 1.0"),
        ({"init_scale": 0.0}, "model.init_scale must be above 0, got 0.0"),
        ({"lr_scale": -1.0}, "model.lr_scale must be at least 0, got -1.0"),
    ],
)
def test_long_conv_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        LongConvConfig(**fields)
