"""Chunks of time of the recurrences."""

import pytest
import torch

from lra_bench.nn.ops import recurrence
from tests.op_cases import CASES, assert_equals_oracle


@pytest.mark.parametrize("L", [1, 2, 3, 16, 17, 65, 300])
@pytest.mark.parametrize("k", [1, 2, 4, 20])
@pytest.mark.parametrize("carried", [0, 512])
def test_autoregression_in_chunks_and_without(L, k, carried, monkeypatch):
    monkeypatch.setattr(recurrence, "MAX_CARRIED_STATE", carried)
    case = CASES["autoregression"]
    assert_equals_oracle(case, case.arguments({**case.typical, "L": L, "k": k}), torch.float64)
