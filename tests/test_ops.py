"""Every fast operation against its definition, written out in float64."""

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import grad, vmap

from lra_bench.nn.ops.precision import at_least_float32
from tests.op_cases import (
    CASES,
    TOLERANCE,
    OpCase,
    assert_close,
    assert_equals_oracle,
    cast,
    output_gradient,
    outputs_and_gradients,
)

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
few = settings(deadline=None, derandomize=True, max_examples=4)


def strided(z: object) -> object:
    """The same numbers where no dimension is contiguous."""
    if not isinstance(z, Tensor):
        return z
    order = tuple(reversed(range(z.dim())))
    return torch.stack([z.permute(order)] * 2, dim=-1)[..., 0].permute(order)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@every_case
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_equals_its_definition(case, dtype, data):
    sizes, seed = data.draw(case.sizes), data.draw(st.integers(0, 2**16))
    assert_equals_oracle(case, case.arguments(sizes, seed), dtype)


@every_case
@few
@given(data=st.data())
def test_layout_does_not_matter(case, data):
    arguments = case.arguments(data.draw(case.sizes))
    expected = outputs_and_gradients(case.fast, arguments, case.differentiable)
    scattered = {name: strided(value) for name, value in arguments.items()}
    assert_close(outputs_and_gradients(case.fast, scattered, case.differentiable), expected, 1e-12)


@every_case
def test_gradients_in_any_layout(case):
    """Such as those that a sum or a transposition hands back."""
    given = {n: v.requires_grad_() if n in case.differentiable else v for n, v in case.arguments(case.typical).items()}
    y = case.fast(**given)
    leaves = [given[name] for name in case.differentiable]
    ones, gradient = torch.ones_like(y), output_gradient(y)
    for same, other in ((ones, y.new_ones(()).expand(y.shape)), (gradient, strided(gradient))):
        expected = torch.autograd.grad(y, leaves, same, retain_graph=True)
        found = torch.autograd.grad(y, leaves, other, retain_graph=True)
        torch.testing.assert_close(found, expected)


@every_case
def test_only_the_gradients_that_are_asked_for(case):
    arguments = case.arguments(case.typical)
    expected = outputs_and_gradients(case.fast, arguments, case.differentiable)
    for name in case.differentiable:
        found = outputs_and_gradients(case.fast, arguments, (name,))
        assert_close(found, {key: expected[key] for key in ("output", name)}, 1e-12)


@every_case
def test_under_autocast_with_autocast_off_around_it(case):
    """As mixers call it; the backward pass begins outside."""

    def inside(**arguments: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.autocast("cpu", enabled=False):
            return case.fast(**arguments)

    arguments = case.arguments(case.typical)
    expected = outputs_and_gradients(case.oracle, arguments, case.differentiable)
    single = {name: cast(value, torch.float32) for name, value in arguments.items()}
    assert_close(outputs_and_gradients(inside, single, case.differentiable), expected, TOLERANCE[torch.float32])


def assert_compiled_equals_eager(case: OpCase, backend: str, lengths: tuple[int, ...]) -> None:
    torch.compiler.reset()
    compiled = torch.compile(case.fast, backend=backend)
    for L in lengths:
        arguments = case.arguments({**case.typical, "L": L}, dtype=torch.float32)
        expected = outputs_and_gradients(case.fast, arguments, case.differentiable)
        assert_close(outputs_and_gradients(compiled, arguments, case.differentiable), expected, 1e-5)
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's compiler asks for it
@every_case
def test_compiled(case):
    """Traced and differentiated by the compiler; no code is generated, so no C compiler is needed."""
    assert_compiled_equals_eager(case, "aot_eager", lengths=(37,))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex operators")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs g++")
@every_case
def test_compiled_to_machine_code(case):
    assert_compiled_equals_eager(case, "inductor", lengths=(37, 38, 64))


MEMBERS = 3


def stacks() -> list:
    """Cases with what each member of a stack has for its own."""
    cases = []
    for name, case in CASES.items():
        for stacked in dict.fromkeys([case.weights, case.differentiable]):
            if stacked:
                cases.append(pytest.param(case, stacked, id=f"{name}-{' '.join(stacked)}"))
    return cases


@pytest.mark.parametrize("L", [2, 37])
@pytest.mark.parametrize(("case", "stacked"), stacks())
def test_members_of_a_stack_are_as_if_alone(case, stacked, L):
    members = [case.arguments({**case.typical, "L": L}, seed) for seed in range(MEMBERS)]
    members = [{n: member[n] if n in stacked else v for n, v in members[0].items()} for member in members]
    names = list(members[0])
    together = [torch.stack([m[n] for m in members]) if n in stacked else members[0][n] for n in names]
    own = tuple(0 if n in stacked else None for n in names)
    alone = [outputs_and_gradients(case.fast, member, stacked) for member in members]
    expected = {key: torch.stack([result[key] for result in alone]) for key in alone[0]}

    def call(*values: Tensor) -> Tensor:
        return case.fast(**dict(zip(names, values, strict=True)))

    gradient = output_gradient(expected["output"][0])

    def loss(*values: Tensor) -> tuple[Tensor, Tensor]:
        y = call(*values)
        return (y * gradient.conj()).real.sum(), y

    positions = tuple(names.index(n) for n in stacked)
    gradients, outputs = vmap(grad(loss, positions, has_aux=True), own)(*together)
    assert_close({"output": outputs, **dict(zip(stacked, gradients, strict=True))}, expected, 1e-10)

    leaves = [v.requires_grad_() if n in stacked else v for n, v in zip(names, together, strict=True)]
    outputs = vmap(call, own)(*leaves)
    asked = [leaves[i] for i in positions]
    gradients = torch.autograd.grad(outputs, asked, gradient.expand_as(outputs), materialize_grads=True)
    assert_close({"output": outputs.detach(), **dict(zip(stacked, gradients, strict=True))}, expected, 1e-10)


def test_precision_is_raised_but_never_lowered():
    assert at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert at_least_float32(torch.zeros(1, dtype=torch.float16)).dtype == torch.float32
    assert at_least_float32(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
