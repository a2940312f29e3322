"""The models: the contract over the registry, each layer against its definition, and what the papers promise."""

import math
import random
from dataclasses import replace
from importlib import resources
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from lra_bench.core.errors import ConfigError
from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.registry import MODELS
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.models.lru import LRU, LRUConfig
from lra_bench.models.s4d import S4D, S4DConfig, initial_frequencies
from lra_bench.models.stu import STU, STUConfig
from lra_bench.nn.ops.spectral import spectral_filters
from lra_bench.testing import MixerCase, check_mixer, mixer_checks

PRESETS = sorted(MODELS.entries())


def preset(name: str) -> tuple[type[SequenceMixer], MixerConfig]:
    """Class of a registered model, and its config with the fields of its preset file, if it has one."""
    cls = MODELS.load(name, SequenceMixer)
    file = resources.files("lra_bench.configs") / "model" / f"{name}.yaml"
    fields = OmegaConf.to_object(OmegaConf.create(file.read_text()))["model"] if file.is_file() else {}
    return cls, cls.Config(name=name, **fields)


def perturbed(mixer: nn.Module, scale: float = 0.1) -> nn.Module:
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=noise, dtype=parameter.dtype))
    return mixer


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


# The contract


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("check", mixer_checks(), ids=lambda check: check.name)
def test_contract(name, check):
    check.run(MixerCase.of(*preset(name), d_model=4, max_len=64))


