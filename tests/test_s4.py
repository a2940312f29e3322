"""S4 against dense matrices, and its initial state."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from lra_bench.core.errors import ConfigError
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.models.s4 import S4, S4Config, initial_dynamics
from lra_bench.nn.ops.hippo import legs, legs_spectrum
from tests.recurrences import normal, perturbed, unrolled
from tests.saved_tensors import numbers_kept


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def dense(layer: S4) -> tuple[Tensor, Tensor, Tensor]:
    """Discrete A, (H, N, N), B, (H, N), and the parameter C, (H, N), with both of each conjugate pair."""
    share = layer.ctx.d_model // len(layer.A_imag)
    A = torch.complex(-layer.log_A_real.exp(), layer.A_imag).repeat(share, 1)
    B = torch.view_as_complex(layer.B).repeat(share, 1)
    C, P = torch.view_as_complex(layer.C), torch.view_as_complex(layer.P).repeat(1, share, 1)
    A, B, C, P = (torch.cat([both, both.conj()], dim=-1) for both in (A, B, C, P))
    F = torch.diag_embed(A) - torch.einsum("rhn,rhm->hnm", P, P.conj())
    dt, identity = layer.log_dt.exp()[:, None, None], torch.eye(A.shape[-1])
    back = torch.linalg.inv(identity - dt / 2 * F)
    return back @ (identity + dt / 2 * F), (back @ (dt * B[..., None])).squeeze(-1), C


def slow_s4(layer: S4, x: Tensor) -> Tensor:
    A, B, C = dense(layer)
    decay = torch.linalg.matrix_power(A, layer.ctx.max_len)
    C = torch.linalg.solve((torch.eye(A.shape[-1]) - decay).mT, C)
    h, outputs = torch.zeros(len(x), *B.shape, dtype=B.dtype), []
    for u in x.unbind(1):
        h = torch.einsum("hnm,bhm->bhn", A, h) + B * u[..., None]
        outputs.append((C * h).sum(-1).real + layer.D * u)
    return torch.stack(outputs, dim=1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("n_ssm", "rank"), list(product([None, 1, 2], [1, 2, 3])))
@pytest.mark.parametrize(("length", "max_len"), [(1, 1), (1, 40), (17, 40), (37, 37)])
def test_s4_is_its_recurrence(n_ssm, rank, length, max_len):
    layer = perturbed(S4(S4Config(d_state=8, n_ssm=n_ssm, rank=rank), MixerContext(4, 4, max_len)))
    x = normal(2, length, 4)
    torch.testing.assert_close(layer(x), slow_s4(layer, x), rtol=1e-9, atol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("n_ssm", "rank"), [(None, 1), (2, 2), (1, 3)])
def test_steps_are_those_of_forward(n_ssm, rank):
    layer = perturbed(S4(S4Config(d_state=8, n_ssm=n_ssm, rank=rank), MixerContext(4, 4, 40)))
    x = normal(2, 40, 4)
    torch.testing.assert_close(unrolled(layer, x), layer(x), rtol=1e-9, atol=1e-10)


@pytest.mark.usefixtures("float64")
def test_every_vector_of_the_correction_counts():
    layer = perturbed(S4(S4Config(d_state=8, rank=2), MixerContext(4, 4, 40)))
    x = normal(1, 40, 4)
    y = layer(x)
    for vector in range(2):
        kept = layer.P[vector].detach().clone()
        with torch.no_grad():
            layer.P[vector] = 0
        assert (layer(x) - y).abs().max() > 1e-4 * y.abs().max()
        with torch.no_grad():
            layer.P[vector] = kept


@pytest.mark.usefixtures("float64")
def test_the_parameter_starts_as_normal_numbers_carried_to_the_longest_sequence():
    """C (I - A^L): undone, what is left are circular normal numbers of variance 1, whatever the length."""
    for max_len in (16, 500):
        torch.manual_seed(0)
        C = S4(S4Config(d_state=16), MixerContext(200, 200, max_len)).init_state(1).C
        np.testing.assert_allclose([C.real.var().item(), C.imag.var().item()], 0.5, rtol=0.1)
        if max_len == 16:
            first = C
    torch.testing.assert_close(C, first, rtol=1e-8, atol=1e-8)


@pytest.mark.usefixtures("float64")
def test_starts_as_hippo():
    """The state matrix is HiPPO-LegS itself in another basis, with eigenvalues -1 to -N."""
    frequencies, _, P = initial_dynamics(8)
    P, both = torch.view_as_complex(P), torch.complex(torch.full((4,), -0.5), frequencies)
    both, P = torch.cat([both, both.conj()]), torch.cat([P, P.conj()])
    F = torch.diag(both) - torch.outer(P, P.conj())
    eigenvalues = torch.linalg.eigvals(F)
    np.testing.assert_allclose(np.sort(eigenvalues.real), -np.arange(8.0, 0, -1), rtol=1e-6)
    np.testing.assert_allclose(eigenvalues.imag, 0, atol=1e-5)


@pytest.mark.usefixtures("float64")
def test_initial_b_is_clipped_and_p_is_not():
    _, B, P = initial_dynamics(64)
    _, theirs, _ = legs(64)
    whole = legs_spectrum(64)[1][:, :32].conj().T @ theirs
    clipped = np.abs(whole.imag) > 2
    assert clipped.sum() == 11
    np.testing.assert_allclose(B[:, 0], whole.real)
    np.testing.assert_allclose(B[~clipped, 1], whole.imag[~clipped])
    np.testing.assert_allclose(B[clipped, 1].abs(), 2)
    assert P.abs().max() > 20


def test_copies_and_time_steps():
    torch.manual_seed(0)
    layer = S4(S4Config(d_state=4, n_ssm=2, rank=2, dt_min=0.01, dt_max=0.2), MixerContext(2000, 2000, 8))
    assert layer.A_imag.shape == layer.log_A_real.shape == (2, 2)
    assert layer.B.shape == (2, 2, 2)
    assert layer.P.shape == (2, 2, 2, 2)
    assert 0 < layer.P[1].abs().max() < 0.05
    dt = layer.log_dt.exp()
    assert 0.01 <= dt.min() < 0.0105
    assert 0.19 < dt.max() <= 0.2001


def test_hints_and_state():
    layer = S4(S4Config(d_state=6, lr_scale=0.2), MixerContext(3, 3, 8))
    hint = OptimHint(lr_scale=0.2, weight_decay=0.0)
    assert layer.optim_hints() == dict.fromkeys({"log_dt", "log_A_real", "A_imag", "B", "P"}, hint)
    assert layer.state_size(100) == 18


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_state": 7}, "model.d_state must be even and at least 2, got 7"),
        ({"n_ssm": 0}, "model.n_ssm must be at least 1, or null, got 0"),
        ({"n_ssm": 2}, "model.n_ssm must be a divisor of the model's width, 3, got 2"),
        ({"rank": 0}, "model.rank must be at least 1, got 0"),
        ({"dt_min": 0.0}, "model.dt_min must be above 0, got 0.0"),
        ({"dt_min": 0.2}, "model.dt_max must be at least model.dt_min, got 0.1"),
        ({"lr_scale": -1.0}, "model.lr_scale must be at least 0, got -1.0"),
    ],
)
def test_s4_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        S4(S4Config(**fields), MixerContext(3, 3, 8))


def test_s4_maps_each_channel_to_itself():
    with pytest.raises(ConfigError, match="d_out of s4 must be its d_model, 3, got 2"):
        S4(S4Config(), MixerContext(3, 2, 8))


@pytest.mark.parametrize("N", [1, 2, 7, 64, 512])
def test_normal_form_of_hippo(N):
    A, B, P = legs(N)
    eigenvalues, V = legs_spectrum(N)
    np.testing.assert_allclose(V.conj().T @ V, np.eye(N), atol=1e-12)
    np.testing.assert_allclose(V * eigenvalues @ V.conj().T - np.outer(P, P), A, atol=1e-12 * N**2)
    np.testing.assert_allclose(A @ B, -np.array([(n + 1 + n**2) * B[n] for n in range(N)]))
    assert (np.diff(eigenvalues.imag) > 0).all()
    assert (V[0].real > 0).all()
    assert not V[0].imag.any()


def test_the_kernel_keeps_little_for_the_backward_pass():
    """Never a number for each channel, state and frequency: H N L / 4 of them in one real table."""
    H, N, L = 16, 64, 4096
    layer = S4(S4Config(d_state=N), MixerContext(H, H, L))
    assert numbers_kept(lambda: layer.kernels(L, torch.float32)) < H * N * L / 4
