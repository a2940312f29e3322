"""DSS against its equations and growing states."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lra_bench.core.errors import ConfigError
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.models.dss import DSS, DSSConfig
from lra_bench.nn.ops.hippo import legs
from tests.recurrences import normal, perturbed, unrolled


def growing(layer: DSS, rate: float) -> DSS:
    """With every other state growing, at least at `rate`."""
    with torch.no_grad():
        layer.Lambda_re[::2] = rate + layer.Lambda_re[::2].abs()
    return layer


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def slow_dss(layer: DSS, x: Tensor) -> Tensor:
    """Proposition 1: kernels state by state, with the softmax over all max_len steps written out; a double loop."""
    L, W, dt = layer.ctx.max_len, torch.view_as_complex(layer.W), layer.log_dt.exp()[:, None]
    softmax = layer.cfg.version == "softmax"
    real = layer.Lambda_re if softmax else -layer.log_Lambda_re.exp()
    Lambda = torch.complex(real, layer.Lambda_im)
    P = (dt * Lambda)[..., None] * torch.arange(L)
    if softmax:
        S = torch.exp(P) / torch.exp(P).sum(-1, keepdim=True)
    else:
        S = (torch.exp(dt * Lambda) - 1)[..., None] * torch.exp(P)
    K = ((W / Lambda)[..., None] * S).sum(1).real
    y = layer.D * x
    for t in range(x.shape[1]):
        for s in range(t + 1):
            y[:, t] += K[:, s] * x[:, t - s]
    return y


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("version", ["softmax", "exp"])
@pytest.mark.parametrize("length", [1, 2, 17, 40])
def test_dss_is_its_convolution(version, length, monkeypatch):
    monkeypatch.setattr("lra_bench.models.dss.EPSILON", 0.0)
    layer = perturbed(DSS(DSSConfig(d_state=6, version=version, dt_min=0.1, dt_max=0.2), MixerContext(3, 3, 40)))
    x = normal(2, length, 3)
    torch.testing.assert_close(layer(x), slow_dss(layer, x), rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("length", [1, 17, 40])
def test_growing_states_are_normalised_too(length, monkeypatch):
    monkeypatch.setattr("lra_bench.models.dss.EPSILON", 0.0)
    cfg = DSSConfig(d_state=6, dt_min=0.1, dt_max=0.2)
    layer = growing(perturbed(DSS(cfg, MixerContext(3, 3, 40))), 0.1)
    x = normal(2, length, 3)
    y = layer(x)
    torch.testing.assert_close(y, slow_dss(layer, x), rtol=1e-10, atol=1e-11)
    slow = torch.autograd.grad(slow_dss(layer, x).square().sum(), list(layer.parameters()))
    torch.testing.assert_close(torch.autograd.grad(y.square().sum(), list(layer.parameters())), slow)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("rate", [0.1, 50.0])
def test_steps_with_growing_states(rate):
    layer = growing(perturbed(DSS(DSSConfig(d_state=6), MixerContext(3, 3, 40))), rate)
    x = normal(2, 40, 3)
    torch.testing.assert_close(unrolled(layer, x), layer(x))


def test_fast_growth_over_16k_steps_is_finite():
    layer = growing(DSS(DSSConfig(d_state=8), MixerContext(2, 2, 16384)), 100.0)
    y = layer(normal(1, 16384, 2).float())
    y.square().mean().backward()
    assert y.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    _, state = layer.step(normal(1, 2).float(), layer.init_state(1))
    assert state.sums.isfinite().all()


@pytest.mark.usefixtures("float64")
def test_the_reciprocal_is_bounded_where_the_softmax_is_not_defined():
    """Over L steps exp(2 pi i l / L) sums to zero."""
    layer = DSS(DSSConfig(d_state=1, dt_min=1.0, dt_max=1.0), MixerContext(1, 1, 10))
    with torch.no_grad():
        layer.Lambda_re.fill_(0.0)
        layer.Lambda_im.fill_(2 * torch.pi / 10)
    kernels = layer.kernels(10, torch.float64)
    kernels.square().sum().backward()
    assert kernels.abs().max() < 1e4
    assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("version", ["softmax", "exp"])
def test_initial_state(version):
    torch.manual_seed(0)
    layer = DSS(DSSConfig(d_state=8, version=version, dt_min=0.01, dt_max=0.2), MixerContext(2000, 2000, 8))
    A, _, P = legs(16)
    frequencies = np.linalg.eigvals(A + np.outer(P, P)).imag
    np.testing.assert_allclose(layer.Lambda_im.detach(), np.sort(frequencies)[8:], rtol=1e-9)
    real = layer.Lambda_re if version == "softmax" else -layer.log_Lambda_re.exp()
    np.testing.assert_allclose(real.detach(), -0.5)
    np.testing.assert_allclose(layer.W.var(dim=(0, 1)).detach(), 1, rtol=0.05)
    dt = layer.log_dt.exp()
    assert 0.01 <= dt.min() < 0.0105
    assert 0.19 < dt.max() <= 0.2001


def test_hints_and_state():
    hint = OptimHint(lr_scale=0.2, weight_decay=0.0)
    for version, real in (("softmax", "Lambda_re"), ("exp", "log_Lambda_re")):
        layer = DSS(DSSConfig(d_state=5, version=version, lr_scale=0.2), MixerContext(3, 3, 8))
        assert layer.optim_hints() == dict.fromkeys({"log_dt", real, "Lambda_im", "W"}, hint)
        assert layer.state_size(100) == 30


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_state": 0}, "model.d_state must be at least 1, got 0"),
        ({"version": "max"}, "model.version must be softmax or exp, got max"),
        ({"dt_min": 0.0}, "model.dt_min must be above 0, got 0.0"),
        ({"dt_min": 0.2}, "model.dt_max must be at least model.dt_min, got 0.1"),
        ({"lr_scale": -1.0}, "model.lr_scale must be at least 0, got -1.0"),
    ],
)
def test_dss_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        DSSConfig(**fields)


def test_dss_maps_each_channel_to_itself():
    with pytest.raises(ConfigError, match="d_out of dss must be its d_model, 3, got 2"):
        DSS(DSSConfig(), MixerContext(3, 2, 8))