@pytest.mark.parametrize("name", ["lru", "s4d", "stu", "stu_ar", "stu_released"])
def test_preset_says_what_it_is(name):
    first = (resources.files("lra_bench.configs") / "model" / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# ")
    assert 20 <= len(first) <= 82


@pytest.mark.parametrize("name", ["lru", "s4d", "stu", "stu_ar", "stu_released"])
def test_members_of_a_stack_train_as_if_alone(name):
    cls, cfg = preset(name)
    members = [perturbed(cls(cfg, MixerContext(3, 3, 40)).double()) for _ in range(3)]
    parameters, _ = stack_module_state(members)
    buffers = dict(members[0].named_buffers())
    x = normal(2, 40, 3)

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(members[0], (parameters, buffers), (x,)).square().mean()

    stacked = vmap(grad(loss), (0, None))(parameters, x)
    for i, member in enumerate(members):
        member(x).square().mean().backward()
        for key, parameter in member.named_parameters():
            torch.testing.assert_close(stacked[key][i], parameter.grad)


@pytest.mark.parametrize("name", ["lru", "s4d", "stu", "stu_ar", "stu_released"])
def test_float32_is_close_to_float64(name):
    cls, cfg = preset(name)
    layer = perturbed(cls(cfg, MixerContext(4, 4, 257)), 0.02)
    x = normal(2, 257, 4)
    single = layer(x.float()).double()
    double = layer.double()(x)
    assert (single - double).abs().max() < 3e-5 * double.abs().max()


# STU


def slow_stu(layer: STU, x: Tensor) -> Tensor:
    """Equation 4 of the paper, term by term, with u_t and y_t zero before the start."""
    cfg, L = layer.cfg, x.shape[1]
    sigma, phi = (torch.tensor(a) for a in spectral_filters(layer.ctx.max_len, cfg.num_filters))
    outputs: list[Tensor] = []
    for t in range(L):
        y = x.new_zeros(len(x), layer.ctx.d_out)
        for i in range(t - 2 + 1):
            u = x[:, t - 2 - i]
            for k in range(cfg.num_filters):
                y = y + sigma[k] ** 0.25 * phi[i, k] * u @ layer.M_plus[k]
                if cfg.alternating:
                    y = y + (-1) ** i * sigma[k] ** 0.25 * phi[i, k] * u @ layer.M_minus[k]
        for j in range(min(cfg.input_taps, t + 1)):
            y = y + x[:, t - j] @ layer.M_input[j]
        if cfg.output == "fixed" and t >= 2:
            y = y + outputs[t - 2]
        if cfg.output == "learned":
            for j in range(1, min(cfg.output_taps, t) + 1):
                y = y + outputs[t - j] @ layer.M_output[j - 1]
        outputs.append(y)
    return torch.stack(outputs, dim=1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("output", "alternating", "input_taps"), list(product(["fixed", "learned", "none"], [True, False], [0, 3]))
)
@pytest.mark.parametrize("length", [1, 2, 3, 10, 23, 24])
def test_stu_is_equation_4(output, alternating, input_taps, length):
    cfg = STUConfig(num_filters=5, output=output, alternating=alternating, input_taps=input_taps, output_taps=3)
    layer = perturbed(STU(cfg, MixerContext(2, 3, 24)))
    x = normal(2, length, 2)
    torch.testing.assert_close(layer(x), slow_stu(layer, x), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("output", ["fixed", "learned", "none"])
def test_stu_starts_at_zero(output):
    layer = STU(STUConfig(output=output), MixerContext(3, 3, 64))
    assert not layer(normal(2, 64, 3).float()).any()


def test_stu_output_matrices_start_at_alpha_on_the_second_lag():
    M = STU(STUConfig(output="learned", output_taps=3, output_alpha=0.7), MixerContext(3, 2, 64)).M_output
    torch.testing.assert_close(M, torch.stack([torch.zeros(2, 2), 0.7 * torch.eye(2), torch.zeros(2, 2)]))


def test_stu_released_input_matrices_are_cut_normal():
    torch.manual_seed(0)
    cls, cfg = preset("stu_released")
    M = cls(cfg, MixerContext(64, 64, 32)).M_input * math.sqrt(64)
    assert M.abs().max() <= 2
    assert 0.85 < M.std() < 0.91


def test_stu_output_matrices_learn_slowly_and_undecayed():
    layer = STU(STUConfig(output="learned", output_lr_scale=0.1), MixerContext(3, 3, 64))
    assert layer.optim_hints() == {"M_output": OptimHint(lr_scale=0.1, weight_decay=0.0)}
    assert STU(STUConfig(), MixerContext(3, 3, 64)).optim_hints() == {}


def test_stu_filters_are_not_saved():
    layer = STU(STUConfig(), MixerContext(3, 3, 64))
    assert set(layer.state_dict()) == {"M_plus", "M_minus", "M_input"}


def test_stu_carries_inputs_and_outputs():
    context = MixerContext(3, 2, 64)
    assert STU(STUConfig(), context).state_size(64) == 64 * 3 + 2 * 2
    assert STU(STUConfig(output="learned", output_taps=5), context).state_size(10) == 10 * 3 + 5 * 2
    assert STU(STUConfig(output="none"), context).state_size(10) == 10 * 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_filters": 0}, "model.num_filters must be at least 1, got 0"),
        ({"input_taps": -1}, "model.input_taps must be at least 0, got -1"),
        ({"output": "fix"}, "model.output must be fixed, learned or none, got fix"),
        ({"input_init": "ones"}, "model.input_init must be zeros or normal, got ones"),
        ({"output_taps": 0}, "model.output_taps must be at least 1, got 0"),
        ({"output": "learned", "output_taps": 1}, "model.output_taps must be at least 2 when model.output_alpha"),
        ({"output_lr_scale": -1.0}, "model.output_lr_scale must be at least 0, got -1.0"),
    ],
)
def test_stu_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        STUConfig(**fields)


def test_stu_needs_a_sequence_as_long_as_it_has_filters():
    with pytest.raises(ConfigError, match=r"model.num_filters must be at most the longest sequence, 16, got 24"):
        STU(STUConfig(), MixerContext(3, 3, 16))


