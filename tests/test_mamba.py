"""The selective scan and Mamba, against their recurrences written out in float64."""

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import silu, softplus

from lra_bench.core.errors import ConfigError
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.models import mamba
from lra_bench.models.mamba import Mamba, MambaConfig
from lra_bench.nn.ops import fused_scan
from lra_bench.nn.ops import selective_scan as module
from lra_bench.nn.ops.selective_scan import selective_scan

LENGTHS = [1, 2, 7, 16, 17, 33, 100, 257]


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def arguments(L: int, D: int = 3, N: int = 4) -> list[Tensor]:
    """x, dt, A, B, C, with decays from nearly 1 to nearly 0."""
    dt, A = normal(2, L, D).exp(), -normal(D, N).exp()
    return [z.requires_grad_() for z in (normal(2, L, D), dt, A, normal(2, L, N), normal(2, L, N + 1)[..., 1:])]


def slow_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    h = x.new_zeros(len(x), *A.shape)
    outputs = []
    for t in range(x.shape[1]):
        h = torch.exp(dt[:, t, :, None] * A) * h + torch.einsum("bd,bn->bdn", dt[:, t] * x[:, t], B[:, t])
        outputs.append(torch.einsum("bdn,bn->bd", h, C[:, t]))
    return torch.stack(outputs, dim=1)


# The scan


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize(("chunk", "elements"), [(32, 10**6), (4, 10**6), (4, 500), (4, 1)])
def test_selective_scan_and_its_gradients(monkeypatch, L, chunk, elements):
    monkeypatch.setattr(module, "CHUNK", chunk)
    monkeypatch.setattr(module, "SEGMENT_ELEMENTS", {"cpu": elements})
    given, weights = arguments(L), normal(2, L, 3)
    fast, slow = selective_scan(*given), slow_scan(*given)
    torch.testing.assert_close(fast, slow, rtol=1e-11, atol=1e-12)
    gradients = (torch.autograd.grad((y * weights).sum(), given) for y in (fast, slow))
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)


def test_decay_that_underflows_leaves_gradients_finite():
    x, _, A, B, C = (z.detach().float().requires_grad_() for z in arguments(100))
    dt = torch.full((2, 100, 3), 1e4, requires_grad=True)
    y = selective_scan(x, dt, A, B, C)
    gradients = torch.autograd.grad(y.square().mean(), [x, dt, A, B, C])
    assert y.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_states_of_a_long_sequence_are_not_kept():
    """What autograd keeps is less than one copy of the states, of which there are N for each input."""
    L, D, N = 4096, 16, 16
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    given = [z.detach().float().requires_grad_() for z in arguments(L, D, N)]
    with saved_tensors_hooks(count, lambda tensor: tensor):
        selective_scan(*given)
    assert kept < 2 * L * D * N


# Mamba


def make(*, d_model: int = 3, d_out: int = 2, max_len: int = 40, **fields: float) -> Mamba:
    torch.manual_seed(0)
    return Mamba(MambaConfig(**fields), MixerContext(d_model, d_out, max_len)).double()


def slow_mamba(layer: Mamba, x: Tensor) -> Tensor:
    cfg, D = layer.cfg, len(layer.D)
    uz = x @ layer.W_in.weight.T
    u, z = uz[..., :D], uz[..., D:]
    v = torch.zeros_like(u)
    for t in range(x.shape[1]):
        v[:, t] = layer.conv_bias
        for lag in range(min(cfg.d_conv, t + 1)):
            v[:, t] += layer.conv_weight[cfg.d_conv - 1 - lag] * u[:, t - lag]
    v = silu(v)
    r, B, C = (v @ layer.W_x.weight.T).split([layer.dt_rank, cfg.d_state, cfg.d_state], dim=-1)
    y = slow_scan(v, softplus(layer.W_dt(r)), -layer.log_A.exp(), B, C)
    return ((y + layer.D * v) * silu(z)) @ layer.W_out.weight.T


@pytest.mark.parametrize(("d_model", "d_conv"), [(3, 4), (3, 1), (20, 2)])
@pytest.mark.parametrize("length", [1, 2, 23])
def test_mamba_is_its_equations(d_model, d_conv, length):
    layer, x = make(d_model=d_model, d_conv=d_conv), normal(2, length, d_model)
    torch.testing.assert_close(layer(x), slow_mamba(layer, x), rtol=1e-11, atol=1e-12)


