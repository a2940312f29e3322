"""What all linear recurrences promise: long unrolling, long sequences, float32, stacks of models."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.registry import MODELS
from lra_bench.core.specs import MixerContext
from tests.recurrences import normal, perturbed, unrolled

MODEL_FIELDS = {
    "lru": ("lru", {"r_min": 0.9, "r_max": 0.999}),
    "s4": ("s4", {}),
    "s4 rank 2": ("s4", {"rank": 2, "n_ssm": 1}),
    "s4d": ("s4d", {}),
    "s4d legs": ("s4d", {"init": "legs", "discretization": "bilinear"}),
    "s5": ("s5", {"blocks": 8}),
    "s5 full": ("s5", {"conj_sym": False, "discretization": "bilinear"}),
    "dss softmax": ("dss", {"version": "softmax"}),
    "dss exp": ("dss", {"version": "exp"}),
}


def layer_of(case: str, width: int, max_len: int, noise: float = 0.0) -> SequenceMixer:
    name, fields = MODEL_FIELDS[case]
    cls = MODELS.load(name, SequenceMixer)
    cfg: MixerConfig = cls.Config(**fields)
    torch.manual_seed(0)
    return perturbed(cls(cfg, MixerContext(width, width, max_len)), noise)


@torch.no_grad()
@pytest.mark.parametrize("case", MODEL_FIELDS)
def test_4096_steps_equal_forward_in_float32(case):
    layer = layer_of(case, 2, 4096)
    x = normal(1, 4096, 2).float()
    expected = layer(x)
    assert (unrolled(layer, x) - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("case", MODEL_FIELDS)
def test_16k_steps_in_float32(case):
    layer = layer_of(case, 2, 16384)
    x = normal(1, 16384, 2)
    y = layer(x.float())
    y.square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    with torch.no_grad():
        expected = layer.double()(x)
    assert (y - expected).abs().max() < 1e-3 * expected.abs().max()


@pytest.mark.parametrize("case", MODEL_FIELDS)
def test_float32_is_close_to_float64(case):
    layer = layer_of(case, 4, 257, noise=0.02)
    x = normal(2, 257, 4)
    single = layer(x.float()).double()
    double = layer.double()(x)
    assert (single - double).abs().max() < 3e-5 * double.abs().max()


@pytest.mark.parametrize("case", MODEL_FIELDS)
def test_members_of_a_stack_train_as_if_alone(case):
    members = [layer_of(case, 3, 40, noise=0.1 * i).double() for i in range(3)]
    parameters, _ = stack_module_state(members)
    x = normal(2, 40, 3)

    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(members[0], parameters, (x,)).square().mean()

    stacked = vmap(grad(loss), (0, None))(parameters, x)
    for i, member in enumerate(members):
        member(x).square().mean().backward()
        for key, parameter in member.named_parameters():
            torch.testing.assert_close(stacked[key][i], parameter.grad)
