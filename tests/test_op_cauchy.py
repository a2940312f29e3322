"""The sum of poles in blocks, and near a pole."""

from functools import partial

import pytest
import torch

from lra_bench.nn.ops import cauchy
from lra_bench.nn.ops.cauchy import conjugate_poles
from tests.op_cases import CASES, TOLERANCE, assert_equals_oracle
from tests.saved_tensors import numbers_kept

CASE = CASES["conjugate_poles"]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("L", [1, 17, 40])
@pytest.mark.parametrize("elements", [1, 60, 5 * 40 * 2])
def test_blocks_of_angles_and_of_channels(dtype, L, elements, monkeypatch):
    monkeypatch.setitem(cauchy.BLOCK_ELEMENTS, "cpu", elements)
    assert_equals_oracle(CASE, CASE.arguments({"L": L, "H": 3, "J": 2, "M": 5}), dtype)


@pytest.mark.parametrize(("elements", "H", "M"), [(1, 3, 5), (60, 3, 5), (400, 3, 5), (10**6, 3, 5), (7, 1, 9)])
def test_blocks_cover_everything_once(elements, H, M, monkeypatch):
    monkeypatch.setitem(cauchy.BLOCK_ELEMENTS, "cpu", elements)
    seen = torch.zeros(H, 40)
    for h, f in cauchy._blocks(torch.zeros(H, M), torch.zeros(40)):
        seen[h, f] += 1
        assert seen[h, f].numel() * M <= max(elements, M)
    assert (seen == 1).all()


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_poles_close_to_the_circle(dtype):
    """As HiPPO's: imaginary parts from far below one to far above, real parts a thousandth of them."""
    arguments = CASE.arguments({"L": 300, "H": 2, "J": 2, "M": 6})
    frequencies = torch.logspace(-2, 2, 6, dtype=torch.float64).repeat(2, 1)
    arguments["poles"] = torch.complex(-2e-3 * frequencies, frequencies).to(torch.complex64).to(torch.complex128)
    assert_equals_oracle(CASE, arguments, dtype)


def test_keeps_little_for_the_backward_pass():
    """Never a number for each channel, pole and angle, nor for each channel and angle."""
    H, J, M, L = 3, 2, 5, 400
    arguments = CASE.arguments({"L": L, "H": H, "J": J, "M": M})
    for name in CASE.differentiable:
        arguments[name].requires_grad_()
    assert numbers_kept(partial(conjugate_poles, **arguments)) < 10 * H * J * M + 2 * L
