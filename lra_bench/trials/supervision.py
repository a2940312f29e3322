"""What runs in a slot: its processes, their sign of life, and their end."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from lra_bench.trials.plan import Cell
from lra_bench.trials.policy import FAILURES
from lra_bench.trials.slots import Slot
from lra_bench.trials.state import finished_record
from lra_bench.trials.worker import GRACE, PREEMPTED

SHORT_GRACE = 5.0
"""Seconds that processes have to end by themselves when their job has failed."""


class Pulse:
    """How long all of some files have been left untouched, by this machine's clock alone."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._last = self._stamps()
        self._since = time.monotonic()

    def silence(self) -> float:
        """Seconds since a file was last seen to change."""
        if (stamps := self._stamps()) != self._last:
            self._last, self._since = stamps, time.monotonic()
        return time.monotonic() - self._since

    def _stamps(self) -> list[int]:
        stamps = []
        for path in self._paths:
            with suppress(OSError):
                stamps.append(path.stat().st_mtime_ns)
        return stamps


class Job:
    """The processes of a cell, one per rank, which live and die together; or the one process of several cells.

    Args:
        cells: that are run.
        slot: that is occupied.
        processes: by rank; each leads a process group.
        stall_limit: seconds without a sign of life after which it is ended.

    Attributes:
        stalled: it was ended for giving no sign of life.
        exits: rank -> exit code of those that ended by themselves, in the order of their ends.
    """

    def __init__(self, cells: Sequence[Cell], slot: Slot, processes: list[BaseProcess], stall_limit: float) -> None:
        self.cells = cells
        self.slot = slot
        self.stalled = False
        self.exits: dict[int, int] = {}
        self._running = dict(enumerate(processes))
        self._stall_limit = stall_limit
        self._pulse = Pulse([cell.folder / "heartbeat" for cell in cells])
        self._kill_at: float | None = None
        self._killed = False

    @property
    def sentinels(self) -> list[int]:
        """What becomes ready when a process ends."""
        return [process.sentinel for process in self._running.values()]

    @property
    def over(self) -> bool:
        """Whether all processes have ended."""
        return not self._running

    def watch(self) -> None:
        """Notice which processes have ended or fallen silent, and end the others."""
        for rank, process in list(self._running.items()):
            if process.exitcode is not None:
                self._note_end(rank, process.exitcode)
        if self._running and self._kill_at is None and self._pulse.silence() > self._stall_limit:
            self.stalled = True
            self.ask_to_stop()
            self.end_within(SHORT_GRACE)
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            self.kill()

    def ask_to_stop(self) -> None:
        """Let the processes save themselves."""
        for process in self._running.values():
            process.terminate()

    def end_within(self, seconds: float) -> None:
        """Kill the processes that are still there after so many seconds."""
        at = time.monotonic() + seconds
        self._kill_at = at if self._kill_at is None else min(self._kill_at, at)

    def kill(self) -> None:
        """Kill what is left of the processes and of those that they started."""
        self._killed = True
        for process in self._running.values():
            _kill_group(process)

    def _note_end(self, rank: int, exitcode: int) -> None:
        process = self._running.pop(rank)
        process.join()
        _kill_group(process)
        if not self._killed:
            self.exits[rank] = exitcode
        if self._running:
            self.end_within(self._grace_after(exitcode))

    def _grace_after(self, exitcode: int) -> float:
        """Seconds that the other ranks have left when one has ended so."""
        if exitcode < 0:
            return 0.0
        record = finished_record(self.cells[0].folder)
        if exitcode == PREEMPTED or (exitcode == 0 and record is not None and record.status not in FAILURES):
            return GRACE
        return SHORT_GRACE


def _kill_group(process: BaseProcess) -> None:
    """Kill a process and the group that it leads, which may outlive it."""
    assert process.pid is not None
    with suppress(ProcessLookupError):
        if process.exitcode is not None or os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
