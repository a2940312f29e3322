"""The ways of `bank_conv`, one by one: equal numbers, and the memory that is the point of them."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from lra_bench.core.errors import LraBenchError
from lra_bench.core.specs import MixerContext
from lra_bench.models.stu import STU, STUConfig
from lra_bench.nn.ops import spectral_conv
from lra_bench.nn.ops.spectral import spectral_filters
from lra_bench.nn.ops.spectral_conv import BandedSpectrum, Route, banded, bank_conv, bank_spectrum, route
from tests.op_cases import CASES, OpCase, assert_close, assert_equals_oracle

CPU = torch.device("cpu")
CASE = CASES["bank_conv"]
ORDERS = ["response", "terms", "elementwise"]
SIZES = [
    {"B": 2, "L": 37, "J": 5, "D": 3, "Do": 4},
    {"B": 1, "L": 64, "J": 5, "D": 3, "Do": 1},
    {"B": 3, "L": 1, "J": 2, "D": 1, "Do": 2},
]


def force(monkeypatch: pytest.MonkeyPatch, order: str, at_once: int = 7) -> None:
    monkeypatch.setattr(spectral_conv, "route", lambda *_: Route(order, at_once))


def smooth_filters(L: int, K: int = 12) -> Tensor:
    sigma, phi = spectral_filters(L, K)
    return torch.from_numpy(sigma**0.25 * phi)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("at_once", [1, 7, 1000])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_each_order_equals_the_definition(sizes, order, at_once, dtype, monkeypatch):
    force(monkeypatch, order, at_once)
    assert_equals_oracle(CASE, CASE.arguments(sizes), dtype)


def in_bands(case: OpCase) -> OpCase:
    def fast(u: Tensor, bank: Tensor, weights: Tensor) -> Tensor:
        spectrum = banded(bank_spectrum(bank.double()), u.dtype)
        assert len(spectrum.ranks) > 1
        assert max(spectrum.ranks) < bank.shape[1]
        return bank_conv(u, spectrum, weights)

    return dataclasses.replace(case, fast=fast)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("order", ORDERS)
def test_bands_change_nothing(order, dtype, monkeypatch):
    """The filters repeat themselves, so their spectra need no more than half the columns."""
    force(monkeypatch, order)
    monkeypatch.setattr(spectral_conv, "BAND", 16)
    arguments = CASE.arguments({"B": 2, "L": 41, "J": 3, "D": 3, "Do": 2})
    arguments["bank"] = torch.cat([arguments["bank"], 2 * arguments["bank"]], dim=1)
    arguments["weights"] = torch.cat([arguments["weights"], -3 * arguments["weights"].flip(0)])
    assert_equals_oracle(in_bands(CASE), arguments, dtype)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_a_banded_spectrum_is_the_spectrum(dtype, error):
    L, K = 700, 24
    spectrum = bank_spectrum(smooth_filters(L, K))
    table, mixing, ranks = banded(spectrum, dtype)
    edges = [len(spectrum) * n // len(ranks) for n in range(len(ranks) + 1)]
    parts = [table[edges[n] : edges[n + 1], :, :rank] @ mixing[n, :rank] for n, rank in enumerate(ranks)]
    assert (torch.cat(parts) - spectrum).abs().max() < error * spectrum.abs().max()


def test_smooth_filters_need_few_columns_at_high_frequencies():
    ranks = banded(bank_spectrum(smooth_filters(4096, 24)), torch.float32).ranks
    assert max(ranks[4:]) <= 17
    assert ranks[0] > 20


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shared", [True, False])
def test_members_of_a_stack_by_each_order(order, shared, monkeypatch):
    force(monkeypatch, order)
    members = [CASE.arguments(SIZES[0], seed) for seed in range(3)]
    spectrum = bank_spectrum(members[0]["bank"])
    inputs = torch.stack([members[0 if shared else seed]["u"] for seed in range(3)])
    weights = torch.stack([member["weights"] for member in members])

    def loss(weights: Tensor, u: Tensor) -> Tensor:
        return bank_conv(u, spectrum, weights).square().sum()

    together = torch.func.vmap(torch.func.grad(loss), (0, None if shared else 0))
    found = together(weights, inputs[0] if shared else inputs)
    alone = [torch.func.grad(loss)(w, u) for w, u in zip(weights, inputs, strict=True)]
    assert_close({"weights": found}, {"weights": torch.stack(alone)}, 1e-12)


def test_members_share_their_filters():
    m = CASE.arguments(SIZES[0])
    spectra = torch.stack([bank_spectrum(m["bank"])] * 2)
    with pytest.raises(LraBenchError, match="stack parameters, and no buffers"):
        torch.func.vmap(lambda spectrum: bank_conv(m["u"], spectrum, m["weights"]))(spectra)


@pytest.mark.parametrize("order", ["response", "terms"])
def test_little_is_kept_for_the_backward_pass(order, monkeypatch):
    """The input, the weights and the table: neither filtered copies, B L J D numbers, nor the response, 2 F D D_out."""
    force(monkeypatch, order)
    B, L, J, D = 2, 256, 12, 32
    u, weights = torch.randn(B, L, D, requires_grad=True), torch.randn(J, D, D, requires_grad=True)
    spectrum = bank_spectrum(smooth_filters(L, J)).float()
    kept: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 4
        return tensor

    with saved_tensors_hooks(remember, lambda tensor: tensor):
        bank_conv(u, spectrum, weights)
    assert sum(kept.values()) == u.numel() + weights.numel() + spectrum.numel()


def test_the_route_is_what_runs(monkeypatch):
    ran = []
    multiply = spectral_conv.multiply

    def watched(order: str, U: Tensor, table: Tensor, weights: Tensor, conjugate: bool, at_once: int, **rest: Tensor):
        ran.append(Route(order, at_once))
        return multiply(order, U, table, weights, conjugate, at_once, **rest)

    monkeypatch.setattr(spectral_conv, "multiply", watched)
    for B, D in ((1, 3), (2, 40), (3, 40)):
        bank_conv(torch.randn(B, 64, D), bank_spectrum(torch.randn(64, 4)), torch.randn(4, D, D))
        assert ran.pop() == route(B, 64, D, D, 4, CPU)


def test_which_route():
    assert str(route(1, 512, 3, 3, 51, CPU)) == "elementwise of 513 frequencies at a time"
    assert str(route(1, 16384, 64, 64, 24, CPU)) == "terms of 341 frequencies at a time"
    assert str(route(16, 1024, 128, 128, 27, CPU)) == "response of 32 frequencies at a time"


def test_stu_says_its_routes():
    cfg = STUConfig(num_filters=6, output="learned")
    layer = STU(cfg, MixerContext(40, 40, 128))
    said = layer.backend(CPU, 4, 128)
    assert said == "spectral convolution: response of 129 frequencies at a time; recurrence: chunks of 8"
    assert layer.backend(CPU, 1, 100).startswith("spectral convolution: terms of 101 frequencies")


@pytest.mark.parametrize("alternating", [False, True])
def test_stu_in_bands_is_stu_with_the_whole_spectrum(alternating, monkeypatch):
    monkeypatch.setattr(spectral_conv, "BAND", 64)
    layer = STU(STUConfig(num_filters=10, alternating=alternating, output="none"), MixerContext(32, 32, 256))
    assert len(layer.ranks) > 1
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    u = torch.randn(2, 256, 32)
    expected = bank_conv(u.double(), bank_spectrum(layer.bank.double()), layer._bank_weights().double())
    assert (layer(u) - expected).abs().max() < 1e-5 * expected.abs().max()
    assert isinstance(layer._spectrum_for(u), BandedSpectrum)
