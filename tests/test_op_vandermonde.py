"""Sums of exponentials in blocks, over long sequences, and for states that decay fast."""

from functools import partial

import pytest
import torch

from lra_bench.nn.ops import vandermonde
from lra_bench.nn.ops.vandermonde import exponential_sums
from tests.op_cases import CASES, TOLERANCE, assert_equals_oracle, cast
from tests.saved_tensors import numbers_kept

CASE = CASES["exponential_sums"]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("L", [1, 2, 36, 37, 90])
@pytest.mark.parametrize("elements", [1, 60])
def test_blocks(dtype, L, elements, monkeypatch):
    monkeypatch.setitem(vandermonde.BLOCK_ELEMENTS, "cpu", elements)
    assert_equals_oracle(CASE, CASE.arguments({"L": L, "H": 5, "N": 3}), dtype)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_states_that_have_decayed_below_the_least_exponent(dtype):
    arguments = CASE.arguments({"L": 100, "H": 2, "N": 3})
    arguments["rates"] = arguments["rates"] * torch.tensor([1.0, 30.0, 1e4], dtype=torch.float64)
    assert_equals_oracle(CASE, arguments, dtype)


def test_float32_over_a_long_sequence():
    """Slow and fast states of S4D: the phase at the end is of thousands of radians."""
    dt = torch.tensor([[0.001], [0.1]], dtype=torch.float64)
    rates = dt * torch.complex(torch.full((8,), -0.5, dtype=torch.float64), torch.pi * torch.arange(8.0).double())
    weights = CASE.arguments({"L": 1, "H": 2, "N": 8})["weights"]
    arguments = {"weights": weights, "rates": cast(cast(rates, torch.float32), torch.float64), "seq_len": 4096}
    assert_equals_oracle(CASE, arguments, torch.float32)


def test_fast_decay_is_finite():
    weights = torch.ones(1, 1, dtype=torch.complex64, requires_grad=True)
    rates = torch.full((1, 1), -1e4, dtype=torch.complex64, requires_grad=True)
    kernels = exponential_sums(weights, rates, 16384)
    kernels.sum().backward()
    assert kernels.isfinite().all()
    assert weights.grad.isfinite().all()
    assert rates.grad.isfinite().all()


def test_keeps_its_arguments_for_the_backward_pass():
    arguments = CASE.arguments({"L": 500, "H": 3, "N": 4})
    forward = partial(exponential_sums, arguments["weights"].requires_grad_(), arguments["rates"].requires_grad_(), 500)
    assert numbers_kept(forward) == 2 * 2 * 3 * 4
