"""One layer in a process of its own: made, warmed up, timed when it is its turn, then looked at.

Its pass is the layer's forward and backward pass for given gradients of the output, with respect to input and
parameters. Memory is the most it takes above what the process held with the layer and its input.
"""

import copy
import importlib.util
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lra_bench.benchmarks.cases import Case
from lra_bench.benchmarks.roofline import Operations, least_bytes
from lra_bench.benchmarks.timing import TURN, Foreign, PeakMemory, now
from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.registry import MODELS
from lra_bench.core.settings import BackboneConfig
from lra_bench.core.specs import MixerContext
from lra_bench.nn.backbone import Block

WARM_UP = 2
"""Passes before the first that is timed; the first one of all allocates and compiles."""

STEPS = 128
"""Of one sequence, computed one at a time as a reference, by models that can."""


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass, in seconds; None where only both together can be told."""

    forward: float | None
    both: float
    disturbed: bool


@dataclass(frozen=True)
class Work:
    """What a pass needs at least: bytes moved and operations done."""

    moved: float
    operations: float


class Contestant:
    """A layer on one input.

    Args:
        case: which; see `build` for what a peer's factory gives.
    """

    def __init__(self, case: Case) -> None:
        torch.set_num_threads(case.threads)
        torch.manual_seed(0)
        self._case = case
        self._device = torch.device(case.device)
        start = time.perf_counter()
        made = build(case)
        self._building = now(self._device) - start
        self._layer = made if isinstance(made, nn.Module) else None
        self._call: Callable[[], object] = self._once if isinstance(made, nn.Module) else made
        self._x = torch.randn(case.shape.sizes, device=self._device, dtype=_input_dtype(case), requires_grad=True)
        self._gradient = torch.randn_like(self._x)
        memory = PeakMemory(self._device)
        for _ in range(WARM_UP):
            self._call()
        self._memory = memory

    def turn(self) -> list[Pass]:
        """Timed passes, for at least `TURN` seconds."""
        foreign, passes = Foreign(), list[tuple[float | None, float]]()
        while sum(both for _, both in passes) < TURN:
            start = now(self._device)
            middle = self._call()
            passes.append((middle - start if isinstance(middle, float) else None, now(self._device) - start))
        disturbed = foreign.ran()
        return [Pass(forward, both, disturbed) for forward, both in passes]

    def megabytes(self) -> float:
        """The most memory that any pass so far took."""
        return self._memory.megabytes()

    def building(self) -> float:
        """Seconds it took to make the layer."""
        return self._building

    def route(self) -> str | None:
        """Which way our layer computes its heavy part."""
        mixer = getattr(self._layer, "mixer", self._layer)
        if not isinstance(mixer, SequenceMixer):
            return None
        return mixer.backend(self._device, self._case.shape.batch, self._case.shape.length)

    def work(self) -> Work | None:
        """What one pass needs at least, where torch can see it."""
        if self._layer is None:
            return None
        with Operations() as operations:
            y = self._forward()
            torch.autograd.backward(y, self._gradient)
        return Work(least_bytes(self._x, y, self._layer.parameters()), operations.total)

    def error(self) -> float | None:
        """The largest error of output and gradients, each relative to its largest value; None where torch sees none.

        It is measured against the same layer in float64 and, where it has a step mode, against `STEPS` steps of one
        sequence, done one after the other in float64; the larger one counts.
        """
        if self._layer is None:
            return None
        exact = copy.deepcopy(self._layer).double()
        errors = [self._error(exact, lambda x: exact(x, *_no_mask(exact)), *self._x.shape[:2])]
        if isinstance(exact, SequenceMixer) and exact.has_step():
            errors.append(self._error(exact, lambda x: _one_by_one(exact, x), 1, min(STEPS, self._x.shape[1])))
        return max(errors)

    def _error(self, exact: nn.Module, run: Callable[[Tensor], Tensor], sequences: int, steps: int) -> float:
        """Of the first steps of the first sequences, against `run` of them, whose parameters are those of `exact`."""
        assert self._layer is not None
        gradient = self._gradient[:sequences, :steps]
        y = self._forward()[:sequences, :steps]
        torch.autograd.backward(y, gradient)
        assert self._x.grad is not None
        found = [y.detach(), self._x.grad[:sequences, :steps], *(each.grad for each in self._layer.parameters())]
        x = self._x.detach()[:sequences, :steps].double().requires_grad_()
        exact.zero_grad(set_to_none=True)
        wanted_y = run(x)
        torch.autograd.backward(wanted_y, gradient.double())
        wanted = [wanted_y.detach(), x.grad, *(each.grad for each in exact.parameters())]
        return max(
            _relative(a, b) for a, b in zip(found, wanted, strict=True) if a is not None and b is not None and b.any()
        )

    def _once(self) -> float:
        """One pass; when its forward part was over."""
        y = self._forward()
        middle = now(self._device)
        torch.autograd.backward(y, self._gradient)
        return middle

    def _forward(self) -> Tensor:
        assert self._layer is not None
        self._layer.zero_grad(set_to_none=True)
        self._x.grad = None
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._case.dtype == "bfloat16"):
            y: Tensor = self._layer(self._x, *_no_mask(self._layer))
        return y.to(self._x.dtype)


def build(case: Case) -> "nn.Module | Callable[[], object]":
    """The layer of a case.

    A peer's factory is called with (batch, length, width), and gives either a `torch.nn.Module` from (B, L, D) to
    (B, L, D), float32; or, of any framework, a function without arguments that does one whole forward and backward pass
    of such a layer with respect to input and parameters, and returns when it is done.
    """
    made = _ours(case) if case.maker.peer is None else _peers(case)
    if isinstance(made, nn.Module):
        _fill_zeros(made)
        made.to(case.device)
        if case.dtype == "float64":
            made.double()
    return made


def _ours(case: Case) -> nn.Module:
    """A mixer, or a block around it."""
    mixer_class = MODELS.load(case.maker.name, SequenceMixer)
    config = mixer_class.Config(**(case.maker.settings or {}))
    ctx = MixerContext(case.shape.width, case.shape.width, case.shape.length)
    if not case.maker.block:
        mixer: nn.Module = mixer_class(config, ctx)
        return mixer
    around = BackboneConfig(norm="none", activation="gelu", glu=True, residual=False, dropout=0.0)
    return Block(around, lambda context: mixer_class(config, context), ctx)


def _peers(case: Case) -> "nn.Module | Callable[[], object]":
    assert case.maker.peer is not None
    file, _, factory = case.maker.peer.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = getattr(module, factory)(*case.shape.sizes)
    if not callable(made):
        raise TypeError(f"{factory} must give a module or a function, not {type(made).__name__}")
    return made  # type: ignore[no-any-return]


def _fill_zeros(layer: nn.Module) -> None:
    """Small random numbers instead of parameters that start at zero, which would hide errors."""
    for parameter in layer.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1 / parameter.shape[-1] ** 0.5)


def _input_dtype(case: Case) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, case.dtype)
    return dtype


def _no_mask(layer: nn.Module) -> tuple[None, ...]:
    """What our layers take besides the input."""
    return (None,) if isinstance(layer, (SequenceMixer, Block)) else ()


def _one_by_one(mixer: SequenceMixer, x: Tensor) -> Tensor:
    """(B, L, D) -> (B, L, D), one step after the other."""
    state, outputs = mixer.init_state(x.shape[0]), []
    for x_t in x.unbind(1):
        y_t, state = mixer.step(x_t, state)
        outputs.append(y_t)
    return torch.stack(outputs, dim=1)


def _relative(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted).abs().max() / wanted.abs().max())


def serve(connection: Connection, case: Case) -> None:
    """The whole life of a contestant's process: answer names of its methods with what they give, until there is none.

    Each answer is (True, value) or (False, what went wrong).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    try:
        contestant = Contestant(case)
        connection.send((True, None))
        while (asked := connection.recv()) is not None:
            answer: Any = getattr(contestant, asked)()
            connection.send((True, answer))
    except EOFError:
        return
    except Exception as error:
        connection.send((False, f"{type(error).__name__}: {' '.join(str(error).split())}"))