def least_squares_stu(poles: list[float], num_filters: int, L: int) -> tuple[STU, float]:
    """The one-channel STU closest to y_t = sum_s sum_p p^s u_{t-s}, and the norm of what its response lacks.

    The filters, the taps and y_{t-2} leave for them the response less itself two steps before.
    """
    layer = STU(STUConfig(num_filters=num_filters), MixerContext(1, 1, L))
    target = np.sum([np.power(pole, np.arange(L)) for pole in poles], axis=0)
    increments = target - np.concatenate([[0, 0], target[:-2]])
    coefficients = np.linalg.lstsq(layer.bank.numpy(), increments, rcond=1e-15)[0]
    with torch.no_grad():
        parts = torch.tensor(coefficients).split([num_filters, num_filters, 3])
        for parameter, values in zip((layer.M_plus, layer.M_minus, layer.M_input), parts, strict=True):
            parameter.copy_(values[:, None, None])
    impulse = torch.zeros(1, L, 1)
    impulse[0, 0] = 1
    response = layer(impulse).detach().numpy().ravel()
    return layer, float(np.linalg.norm(response - target) / np.linalg.norm(target))


@pytest.mark.usefixtures("float64")
def test_stu_represents_marginally_stable_systems():
    """Theorem 3.1: the error falls geometrically with K, whatever the memory of the system."""
    errors = [least_squares_stu([0.9999, -0.9999, 0.9, -0.5], K, 256)[1] for K in (1, 5, 10, 15, 20)]
    assert all(later < earlier / 3 for earlier, later in pairwise(errors))
    assert errors[-1] < 1e-6


@pytest.mark.usefixtures("float64")
def test_stu_without_alternating_filters_misses_negative_eigenvalues():
    both = least_squares_stu([-0.99], 15, 256)[1]
    layer = STU(STUConfig(num_filters=30, alternating=False), MixerContext(1, 1, 256))
    target = np.power(-0.99, np.arange(256))
    increments = target - np.concatenate([[0, 0], target[:-2]])
    fit = layer.bank.numpy() @ np.linalg.lstsq(layer.bank.numpy(), increments, rcond=1e-15)[0]
    assert both < 1e-4
    assert np.linalg.norm(fit - increments) > 0.01 * np.linalg.norm(increments)


# LRU


def slow_lru(layer: LRU, x: Tensor) -> Tensor:
    cfg = layer.cfg
    nu, theta = (layer.nu_log.exp(), layer.theta_log.exp()) if cfg.stable_exp else (layer.nu, layer.theta)
    decay = torch.exp(torch.complex(-nu, theta))
    B, C = torch.view_as_complex(layer.B), torch.view_as_complex(layer.C)
    if cfg.gamma_norm:
        B = layer.gamma_log.exp()[:, None] * B
    D = torch.diag(layer.D) if layer.D.dim() == 1 else layer.D
    h, outputs = torch.zeros(len(x), cfg.d_state, dtype=B.dtype), []
    for u in x.unbind(1):
        h = decay * h + u.to(B.dtype) @ B.T
        outputs.append((h @ C.T).real + u @ D.T)
    return torch.stack(outputs, dim=1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("stable_exp", "gamma_norm", "d_out"), list(product([True, False], [True, False], [3, 2])))
