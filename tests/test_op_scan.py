"""Ways of the diagonal scan."""

import torch

from lra_bench.nn.ops.scan import diagonal_scan
from tests import op_oracles
from tests.op_cases import Draw


def test_float32_over_a_long_sequence():
    draw = Draw(torch.Generator().manual_seed(0))
    modulus = torch.linspace(0.9, 0.9999, 8, dtype=torch.float64)
    decay = torch.polar(modulus, torch.linspace(0.0, 6.0, 8, dtype=torch.float64))
    x = draw.complex_normal(1, 16384, 8)
    expected = op_oracles.diagonal_scan(decay, x)
    error = (diagonal_scan(decay.to(torch.complex64), x.to(torch.complex64)) - expected).abs().max()
    assert error < 1e-4 * expected.abs().max()
