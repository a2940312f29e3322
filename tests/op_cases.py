"""The operations of `lra_bench.nn.ops` beside their definitions, arguments of any size, and how they are compared."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from lra_bench.nn.ops import cauchy, fft_conv, recurrence, scan, selective_scan, spectral_conv, state_space, vandermonde
from tests import op_oracles

Sizes = dict[str, int]
Arguments = dict[str, Any]

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Of values and gradients, relative to the largest."""

LENGTHS = st.integers(1, 40) | st.sampled_from([63, 64, 65, 96, 127, 150])


@dataclass(frozen=True)
class OpCase:
    """One operation.

    Attributes:
        fast: the operation, by the names of its arguments.
        oracle: the same as it is defined.
        draw: float64 arguments of given sizes; names that are neither weights nor inputs are constants.
        sizes: what sizes to try.
        typical: one of them.
        weights: arguments of which every member of a stack of models has its own.
        inputs: arguments that the members may share.
    """

    fast: Callable[..., Tensor]
    oracle: Callable[..., Tensor]
    draw: Callable[["Draw", Sizes], Arguments]
    sizes: st.SearchStrategy[Sizes]
    typical: Sizes
    weights: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()

    def arguments(self, sizes: Sizes, seed: int = 0, dtype: torch.dtype = torch.float64) -> Arguments:
        """Random ones, drawn in float64."""
        drawn = self.draw(Draw(torch.Generator().manual_seed(seed)), sizes)
        return {name: cast(value, dtype) for name, value in drawn.items()}

    @property
    def differentiable(self) -> tuple[str, ...]:
        """Names of the arguments that have gradients."""
        return (*self.weights, *self.inputs)


@dataclass(frozen=True)
class Draw:
    """Random numbers, float64."""

    generator: torch.Generator

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def complex_normal(self, *shape: int) -> Tensor:
        return torch.complex(self.normal(*shape), self.normal(*shape))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator, dtype=torch.float64)

    def decays(self, *shape: int) -> Tensor:
        """Complex, of modulus 0.5 to 0.9999."""
        return torch.polar(1 - self.uniform(0.0001**0.5, 0.5**0.5, *shape) ** 2, self.uniform(0, 2 * math.pi, *shape))