@pytest.mark.parametrize("length", [1, 5, 16, 37])
def test_lru_is_its_recurrence(stable_exp, gamma_norm, d_out, length):
    cfg = LRUConfig(d_state=6, stable_exp=stable_exp, gamma_norm=gamma_norm)
    layer = perturbed(LRU(cfg, MixerContext(3, d_out, 40)))
    x = normal(2, length, 3)
    torch.testing.assert_close(layer(x), slow_lru(layer, x), rtol=1e-11, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_lru_parametrisations_start_at_the_same_eigenvalues():
    layers = []
    for stable_exp in (True, False):
        torch.manual_seed(0)
        layers.append(LRU(LRUConfig(stable_exp=stable_exp, r_min=0.9, r_max=0.99), MixerContext(3, 3, 8)))
    x = normal(1, 8, 3)
    torch.testing.assert_close(layers[0](x), layers[1](x))


@pytest.mark.usefixtures("float64")
def test_lru_normalises_the_variance_of_its_states():
    torch.manual_seed(0)
    layer = LRU(LRUConfig(d_state=50, r_min=0.9, r_max=0.999), MixerContext(3, 3, 8))
    modulus = layer.nu_log.exp().neg().exp()
    torch.testing.assert_close(layer.gamma_log.exp() ** 2, 1 - modulus**2)


def test_lru_hints_cover_eigenvalues_gamma_and_inputs():
    hint = OptimHint(lr_scale=0.5, weight_decay=0.0)
    names = {"nu_log", "theta_log", "gamma_log", "B"}
    assert LRU(LRUConfig(lr_scale=0.5), MixerContext(3, 3, 8)).optim_hints() == dict.fromkeys(names, hint)
    ablated = LRUConfig(lr_scale=0.5, stable_exp=False, gamma_norm=False)
    assert LRU(ablated, MixerContext(3, 3, 8)).optim_hints() == dict.fromkeys({"nu", "theta", "B"}, hint)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_state": 0}, "model.d_state must be at least 1, got 0"),
        ({"r_min": 0.9, "r_max": 0.5}, "model.r_max must be above model.r_min and at most 1, got 0.5"),
        ({"r_max": 1.5}, "model.r_max must be above model.r_min and at most 1, got 1.5"),
        ({"max_phase": 0.0}, "model.max_phase must be above 0, got 0.0"),
        ({"lr_scale": -1.0}, "model.lr_scale must be at least 0, got -1.0"),
    ],
)
def test_lru_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        LRUConfig(**fields)


# S4D


def slow_s4d(layer: S4D, x: Tensor) -> Tensor:
    A = torch.complex(-layer.log_A_real.exp(), layer.A_imag)
    B = torch.view_as_complex(layer.B) if layer.cfg.train_b else torch.ones_like(A)
    C, dt = torch.view_as_complex(layer.C), layer.log_dt.exp()[:, None]
    if layer.cfg.discretization == "zoh":
        discrete_A, discrete_B = torch.exp(dt * A), (torch.exp(dt * A) - 1) / A * B
    else:
        discrete_A, discrete_B = (1 + dt / 2 * A) / (1 - dt / 2 * A), dt / (1 - dt / 2 * A) * B
    h, outputs = torch.zeros(len(x), *A.shape, dtype=A.dtype), []
    for u in x.unbind(1):
        h = discrete_A * h + discrete_B * u[..., None]
        both_of_each_pair = (C * h).sum(-1) + (C * h).conj().sum(-1)
        outputs.append(both_of_each_pair.real + layer.D * u)
    return torch.stack(outputs, dim=1)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("init", "discretization", "train_b"), list(product(["lin", "inv", "legs"], ["zoh", "bilinear"], [True, False]))
)
@pytest.mark.parametrize("length", [1, 2, 5, 16, 37])
def test_s4d_is_its_recurrence(init, discretization, train_b, length):
    cfg = S4DConfig(d_state=8, init=init, discretization=discretization, train_b=train_b)
    layer = perturbed(S4D(cfg, MixerContext(3, 3, 40)))
    x = normal(2, length, 3)
    torch.testing.assert_close(layer(x), slow_s4d(layer, x), rtol=1e-10, atol=1e-11)


def test_s4d_frequencies():
    np.testing.assert_allclose(initial_frequencies("lin", 8), np.pi * np.arange(4))
    np.testing.assert_allclose(initial_frequencies("inv", 8), 8 / np.pi * np.array([7, 5 / 3, 3 / 5, 1 / 7]))
    n = np.arange(8)
    A = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1)
    P = np.sqrt(n + 0.5)
    eigenvalues = np.linalg.eigvals(A + np.outer(P, P))
    np.testing.assert_allclose(eigenvalues.real, -0.5, atol=1e-9)
    np.testing.assert_allclose(initial_frequencies("legs", 8), np.sort(eigenvalues.imag)[4:], rtol=1e-9)


