"""Layers that take turns, each in a process of its own: noise falls on all of them, memory is told apart."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lra_bench.benchmarks.cases import Case
from lra_bench.benchmarks.contestant import Pass, Work, serve
from lra_bench.benchmarks.timing import Spread, interleaved
from lra_bench.core.errors import LraBenchError

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext


@dataclass(frozen=True)
class Result:
    """What was measured of one case.

    Attributes:
        forward: None where only both passes together can be told.
        backward: likewise.
        both: forward and backward pass.
        megabytes: most memory of a pass above what was there before, in units of 1e6 bytes.
        building: seconds to make the layer.
        error: relative, of output and gradients; see `Contestant.error`.
        work: that a pass needs at least.
        route: which way our layer computes.
    """

    forward: Spread | None
    backward: Spread | None
    both: Spread
    megabytes: float
    building: float
    error: float | None
    work: Work | None
    route: str | None


class Process:
    """Asks a contestant in its own process."""

    def __init__(self, case: Case) -> None:
        self.case = case
        context = _context()
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, case), daemon=True)
        self._process.start()
        theirs.close()

    def ready(self) -> None:
        """Wait until it is made and warmed up."""
        self._receive()

    def ask(self, method: str) -> Any:
        """What a method of the contestant gives.

        Raises:
            LraBenchError: it failed, or its process ended.
        """
        self._ours.send(method)
        return self._receive()

    def _receive(self) -> Any:
        try:
            well, answer = self._ours.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            answer, well = f"its process ended with {self._process.exitcode}; is there memory enough?", False
        if not well:
            raise LraBenchError(f"{self.case.maker.name} at {self.case.shape.name}: {answer}")
        return answer

    def close(self) -> None:
        """End it."""
        self._ours.close()
        self._process.terminate()
        self._process.join()


def _context() -> "ForkServerContext | SpawnContext":
    """Processes are forked from one that has imported torch and done nothing else, where that can be."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([serve.__module__])
    return context


@contextmanager
def _processes(cases: Sequence[Case]) -> Iterator[list[Process]]:
    processes: list[Process] = []
    try:
        for case in cases:
            processes.append(Process(case))
            processes[-1].ready()
        yield processes
    finally:
        for process in processes:
            process.close()


def race(cases: Sequence[Case], seconds: float, with_errors: bool) -> list[Result]:
    """Measure cases in turns.

    Args:
        cases: all that are to be compared with one another; all of their layers exist at once.
        seconds: of timed passes for each, at least three passes.
        with_errors: measure the error and the least work too.

    Raises:
        LraBenchError: a layer cannot be made, or fails; names it.
    """
    with _processes(cases) as processes:
        turns = {str(place): _turn(process) for place, process in enumerate(processes)}
        passes = interleaved(turns, seconds)
        return [_result(process, passes[str(place)], with_errors) for place, process in enumerate(processes)]


def _turn(process: Process) -> Callable[[], list[Pass]]:
    def turn() -> list[Pass]:
        passes: list[Pass] = process.ask("turn")
        return passes

    return turn


def _result(process: Process, passes: Sequence[Pass], with_errors: bool) -> Result:
    forward = [each.forward for each in passes if each.forward is not None]
    backward = [each.both - each.forward for each in passes if each.forward is not None]
    return Result(
        forward=Spread.of(forward) if forward else None,
        backward=Spread.of(backward) if backward else None,
        both=Spread.of([each.both for each in passes]),
        megabytes=process.ask("megabytes"),
        building=process.ask("building"),
        error=process.ask("error") if with_errors else None,
        work=process.ask("work") if with_errors else None,
        route=process.ask("route"),
    )
