"""S5 against its equations, and its initial state."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from lra_bench.core.errors import ConfigError
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.models.s5 import S5, S5Config
from lra_bench.nn.ops.hippo import legs, legs_spectrum
from tests.recurrences import normal, perturbed


def seeded(width: int, **fields: object) -> S5:
    torch.manual_seed(0)
    return S5(S5Config(**fields), MixerContext(width, width, 8))


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def slow_s5(layer: S5, x: Tensor) -> Tensor:
    """State by state and step by step, with both of each conjugate pair."""
    cfg = layer.cfg
    B, C = torch.view_as_complex(layer.B), torch.view_as_complex(layer.C)
    real = layer.Lambda_re.clamp(max=-1e-4) if cfg.clip_eigs else layer.Lambda_re
    eigenvalues, dt = torch.complex(real, layer.Lambda_im), cfg.step_rescale * layer.log_step.exp()
    if cfg.conj_sym:
        eigenvalues, B = torch.cat([eigenvalues, eigenvalues.conj()]), torch.cat([B, B.conj()])
        C, dt = torch.cat([C, C.conj()], dim=1), dt.repeat(2)
    if cfg.discretization == "zoh":
        decay = torch.exp(eigenvalues * dt)
        discrete_B = ((decay - 1) / eigenvalues)[:, None] * B
    else:
        decay = (1 + dt / 2 * eigenvalues) / (1 - dt / 2 * eigenvalues)
        discrete_B = (dt / (1 - dt / 2 * eigenvalues))[:, None] * B
    D = torch.diag(layer.D) if layer.D.dim() == 1 else layer.D
    h, outputs = torch.zeros(len(x), len(eigenvalues), dtype=B.dtype), []
    for u in x.unbind(1):
        h = decay * h + u.to(B.dtype) @ discrete_B.T
        outputs.append((h @ C.T).real + u @ D.T)
    return torch.stack(outputs, dim=1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("conj_sym", "discretization", "clip_eigs", "step_rescale", "d_out"),
    list(product([True, False], ["zoh", "bilinear"], [True, False], [1.0, 2.5], [3, 2])),
)
@pytest.mark.parametrize("length", [1, 16, 37])
def test_s5_is_its_recurrence(conj_sym, discretization, clip_eigs, step_rescale, d_out, length):
    cfg = S5Config(
        d_state=8,
        blocks=2,
        conj_sym=conj_sym,
        discretization=discretization,
        clip_eigs=clip_eigs,
        step_rescale=step_rescale,
    )
    layer = perturbed(S5(cfg, MixerContext(3, d_out, 40)))
    with torch.no_grad():
        layer.Lambda_re[0] = 0.01
    x = normal(2, length, 3)
    torch.testing.assert_close(layer(x), slow_s5(layer, x), rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_the_options_matter():
    x = normal(1, 30, 3)
    reference = perturbed(seeded(3, d_state=8))(x)
    for fields in ({"discretization": "bilinear"}, {"step_rescale": 1.1}):
        assert (perturbed(seeded(3, d_state=8, **fields))(x) - reference).abs().max() > 1e-6 * reference.abs().max()


@pytest.mark.usefixtures("float64")
def test_clipped_eigenvalues_do_not_grow_nor_learn():
    layer = seeded(3, d_state=8, clip_eigs=True)
    with torch.no_grad():
        layer.Lambda_re[1] = 0.5
    decay, _ = layer._discretized(torch.float64)
    torch.testing.assert_close(decay.abs()[1], torch.exp(-1e-4 * layer.log_step.exp())[1])
    layer(normal(1, 8, 3)).square().sum().backward()
    assert layer.Lambda_re.grad[1] == 0
    assert layer.Lambda_re.grad[[0, 2, 3]].all()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("conj_sym", [True, False])
def test_starts_from_blocks_of_hippo(conj_sym):
    """On both sides of the basis change: the system is that of block-diagonal HiPPO-N with a real B and C."""
    layer = seeded(50, d_state=24, blocks=3, conj_sym=conj_sym, c_init="lecun_normal")
    A, _, P = legs(8)
    _, V = legs_spectrum(8)
    kept = 4 if conj_sym else 8
    frequencies = np.linalg.eigvals(A + np.outer(P, P)).imag
    expected = np.tile(np.sort(frequencies)[:kept], 3)
    np.testing.assert_allclose(layer.Lambda_im.detach(), expected, rtol=1e-9)
    np.testing.assert_allclose(layer.Lambda_re.detach(), -0.5)
    B = torch.view_as_complex(layer.B).detach().numpy().reshape(3, kept, 50)
    restored = np.einsum("np,bpd->bnd", V[:, :kept], B)
    if conj_sym:
        restored = restored + restored.conj()
    np.testing.assert_allclose(restored.imag, 0, atol=1e-12)
    assert np.abs(restored.real).max() <= 2 / 0.8796 * 24**-0.5
    np.testing.assert_allclose(restored.real.std(), 24**-0.5, rtol=0.1)


@pytest.mark.parametrize("conj_sym", [True, False])
@pytest.mark.parametrize(
    ("c_init", "variance"),
    [("trunc_standard_normal", 1 / 64), ("lecun_normal", 1 / (64 * 200)), ("complex_normal", 1 / 2)],
)
def test_initial_c(c_init, variance, conj_sym):
    """Variance of each part; a change of basis by orthonormal columns keeps it."""
    C = seeded(200, d_state=64, blocks=4, c_init=c_init, conj_sym=conj_sym).C
    assert C.shape == (200, 32 if conj_sym else 64, 2)
    np.testing.assert_allclose(C.var(dim=(0, 1)).detach(), variance, rtol=0.1)


def test_time_steps_are_one_for_each_state_and_within_their_range():
    dt = seeded(2, d_state=4000, blocks=500, dt_min=0.01, dt_max=0.2).log_step.exp()
    assert dt.shape == (2000,)
    assert 0.01 <= dt.min() < 0.0105
    assert 0.19 < dt.max() <= 0.2001
    assert abs(dt.log().mean() - np.log(0.01 * 0.2) / 2) < 0.1


def test_hints_state_and_width():
    layer = seeded(3, d_state=8, lr_scale=0.5)
    hint = OptimHint(lr_scale=0.5, weight_decay=0.0)
    assert layer.optim_hints() == dict.fromkeys({"Lambda_re", "Lambda_im", "log_step", "B"}, hint)
    assert layer.state_size(100) == 8
    assert seeded(3, d_state=8, conj_sym=False).state_size(100) == 16


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks": 0}, "model.blocks must be at least 1, got 0"),
        ({"d_state": 12, "blocks": 4}, "model.d_state must be a positive multiple of 8: model.blocks, times 2 for"),
        ({"d_state": 10, "blocks": 4, "conj_sym": False}, "a positive multiple of 4: model.blocks, got 10"),
        ({"discretization": "euler"}, "model.discretization must be zoh or bilinear, got euler"),
        ({"c_init": "zeros"}, "model.c_init must be trunc_standard_normal, lecun_normal or complex_normal, got zeros"),
        ({"step_rescale": 0.0}, "model.step_rescale must be above 0, got 0.0"),
        ({"dt_min": 0.0}, "model.dt_min must be above 0, got 0.0"),
        ({"dt_min": 0.2}, "model.dt_max must be at least model.dt_min, got 0.1"),
        ({"lr_scale": -1.0}, "model.lr_scale must be at least 0, got -1.0"),
    ],
)
def test_s5_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        S5Config(**fields)