@pytest.mark.parametrize(("init", "discretization"), list(product(["lin", "inv", "legs"], ["zoh", "bilinear"])))
def test_s4d_is_finite_over_16k_steps(init, discretization):
    layer = S4D(S4DConfig(init=init, discretization=discretization, dt_max=1.0), MixerContext(4, 4, 16384))
    y = layer(normal(1, 16384, 4).float())
    y.square().mean().backward()
    assert y.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_s4d_time_steps_are_within_their_range():
    torch.manual_seed(0)
    dt = S4D(S4DConfig(dt_min=0.01, dt_max=0.2), MixerContext(2000, 2000, 8)).log_dt.exp()
    assert 0.01 <= dt.min() < 0.0105
    assert 0.19 < dt.max() <= 0.2001
    assert abs(dt.log().mean() - (math.log(0.01) + math.log(0.2)) / 2) < 0.1


def test_s4d_hints_cover_the_dynamics():
    hint = OptimHint(lr_scale=0.1, weight_decay=0.0)
    names = {"log_dt", "log_A_real", "A_imag"}
    context = MixerContext(3, 3, 8)
    assert S4D(S4DConfig(), context).optim_hints() == dict.fromkeys(names, hint)
    assert S4D(S4DConfig(train_b=True), context).optim_hints() == dict.fromkeys(names | {"B"}, hint)


def test_s4d_maps_each_channel_to_itself():
    with pytest.raises(ConfigError, match="d_out of s4d must be its d_model, 3, got 2"):
        S4D(S4DConfig(), MixerContext(3, 2, 8))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_state": 7}, "model.d_state must be even and at least 2, got 7"),
        ({"init": "legt"}, "model.init must be lin, inv or legs, got legt"),
        ({"discretization": "euler"}, "model.discretization must be zoh or bilinear, got euler"),
        ({"dt_min": 0.2}, "model.dt_max must be at least model.dt_min, got 0.1"),
        ({"lr_scale": -1.0}, "model.lr_scale must be at least 0, got -1.0"),
    ],
)
def test_s4d_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        S4DConfig(**fields)


# The contract suite catches what it is for


