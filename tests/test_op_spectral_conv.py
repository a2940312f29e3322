"""Chunks of frequencies, and what they keep."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from lra_bench.nn.ops import spectral_conv
from lra_bench.nn.ops.spectral_conv import bank_conv, bank_spectrum
from tests.op_cases import CASES, assert_equals_oracle
from tests.recurrences import normal


@pytest.mark.parametrize("L", [1, 2, 7, 64, 100])
@pytest.mark.parametrize("chunk", [1, 40, 10**6])
def test_in_chunks_of_frequencies(L, chunk, monkeypatch):
    monkeypatch.setitem(spectral_conv.CHUNK_ELEMENTS, "cpu", chunk)
    case = CASES["bank_conv"]
    assert_equals_oracle(case, case.arguments({**case.typical, "L": L}), torch.float64)


def test_bank_conv_keeps_little_for_the_backward_pass(monkeypatch):
    """Never the filtered copies of the input, B L J D numbers, nor the whole response, 2 F D D_out."""
    monkeypatch.setitem(spectral_conv.CHUNK_ELEMENTS, "cpu", 2**12)
    B, L, J, D = 2, 256, 51, 32
    u, weights = normal(B, L, D).requires_grad_(), normal(J, D, D).requires_grad_()
    spectrum = bank_spectrum(normal(L, J))
    kept: dict[int, int] = {}

    def remember(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes() // 8
        return tensor

    with saved_tensors_hooks(remember, lambda tensor: tensor):
        bank_conv(u, spectrum, weights)
    assert sum(kept.values()) < B * L * J * D / 4
    assert sum(kept.values()) < 2 * L * D * D / 2
