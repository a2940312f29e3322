"""Ways of the scans and of state space systems, forced one by one; what they keep; long sequences in float32."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.func import grad, vmap

from lra_bench.core.specs import MixerContext
from lra_bench.models.lru import LRU, LRUConfig
from lra_bench.models.s5 import S5, S5Config
from lra_bench.nn.ops import kernels, scan, state_space
from tests import op_oracles
from tests.op_cases import CASES, Draw, assert_close, assert_equals_oracle, outputs_and_gradients
from tests.recurrences import normal

WAYS = ("with states", "in blocks of 16")


def draw() -> Draw:
    return Draw(torch.Generator().manual_seed(0))


def kept_by(function: Callable[..., Tensor], *arguments: Tensor) -> int:
    """Bytes that autograd holds on to, storages counted once."""
    kept: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    leaves = [z.requires_grad_() for z in arguments]
    with saved_tensors_hooks(remember, lambda tensor: tensor):
        function(*leaves)
    return sum(kept.values())


# The diagonal scan


@pytest.mark.parametrize("chunk", [2, 5, 32])
@pytest.mark.parametrize("L", [1, 2, 9, 64, 131])
@pytest.mark.parametrize("name", ["diagonal_scan", "diagonal_scan of real numbers"])
def test_scan_in_chunks(name, L, chunk, monkeypatch):
    monkeypatch.setattr(scan, "CHUNK", chunk)
    case = CASES[name]
    assert_equals_oracle(case, case.arguments({**case.typical, "L": L}), torch.float64)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("rows", [1, 3])
def test_scan_in_place_with_a_decay_for_each_row_or_for_all(rows, reverse):
    decay, x = draw().decays(rows, 4), draw().complex_normal(3, 150, 4)
    turned = x.flip(1) if reverse else x
    expected = op_oracles.diagonal_scan(decay, turned)
    found = scan.scan_(decay, x.clone(), reverse)
    torch.testing.assert_close(found, expected.flip(1) if reverse else expected, rtol=1e-11, atol=1e-11)


def test_a_kernel_is_called_as_one_sequence_of_channels(monkeypatch):
    """Where a stack has a decay for each row; and its numbers are what comes back."""
    shapes = []

    def kernel(decay: Tensor, x: Tensor, reverse: bool) -> Tensor:
        shapes.append((tuple(decay.shape), tuple(x.shape)))
        turned = x.flip(1) if reverse else x
        y = op_oracles.diagonal_scan(decay, turned)
        return y.flip(1) if reverse else y

    case = CASES["diagonal_scan"]
    arguments = case.arguments(case.typical, dtype=torch.float32)
    rows, x = draw().decays(3, 4).to(torch.complex64), draw().complex_normal(3, 50, 4).to(torch.complex64)
    expected = outputs_and_gradients(case.fast, arguments, case.differentiable), scan.scan_(rows, x.clone())
    monkeypatch.setattr(kernels, "find", lambda name, device: kernel if name == "scan" else None)
    assert_close(outputs_and_gradients(case.fast, arguments, case.differentiable), expected[0], 1e-5)
    torch.testing.assert_close(scan.scan_(rows, x.clone()), expected[1], rtol=1e-4, atol=1e-4)
    assert shapes == [((3,), (2, 37, 3)), ((3,), (2, 37, 3)), ((12,), (1, 50, 12))]


def test_scan_keeps_its_states_alone():
    decay, x = draw().decays(8), draw().complex_normal(2, 500, 8)
    assert kept_by(scan.diagonal_scan, decay, x) == 16 * (x.numel() + decay.numel())


def test_second_derivatives_of_the_scan():
    decay, x = draw().decays(2), draw().complex_normal(1, 9, 2)
    assert torch.autograd.gradgradcheck(scan.diagonal_scan, [decay.requires_grad_(), x.requires_grad_()])


def test_float32_over_a_long_sequence():
    modulus = torch.linspace(0.9, 0.9999, 8, dtype=torch.float64)
    decay = torch.polar(modulus, torch.linspace(0.0, 6.0, 8, dtype=torch.float64))
    x = draw().complex_normal(1, 16384, 8)
    expected = op_oracles.diagonal_scan(decay, x)
    error = (scan.diagonal_scan(decay.to(torch.complex64), x.to(torch.complex64)) - expected).abs().max()
    assert error < 1e-4 * expected.abs().max()


def test_decays_of_zero_and_one():
    decay, x = torch.tensor([0.0, 1.0, -1.0], requires_grad=True), torch.ones(1, 200, 3)
    h = scan.diagonal_scan(decay, x)
    torch.testing.assert_close(h[0, -1], torch.tensor([1.0, 200.0, 0.0]))
    (gradient,) = torch.autograd.grad(h[0, -1].sum(), decay)
    torch.testing.assert_close(gradient, torch.tensor([1.0, 199 * 200 / 2, 100.0]))


def fading(dtype: torch.dtype) -> Tensor:
    """Decays whose powers underflow within a few steps, down to ones that are hardly numbers."""
    modulus = torch.tensor([1e-1, 1e-5, 1e-11, 1e-20, 1e-38], dtype=torch.float64)
    return torch.polar(modulus, torch.arange(5, dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_gradients_of_decays_whose_powers_underflow(dtype):
    decay, x = fading(dtype), draw().complex_normal(1, 100, 5).to(dtype)
    inputs = {"decay": decay, "x": x}
    found = outputs_and_gradients(scan.diagonal_scan, inputs, ("decay", "x"))
    expected = outputs_and_gradients(op_oracles.diagonal_scan, inputs, ("decay", "x"))
    assert_close(found, expected, 1e-5 if dtype == torch.complex64 else 1e-12)


# State space systems


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_that_fade_at_once_have_gradients(way, dtype, monkeypatch):
    monkeypatch.setattr(state_space, "route", lambda *sizes: way)
    parts = fading(torch.complex128), draw().complex_normal(5, 2), draw().complex_normal(2, 5), draw().normal(1, 100, 2)
    inputs = dict(zip(("decay", "B", "C", "u"), parts, strict=True))
    assert_equals_oracle(CASES["state_space"], inputs, dtype)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("L", [1, 2, 15, 16, 17, 150, 600])
def test_every_way_equals_the_definition(way, L, monkeypatch):
    monkeypatch.setattr(state_space, "route", lambda *sizes: way)
    case = CASES["state_space"]
    arguments = case.arguments({**case.typical, "L": L})
    for dtype in (torch.float64, torch.float32):
        assert_equals_oracle(case, arguments, dtype)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_under_vmap(way, monkeypatch):
    monkeypatch.setattr(state_space, "route", lambda *sizes: way)
    case = CASES["state_space"]
    members = [case.arguments(case.typical, seed) for seed in range(3)]
    stacked = [torch.stack([member[name] for member in members]) for name in case.differentiable]

    def loss(*arguments: Tensor) -> Tensor:
        return state_space.state_space(*arguments).square().sum()

    together = vmap(grad(loss, (0, 1, 2, 3)))(*stacked)
    for i in range(3):
        torch.testing.assert_close([z[i] for z in together], list(grad(loss, (0, 1, 2, 3))(*(z[i] for z in stacked))))
    shared = vmap(grad(loss, (0, 1, 2, 3)), (0, None, None, None))(stacked[0], *(z[0] for z in stacked[1:]))
    torch.testing.assert_close(shared[1][0], together[1][0])


@pytest.mark.parametrize("way", WAYS)
def test_float32_over_a_long_sequence_of_inputs(way, monkeypatch):
    monkeypatch.setattr(state_space, "route", lambda *sizes: way)
    modulus = torch.linspace(0.9, 0.9999, 8, dtype=torch.float64)
    decay = torch.polar(modulus, torch.linspace(0.0, 6.0, 8, dtype=torch.float64))
    arguments = [decay, draw().complex_normal(8, 2), draw().complex_normal(2, 8), draw().normal(1, 16384, 2)]
    expected = op_oracles.state_space(*arguments)
    single = [z.to(torch.complex64 if z.is_complex() else torch.float32) for z in arguments]
    error = (state_space.state_space(*single) - expected).abs().max()
    assert error < 1e-4 * expected.abs().max()


def test_what_is_kept(monkeypatch):
    """With states, those of every step; in blocks, less than half of that."""
    batch, L, D, N = 2, 2048, 3, 64
    states = 16 * batch * L * N
    arguments = [draw().decays(N), draw().complex_normal(N, D), draw().complex_normal(D, N), draw().normal(batch, L, D)]
    held = {}
    for way in WAYS:
        monkeypatch.setattr(state_space, "route", lambda *sizes, way=way: way)
        held[way] = kept_by(state_space.state_space, *arguments)
    assert held["with states"] < 1.1 * states
    assert held["in blocks of 16"] < states / 2


def test_the_way_follows_from_the_sizes():
    assert state_space.route(D=3, N=64, d_out=3, L=512) == "in blocks of 16"
    assert state_space.route(D=128, N=256, d_out=128, L=1024) == "with states"
    assert state_space.route(D=3, N=64, d_out=3, L=20) == "with states"


@pytest.mark.parametrize("width", [3, 100])
def test_mixers_say_which_way_they_take(width, monkeypatch):
    context, taken = MixerContext(width, width, 64), []
    monkeypatch.setattr(state_space, "_in_blocks", lambda decay, B, C, u: taken.append("blocks") or u)
    for mixer in (LRU(LRUConfig(), context), S5(S5Config(), context)):
        taken.clear()
        mixer(normal(1, 64, width).float())
        said = mixer.backend(torch.device("cpu"), 1, 64)
        assert said == f"scan {WAYS[len(taken)]}"
