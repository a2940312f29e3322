"""The depthwise convolution in blocks and with a skip, and lengths of transforms."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from lra_bench.nn.ops import fft_conv
from lra_bench.nn.ops.fft_conv import channel_conv, fft_length
from tests import op_oracles
from tests.op_cases import CASES, TOLERANCE, Arguments, OpCase, assert_close, assert_equals_oracle
from tests.op_cases import outputs_and_gradients as outcome
from tests.saved_tensors import numbers_kept


def slow(u: Tensor, kernels: Tensor, skip: Tensor) -> Tensor:
    return op_oracles.channel_conv(u, kernels) + skip * u


def drawn(*, L: int, B: int = 3, H: int = 5) -> Arguments:
    arguments = CASES["channel_conv"].arguments({"B": B, "L": L, "H": H})
    return {**arguments, "skip": torch.linspace(-2, 3, H, dtype=torch.float64)}


WITH_SKIP = OpCase(
    fast=channel_conv,
    oracle=slow,
    draw=CASES["channel_conv"].draw,
    sizes=CASES["channel_conv"].sizes,
    typical=CASES["channel_conv"].typical,
    weights=("kernels", "skip"),
    inputs=("u",),
)


@pytest.mark.parametrize("seq_len", [*range(1, 200), 784, 1000, 4097, 16384])
def test_fft_length_holds_a_linear_convolution_and_is_smooth(seq_len):
    n = fft_length(seq_len)
    assert n % 2 == 0
    assert 2 * seq_len <= n <= 2.3 * seq_len + 2
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    assert n == 1


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("L", [1, 37])
@pytest.mark.parametrize(("elements", "channels"), [(2**19, 16), (1, 1), (300, 2)])
def test_blocks_and_skip(dtype, L, elements, channels, monkeypatch):
    monkeypatch.setitem(fft_conv.BLOCK_ELEMENTS, "cpu", elements)
    monkeypatch.setattr(fft_conv, "BLOCK_CHANNELS", channels)
    assert_equals_oracle(WITH_SKIP, drawn(L=L), dtype)


@pytest.mark.parametrize(("elements", "channels"), [(1, 1), (2**19, 3), (2**9, 2), (2**7, 16)])
@pytest.mark.parametrize("B", [1, 3])
def test_blocks_cover_everything_once(elements, channels, B, monkeypatch):
    monkeypatch.setitem(fft_conv.BLOCK_ELEMENTS, "cpu", elements)
    monkeypatch.setattr(fft_conv, "BLOCK_CHANNELS", channels)
    seen = torch.zeros(B, 32, 7)
    for _, parts in fft_conv._blocks(seen, 64):
        for part in parts:
            seen[part] += 1
            assert seen[part].shape[0] * seen[part].shape[2] <= max(elements // 64, channels)
    assert (seen == 1).all()


@pytest.mark.slow
def test_second_derivatives():
    inputs = [value.requires_grad_() for value in drawn(L=3, B=1, H=2).values()]
    assert torch.autograd.gradgradcheck(channel_conv, inputs)
    assert torch.autograd.gradgradcheck(channel_conv, inputs[:2])


@pytest.mark.parametrize("shared", [False, True])
def test_stacks_with_a_skip(shared):
    members = [drawn(L=9, B=1, H=2) for _ in range(3)]
    stack = {name: torch.stack([member[name] * (i + 1) for i, member in enumerate(members)]) for name in members[0]}
    u = stack["u"][0] if shared else stack["u"]

    def loss(kernels: Tensor, skip: Tensor, u: Tensor) -> Tensor:
        return channel_conv(u, kernels, skip).sin().sum()

    found = vmap(grad(loss, (0, 1, 2)), (0, 0, None if shared else 0))(stack["kernels"], stack["skip"], u)
    for i in range(3):
        alone = grad(loss, (0, 1, 2))(stack["kernels"][i], stack["skip"][i], u if shared else u[i])
        for mine, expected in zip(found, alone, strict=True):
            torch.testing.assert_close(mine[i], expected)


def test_keeps_its_arguments_for_the_backward_pass():
    arguments = {name: value.requires_grad_() for name, value in drawn(L=64).items()}
    assert numbers_kept(partial(channel_conv, **arguments)) == sum(value.numel() for value in arguments.values())


def test_what_needs_no_gradient_gets_none():
    arguments = drawn(L=9)
    alone = outcome(channel_conv, arguments, ("kernels",))
    together = outcome(channel_conv, arguments, ("kernels", "skip", "u"))
    assert_close(alone, {name: together[name] for name in alone}, 1e-12)
