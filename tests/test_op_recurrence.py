"""The ways of the output recurrences, one by one."""

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from lra_bench.nn.ops import recurrence
from lra_bench.nn.ops.recurrence import Route, autoregression, recur, route, two_step_sum
from tests.op_cases import CASES, assert_close, assert_equals_oracle

CPU = torch.device("cpu")
LEARNED, FIXED = CASES["autoregression"], CASES["two_step_sum"]


def force(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Chunks of some steps, wherever the sequence is longer."""
    monkeypatch.setattr(recurrence, "route", lambda B, L, *_: Route(min(steps, L), -(-L // min(steps, L))))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("steps", [2, 3, 16, 1000])
@pytest.mark.parametrize(
    "sizes", [{"B": B, "L": L, "D": 3, "k": k} for B, L, k in ((2, 37, 2), (1, 64, 5), (3, 1, 1))], ids=str
)
def test_each_length_of_chunks_equals_the_definition(sizes, steps, dtype, monkeypatch):
    """Also where a chunk is shorter than what the taps reach."""
    force(monkeypatch, steps)
    assert_equals_oracle(LEARNED, LEARNED.arguments(sizes), dtype)


@pytest.mark.parametrize("steps", [4, 1000])
def test_from_the_end_is_the_flipped_recurrence(steps, monkeypatch):
    force(monkeypatch, steps)
    arguments = LEARNED.arguments({"B": 2, "L": 21, "D": 3, "k": 2})
    taps, x = arguments["taps"][None], arguments["x"][None]
    torch.testing.assert_close(recur(taps, x, reverse=True), recur(taps, x.flip(2)).flip(2))


@pytest.mark.parametrize("steps", [4, 1000])
@pytest.mark.parametrize("own", [("taps",), ("x",), ("taps", "x")], ids=" ".join)
def test_members_of_a_stack(own, steps, monkeypatch):
    force(monkeypatch, steps)
    members = [LEARNED.arguments({"B": 2, "L": 21, "D": 3, "k": 2}, seed) for seed in range(3)]
    members = [{n: m[n] if n in own else members[0][n] for n in m} for m in members]
    stacked = {n: torch.stack([m[n] for m in members]) if n in own else members[0][n] for n in members[0]}
    together = torch.func.vmap(autoregression, tuple(0 if n in own else None for n in ("taps", "x")))
    y = together(stacked["taps"], stacked["x"])
    alone = torch.stack([autoregression(m["taps"], m["x"]) for m in members])
    assert_close({"output": y}, {"output": alone}, 1e-12)


def test_outputs_and_taps_are_kept_for_the_backward_pass():
    taps, x = torch.randn(2, 4, 4, requires_grad=True), torch.randn(2, 50, 4, requires_grad=True)
    kept: list[int] = []

    def remember(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with saved_tensors_hooks(remember, lambda tensor: tensor):
        autoregression(taps * 0.01, x)
        assert sum(kept) <= 2 * taps.numel() + x.numel() + 1
        kept.clear()
        two_step_sum(x.expand(400, 2, 50, 4).flatten(0, 1))
    assert not kept


def test_which_route():
    assert str(route(16, 1024, 256, 2, CPU)) == "in sequence"
    assert str(route(1, 512, 256, 20, CPU)) == "in sequence"
    assert str(route(4, 4096, 128, 2, CPU)) == "chunks of 16"
    assert route(1, 16384, 64, 2, CPU) == Route(32, 512)


def test_the_route_is_what_runs(monkeypatch):
    ran = []
    take_steps = recurrence._take_steps
    monkeypatch.setattr(recurrence, "_take_steps", lambda *args: (ran.append(args[2]), take_steps(*args)))
    for sizes in ((1, 4096, 4, 2), (16, 40, 64, 2)):
        B, L, D, k = sizes
        autoregression(torch.randn(k, D, D) * 0.01, torch.randn(B, L, D))
        assert ran[0] == route(*sizes, CPU).steps
        ran.clear()


@pytest.mark.parametrize("small", [0, 10**6])
@pytest.mark.parametrize("L", [1, 2, 31, 32, 33, 64, 600, 1025])
def test_two_step_sum_in_blocks_and_at_once(L, small, monkeypatch):
    monkeypatch.setattr(recurrence, "SMALL", small)
    assert_equals_oracle(FIXED, FIXED.arguments({"B": 2, "L": L, "D": 3}), torch.float64)


def test_two_step_sum_of_members(monkeypatch):
    monkeypatch.setattr(recurrence, "SMALL", 0)
    x = torch.randn(3, 2, 35, 4, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(two_step_sum)(x), torch.stack([two_step_sum(one) for one in x]))
