"""Runs the cells of a sweep that are not done yet."""

import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from lra_bench import experiment
from lra_bench.core.record import Status
from lra_bench.trials import worker
from lra_bench.trials.launchers.local import LocalLauncher, Slot
from lra_bench.trials.plan import Cell, freeze
from lra_bench.trials.state import finished_record

POLL = 1.0
"""Seconds between looks at trials that other runners hold."""


@dataclass
class Sweeping:
    """A sweep being run.

    Attributes:
        waiting: cells to start.
        running: sentinel of a process -> its process, cell and slot.
        elsewhere: cells that another runner holds.
        kernel_kills: see `_kernel_kills`, as last looked at.
    """

    waiting: deque[Cell]
    free: list[Slot]
    running: dict[int, tuple[BaseProcess, Cell, Slot]] = field(default_factory=dict)
    elsewhere: list[Cell] = field(default_factory=list)
    kernel_kills: int = 0


def run_cells(cells: list[Cell], slots: list[Slot], on_done: Callable[[Cell], None]) -> None:
    """Run every cell that has no final record, on all slots at once.

    On return each has one, but for cells that a signal to their own process stopped; the same call goes on with those.

    Args:
        cells: of the sweep; those already done are passed over.
        slots: how many run at a time, and where.
        on_done: called with each cell that is over, also with those that were before.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM; running trials have saved themselves.
        OSError: a record could not be written; running trials have been stopped.
    """
    todo = []
    for cell in cells:
        if finished_record(cell.folder) is None:
            freeze(cell)
            todo.append(cell)
        else:
            on_done(cell)
    if not todo:
        return
    sweeping = Sweeping(deque(todo), list(slots), kernel_kills=_kernel_kills())
    launcher = LocalLauncher()
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        while sweeping.waiting or sweeping.running or sweeping.elsewhere:
            _start_some(sweeping, launcher)
            _reap(sweeping, on_done)
            _look_elsewhere(sweeping, on_done)
    except BaseException:
        _stop_all(sweeping)
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)


def _start_some(sweeping: Sweeping, launcher: LocalLauncher) -> None:
    while sweeping.waiting and sweeping.free:
        cell, slot = sweeping.waiting.popleft(), sweeping.free.pop()
        process = launcher.start(cell, slot)
        sweeping.running[process.sentinel] = process, cell, slot


def _reap(sweeping: Sweeping, on_done: Callable[[Cell], None]) -> None:
    for sentinel in connection.wait(list(sweeping.running), timeout=POLL):
        assert isinstance(sentinel, int)
        process, cell, slot = sweeping.running.pop(sentinel)
        process.join()
        sweeping.free.append(slot)
        if process.exitcode == worker.BUSY:
            sweeping.elsewhere.append(cell)
        elif process.exitcode != worker.PREEMPTED:
            _make_sure_of_a_record(sweeping, cell, process.exitcode or 0)
            on_done(cell)


def _make_sure_of_a_record(sweeping: Sweeping, cell: Cell, exitcode: int) -> None:
    """A process that could not write its record gets one that says how it died."""
    if finished_record(cell.folder) is not None:
        return
    before, sweeping.kernel_kills = sweeping.kernel_kills, _kernel_kills()
    status, message = _death(exitcode, out_of_memory=sweeping.kernel_kills > before)
    experiment.record_death(cell.config, cell.folder, status, message)


def _look_elsewhere(sweeping: Sweeping, on_done: Callable[[Cell], None]) -> None:
    """Take back cells whose holder has finished or died."""
    if not sweeping.elsewhere:
        return
    if not sweeping.running:
        time.sleep(POLL)
    held, sweeping.elsewhere = sweeping.elsewhere, []
    for cell in held:
        if finished_record(cell.folder) is not None:
            on_done(cell)
        else:
            sweeping.waiting.append(cell)


def _stop_all(sweeping: Sweeping) -> None:
    """Ask every running trial to save itself, and wait for it."""
    for process, _, _ in sweeping.running.values():
        process.terminate()
    for process, _, _ in sweeping.running.values():
        process.join(worker.GRACE)
        process.kill()


def _death(exitcode: int, out_of_memory: bool) -> tuple[Status, str]:
    """Status and message of a trial whose process ended without a record."""
    if exitcode >= 0:
        return Status.ERROR, f"the trial's process exited with code {exitcode} and left no record; see its log.txt"
    name = signal.Signals(-exitcode).name
    if exitcode == -signal.SIGKILL and out_of_memory:
        return Status.OOM, "the trial's process was killed by the kernel for lack of memory"
    return Status.ERROR, f"the trial's process was killed by {name}"


def _kernel_kills() -> int:
    """Processes that Linux has killed for lack of memory since it booted; 0 elsewhere."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