def test_mamba_in_4096_steps_is_forward():
    layer, x = make(max_len=4096).float(), normal(1, 4096, 3).float()
    state, outputs = layer.init_state(1), []
    with torch.no_grad():
        for x_t in x.unbind(1):
            y_t, state = layer.step(x_t, state)
            outputs.append(y_t)
        torch.testing.assert_close(torch.stack(outputs, dim=1), layer(x), rtol=1e-4, atol=1e-4)


def test_mamba_scans_in_float32_under_autocast(monkeypatch):
    seen = []

    def scan(x: Tensor, *others: Tensor) -> Tensor:
        seen.append((torch.is_autocast_enabled("cpu"), {z.dtype for z in (x, *others)}))
        return x

    monkeypatch.setattr("lra_bench.models.mamba.selective_scan", scan)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        make().float()(normal(2, 9, 3).float())
    assert seen == [(False, {torch.float32})]


def test_the_map_to_time_steps_starts_within_its_range():
    weight = make(d_model=200).W_dt.weight  # of rank 200 / 16, rounded up
    bound = 13**-0.5
    assert 0.95 * bound < weight.max().item() <= bound
    assert -bound <= weight.min().item() < -0.95 * bound


def test_time_steps_start_within_their_range():
    dt = softplus(make(d_model=1000, dt_min=0.01, dt_max=0.2).W_dt.bias)
    assert 0.0099 < dt.min() < 0.0105
    assert 0.19 < dt.max() < 0.2001


def test_decays_start_as_in_s4d_real():
    torch.testing.assert_close(make(d_state=5).log_A.exp(), torch.arange(1.0, 6.0).repeat(6, 1).double())


def test_mamba_carries_states_and_past_inputs_and_does_not_decay_its_dynamics():
    layer = make(d_state=5, d_conv=3)
    assert layer.state_size(100) == 6 * (5 + 2)
    assert layer.optim_hints() == dict.fromkeys(["log_A", "D"], OptimHint(weight_decay=0.0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_state": 0}, "model.d_state must be at least 1, got 0"),
        ({"expand": 0}, "model.expand must be at least 1, got 0"),
        ({"d_conv": 0}, "model.d_conv must be at least 1, got 0"),
        ({"dt_min": 0.0}, "model.dt_min must be above 0, got 0.0"),
        ({"dt_min": 0.2}, "model.dt_max must be at least model.dt_min, got 0.1"),
    ],
)
def test_mamba_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        MambaConfig(**fields)


CPU = torch.device("cpu")


def in_their_layout(u, delta, A, B, C):
    """What mamba-ssm's `selective_scan_fn` computes, (batch, D, L), from our oracle."""
    return slow_scan(*(part.transpose(1, 2) for part in (u, delta)), A, B.transpose(1, 2), C.transpose(1, 2)).transpose(
        1, 2
    )


def test_a_kernel_is_used_only_if_it_agrees():
    def right(*parts):
        return fused_scan._call(in_their_layout, *parts)

    def wrong(*parts):
        return 1.01 * right(*parts)

    def without_gradient(*parts):
        return right(*parts).detach()

    def broken(*parts):
        raise RuntimeError("no kernel image is available for execution on the device")

    assert fused_scan.proven(right, CPU) is right
    assert [fused_scan.proven(kernel, CPU) for kernel in (wrong, without_gradient, broken)] == [None] * 3
    assert fused_scan.fused_scan(CPU) is None


def test_a_proven_kernel_is_used_and_named(monkeypatch):
    calls = []

    def kernel(*parts):
        calls.append(len(parts))
        return selective_scan(*parts)

    mixer = Mamba(MambaConfig(), MixerContext(4, 4, 16))
    x = torch.randn(2, 16, 4)
    expected = mixer(x)
    assert mixer.backend(CPU, 2, 16) == "torch"
    monkeypatch.setattr(mamba, "fused_scan", lambda device: kernel)
    monkeypatch.setattr(mamba, "kernel_name", lambda: "mamba-ssm 9.9")
    torch.testing.assert_close(mixer(x), expected)
    assert calls == [5]
    assert mixer.backend(CPU, 2, 16) == "mamba-ssm 9.9"
    mixer.double()(x.double())
    assert calls == [5]