def cast(value: Any, dtype: torch.dtype) -> Any:
    """A tensor in the precision of a real dtype; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    return value.to(dtype.to_complex() if value.is_complex() else dtype)


def sizes(**ranges: tuple[int, int]) -> st.SearchStrategy[Sizes]:
    """A length L, and the others within their ranges."""
    others = {name: st.integers(low, high) for name, (low, high) in ranges.items()}
    return st.fixed_dictionaries({"L": LENGTHS, **others})


def outputs_and_gradients(
    function: Callable[..., Tensor], arguments: Arguments, differentiable: tuple[str, ...], seed: int = 0
) -> dict[str, Tensor]:
    """The output, and the gradient of each argument for a random gradient of the output."""
    given = {n: v.detach().requires_grad_() if n in differentiable else v for n, v in arguments.items()}
    y = function(**given)
    leaves = [given[name] for name in differentiable]
    gradients = torch.autograd.grad(y, leaves, output_gradient(y, seed), materialize_grads=True)
    return {"output": y.detach(), **dict(zip(differentiable, gradients, strict=True))}


def output_gradient(y: Tensor, seed: int = 0) -> Tensor:
    """Random, drawn in float64, so that it is the same in every precision."""
    draw = Draw(torch.Generator().manual_seed(seed + 1))
    return cast(draw.complex_normal(*y.shape) if y.is_complex() else draw.normal(*y.shape), y.real.dtype)


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    """Within a tolerance relative to the largest value of each."""
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.shape == expected[name].shape, name
        error, scale = (value - expected[name]).abs().max().item(), expected[name].abs().max().item()
        assert error <= tolerance * scale + 1e-300, f"{name}: off by {error / (scale or 1):.1e} of the largest value"


def assert_equals_oracle(case: OpCase, arguments: Arguments, dtype: torch.dtype) -> None:
    """Outputs and gradients in a precision, against the definition in float64."""
    expected = outputs_and_gradients(case.oracle, arguments, case.differentiable)
    given = {name: cast(value, dtype) for name, value in arguments.items()}
    found = outputs_and_gradients(case.fast, given, case.differentiable)
    assert_close(found, expected, TOLERANCE[dtype])


def _bank_conv(u: Tensor, bank: Tensor, weights: Tensor) -> Tensor:
    return spectral_conv.bank_conv(u, spectral_conv.bank_spectrum(bank), weights)


def _angles(count: int) -> tuple[Tensor, Tensor]:
    angle = torch.linspace(0, math.pi / 2, count, dtype=torch.float64)
    return angle.cos(), angle.sin()


def _draw_poles(draw: Draw, n: Sizes) -> Arguments:
    cos, sin = _angles(n["L"])
    poles = torch.complex(-draw.uniform(0.05, 1.0, n["H"], n["M"]), 3 * draw.normal(n["H"], n["M"]))
    return {"weights": draw.complex_normal(n["H"], n["J"], n["M"]), "poles": poles, "cos": cos, "sin": sin}


CASES = {
    "channel_conv": OpCase(
        fast=fft_conv.channel_conv,
        oracle=op_oracles.channel_conv,
        draw=lambda draw, n: {"u": draw.normal(n["B"], n["L"], n["H"]), "kernels": draw.normal(n["H"], n["L"])},
        sizes=sizes(B=(1, 3), H=(1, 5)),
        typical={"B": 2, "L": 37, "H": 3},
        weights=("kernels",),
        inputs=("u",),
    ),
    "bank_conv": OpCase(
        fast=_bank_conv,
        oracle=op_oracles.bank_conv,
        draw=lambda draw, n: {
            "u": draw.normal(n["B"], n["L"], n["D"]),
            "bank": draw.normal(n["L"], n["J"]),
            "weights": draw.normal(n["J"], n["D"], n["Do"]),
        },
        sizes=sizes(B=(1, 3), J=(1, 6), D=(1, 4), Do=(1, 4)),
        typical={"B": 2, "L": 37, "J": 5, "D": 3, "Do": 4},
        weights=("weights",),
        inputs=("u",),
    ),
    "two_step_sum": OpCase(
        fast=recurrence.two_step_sum,
        oracle=op_oracles.two_step_sum,
        draw=lambda draw, n: {"x": draw.normal(n["B"], n["L"], n["D"])},
        sizes=sizes(B=(1, 3), D=(1, 4)),
        typical={"B": 2, "L": 37, "D": 3},
        inputs=("x",),
    ),
    "autoregression": OpCase(
        fast=recurrence.autoregression,
        oracle=op_oracles.autoregression,
        draw=lambda draw, n: {
            "taps": draw.normal(n["k"], n["D"], n["D"]) / (2 * n["k"] * n["D"]),
            "x": draw.normal(n["B"], n["L"], n["D"]),
        },
        sizes=sizes(B=(1, 3), D=(1, 4), k=(1, 5)),
        typical={"B": 2, "L": 37, "D": 3, "k": 2},
        weights=("taps",),
        inputs=("x",),
    ),
    "diagonal_scan": OpCase(
        fast=scan.diagonal_scan,
        oracle=op_oracles.diagonal_scan,
        draw=lambda draw, n: {"decay": draw.decays(n["N"]), "x": draw.complex_normal(n["B"], n["L"], n["N"])},
        sizes=sizes(B=(1, 3), N=(1, 5)),
        typical={"B": 2, "L": 37, "N": 3},
        weights=("decay",),
        inputs=("x",),
    ),
    "diagonal_scan of real numbers": OpCase(
        fast=scan.diagonal_scan,
        oracle=op_oracles.diagonal_scan,
        draw=lambda draw, n: {"decay": draw.uniform(-1, 1, n["N"]), "x": draw.normal(n["B"], n["L"], n["N"])},
        sizes=sizes(B=(1, 3), N=(1, 5)),
        typical={"B": 2, "L": 37, "N": 3},
        weights=("decay",),
        inputs=("x",),
    ),
    "state_space": OpCase(
        fast=state_space.state_space,
        oracle=op_oracles.state_space,
        draw=lambda draw, n: {
            "decay": draw.decays(n["N"]),
            "B": draw.complex_normal(n["N"], n["D"]),
            "C": draw.complex_normal(n["Do"], n["N"]),
            "u": draw.normal(n["B"], n["L"], n["D"]),
        },
        sizes=sizes(B=(1, 3), N=(1, 3), D=(1, 5), Do=(1, 5)),
        typical={"B": 2, "L": 37, "N": 1, "D": 3, "Do": 4},
        weights=("decay", "B", "C"),
        inputs=("u",),
    ),
    "selective_scan": OpCase(
        fast=selective_scan.selective_scan,
        oracle=op_oracles.selective_scan,
        draw=lambda draw, n: {
            "A": -draw.normal(n["D"], n["N"]).exp(),
            "x": draw.normal(n["B"], n["L"], n["D"]),
            "dt": draw.normal(n["B"], n["L"], n["D"]).exp(),
            "B": draw.normal(n["B"], n["L"], n["N"]),
            "C": draw.normal(n["B"], n["L"], n["N"]),
        },
        sizes=sizes(B=(1, 3), D=(1, 4), N=(1, 4)),
        typical={"B": 2, "L": 37, "D": 3, "N": 4},
        weights=("A",),
        inputs=("x", "dt", "B", "C"),
    ),
    "exponential_sums": OpCase(
        fast=vandermonde.exponential_sums,
        oracle=op_oracles.exponential_sums,
        draw=lambda draw, n: {
            "weights": draw.complex_normal(n["H"], n["N"]),
            "rates": torch.complex(-draw.uniform(0.001, 0.5, n["H"], n["N"]), 2 * draw.normal(n["H"], n["N"])),
            "seq_len": n["L"],
        },
        sizes=sizes(H=(1, 4), N=(1, 5)),
        typical={"L": 37, "H": 3, "N": 4},
        weights=("weights", "rates"),
    ),
    "conjugate_poles": OpCase(
        fast=cauchy.conjugate_poles,
        oracle=op_oracles.conjugate_poles,
        draw=_draw_poles,
        sizes=sizes(H=(1, 4), J=(1, 3), M=(1, 4)),
        typical={"L": 37, "H": 3, "J": 2, "M": 4},
        weights=("weights", "poles"),
    ),
}
