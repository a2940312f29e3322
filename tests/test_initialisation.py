"""Where models start: spreads and ranges as published."""

import math

import pytest
import torch

from lra_bench.core.specs import MixerContext
from lra_bench.models.lru import LRU, LRUConfig
from lra_bench.models.s4d import S4D, S4DConfig
from lra_bench.models.stu import STU, STUConfig


def within(values: torch.Tensor, std: float) -> None:
    """Zero mean and the given spread, within four sampling errors."""
    n = values.numel()
    assert abs(values.mean().item()) < 4 * std / math.sqrt(n)
    assert values.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * n))


@pytest.mark.parametrize(("d_model", "d_out"), [(48, 48), (48, 32)])
def test_lru_matrices_have_the_published_spread(d_model, d_out):
    torch.manual_seed(0)
    layer = LRU(LRUConfig(d_state=300), MixerContext(d_model, d_out, 16))
    within(layer.B, 1 / math.sqrt(2 * d_model))
    within(layer.C, 1 / math.sqrt(300))
    within(layer.D, 1.0 if d_model == d_out else 1 / math.sqrt(d_model))


def test_s4d_starts_with_steps_in_range_and_unit_complex_c():
    torch.manual_seed(0)
    layer = S4D(S4DConfig(d_state=16, dt_min=0.002, dt_max=0.05), MixerContext(4000, 4000, 16))
    dt = layer.log_dt.exp()
    assert 0.002 <= dt.min().item() < 0.0021
    assert 0.049 < dt.max().item() <= 0.05001
    within(layer.log_dt - (math.log(0.002) + math.log(0.05)) / 2, math.log(0.05 / 0.002) / math.sqrt(12))
    within(layer.C, math.sqrt(0.5))
    within(layer.D, 1.0)
    torch.testing.assert_close(layer.log_A_real.exp(), torch.full((4000, 8), 0.5))


def test_stu_starts_at_zero_or_with_a_cut_normal():
    torch.manual_seed(0)
    ctx = MixerContext(100, 100, 32)
    assert not any(p.any() for p in STU(STUConfig(num_filters=4), ctx).parameters())
    M = STU(STUConfig(num_filters=4, input_init="normal"), ctx).M_input
    assert M.abs().max().item() <= 2 / math.sqrt(100)
    cut_spread = 0.8796  # of a normal distribution cut at two standard deviations
    within(M, cut_spread / math.sqrt(100))