class Leaky(SequenceMixer):
    """Sound: a leaky average, then a linear map. Each subclass breaks one property."""

    def __init__(self, cfg: MixerConfig, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        self.W = nn.Parameter(torch.randn(ctx.d_model, ctx.d_out))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        state, outputs = self.init_state(len(x)), []
        for x_t in x.unbind(1):
            y, state = Leaky.step(self, x_t, state)
            outputs.append(y)
        return torch.stack(outputs, dim=1)

    def init_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, self.ctx.d_model)

    def step(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = 0.5 * state + x_t
        return (state.to(self.W.dtype) @ self.W).to(x_t.dtype), state

    def state_size(self, seq_len: int) -> int:
        return self.ctx.d_model


class WrongDtype(Leaky):
    def forward(self, x, mask=None):
        return super().forward(x).double()


class WrongShape(Leaky):
    def forward(self, x, mask=None):
        return super().forward(x).transpose(1, 2)


class EvenOnly(Leaky):
    def forward(self, x, mask=None):
        return super().forward(x.unflatten(1, (-1, 2)).flatten(1, 2))


class IgnoresWidth(Leaky):
    def forward(self, x, mask=None):
        return super().forward(x)[..., : self.ctx.d_model]


class ComplexParameter(Leaky):
    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.A = nn.Parameter(torch.zeros(2, dtype=torch.complex64))


class ComplexBuffer(Leaky):
    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.register_buffer("A", torch.zeros(2, dtype=torch.complex64))


class HalfPrecisionTransform(Leaky):
    def forward(self, x, mask=None):
        low = (x.float() @ self.W.float()).float() if x.dtype == torch.float64 else x @ self.W
        scale = 1e39 if low.dtype == torch.bfloat16 else 1.0
        return super().forward(x) + (0 * (low * scale)).to(x.dtype)


class UnusedParameter(Leaky):
    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.unused = nn.Parameter(torch.zeros(2))


class DeadParameter(Leaky):
    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.dead = nn.Parameter(torch.zeros(()))

    def forward(self, x, mask=None):
        return super().forward(x) + (0 * self.dead).to(x.dtype)


class SeesOneStepAhead(Leaky):
    def forward(self, x, mask=None):
        return super().forward(x.roll(-1, dims=1))


class WrapsAround(Leaky):
    def forward(self, x, mask=None):
        return super().forward(x + 0.01 * x.roll(2, dims=1))


class NormalisesOverTime(Leaky):
    def forward(self, x, mask=None):
        return super().forward(x) / x.shape[1]


class SeesPadding(Leaky):
    def forward(self, x, mask=None):
        y = super().forward(x)
        return y if self.ctx.causal else y + x.mean(1, keepdim=True)


class StepOffByOne(Leaky):
    def step(self, x_t, state):
        y, after = super().step(x_t, state)
        return y - (0.01 * x_t @ self.W).to(y.dtype), after


class MisspeltHint(Leaky):
    def optim_hints(self):
        return {"w": OptimHint(lr_scale=0.1)}


class NegativeRate(Leaky):
    def optim_hints(self):
        return {"W": OptimHint(lr_scale=-0.1)}


class SeedsItself(Leaky):
    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        with torch.no_grad():
            self.W.normal_(generator=torch.Generator().manual_seed(random.SystemRandom().getrandbits(32)))


class UsesPythonRandom(Leaky):
    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        random.shuffle([1, 2])


class UsesNumpyRandom(Leaky):
    def forward(self, x, mask=None):
        np.random.rand()  # noqa: NPY002
        return super().forward(x)


class ForgetsState(Leaky):
    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.register_buffer("shift", torch.randn(ctx.d_out), persistent=False)

    def forward(self, x, mask=None):
        return super().forward(x) + self.shift.to(x.dtype)

    def step(self, x_t, state):
        y, after = super().step(x_t, state)
        return y + self.shift.to(y.dtype), after


class NoState(Leaky):
    def state_size(self, seq_len):
        return 0


class FractionalState(Leaky):
    def state_size(self, seq_len):
        return self.ctx.d_model / 2


@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (WrongDtype, "output shape and dtype"),
        (WrongShape, "output shape and dtype"),
        (EvenOnly, "any length up to max_len"),
        (IgnoresWidth, "d_out other than d_model"),
        (ComplexParameter, "real parameters and buffers"),
        (ComplexBuffer, "real parameters and buffers"),
        (HalfPrecisionTransform, "finite under bf16 autocast"),
        (UnusedParameter, "a gradient for every parameter: unused has none"),
        (DeadParameter, "a gradient for every parameter: that of dead is zero"),
        (SeesOneStepAhead, "causality"),
        (WrapsAround, "causality"),
        (NormalisesOverTime, "causality"),
        (SeesPadding, "padding invariance"),
        (StepOffByOne, "step equals forward"),
        (MisspeltHint, "optimizer hints name parameters: there is no parameter 'w'; there are W"),
        (NegativeRate, "optimizer hints name parameters"),
        (SeedsItself, "same seed, same weights"),
        (UsesPythonRandom, "no random numbers but torch's: python"),
        (UsesNumpyRandom, "no random numbers but torch's: numpy"),
        (ForgetsState, "state dict round trip"),
        (NoState, "state size"),
        (FractionalState, "state size"),
    ],
)
def test_broken_mixer_is_caught(broken, name):
    with pytest.raises(AssertionError, match=f"^{name}"):
        check_mixer(broken)


def test_sound_mixer_passes():
    check_mixer(Leaky)
    check_mixer(lambda ctx: Leaky(MixerConfig(), ctx), d_model=2, max_len=9)


def test_checks_leave_the_generator_of_torch_alone():
    before = torch.get_rng_state()
    check_mixer(STU, replace(STUConfig(), num_filters=4), max_len=16)
    assert torch.equal(torch.get_rng_state(), before)


def test_something_else_is_no_mixer():
    with pytest.raises(AssertionError, match="Linear is not a SequenceMixer"):
        check_mixer(nn.Linear)
