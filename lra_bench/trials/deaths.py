"""Why a trial ended that left no record."""

import shutil
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lra_bench.core.record import Status
from lra_bench.trials.state import log_file
from lra_bench.trials.worker import PREEMPTED

if TYPE_CHECKING:
    from lra_bench.trials.supervision import Job

LOST = 255
"""Exit code of a process whose server was killed, as `multiprocessing` reports it."""
MEMORY = 30.0
"""Seconds between a kernel's kill and the end of the process that it may explain."""


@dataclass(frozen=True)
class Death:
    """What came of a trial whose processes could not say so themselves.

    Attributes:
        status: of the trial.
        message: what happened, in one line.
        from_outside: somebody killed a process, for no reason that lies in the trial.
    """

    status: Status
    message: str
    from_outside: bool = False


def cause(job: "Job", stall_limit: float, kernel_kills: "KernelKills") -> Death:
    """Why a job ended that left a cell without a record.

    Args:
        job: that is over, and was not asked to stop.
        stall_limit: of its signs of life, in seconds.
        kernel_kills: since before its end.
    """
    folder = job.cells[0].folder
    if job.stalled:
        return stalled(folder, stall_limit)
    out_of_memory = -signal.SIGKILL in job.exits.values() and kernel_kills.explain_a_death()
    return explain(folder, job.exits, out_of_memory)


def stalled(folder: Path, limit: float) -> Death:
    """The death of a trial that gave no sign of life for `limit` seconds."""
    from lra_bench.training.history import read_history

    points = read_history(folder / "history.jsonl")
    step = points[-1].step if points else 0
    return Death(Status.TIMEOUT, f"no sign of life for {limit:g} s after step {step}")


def explain(folder: Path, exits: Mapping[int, int], out_of_memory: bool) -> Death:
    """The death of a trial whose processes ended by themselves, not all by request.

    Args:
        folder: the trial's.
        exits: rank -> exit code, first end first.
        out_of_memory: the kernel has just killed some process for lack of memory.
    """
    rank, code = min(exits.items(), key=lambda end: (end[1] not in (-signal.SIGKILL, LOST), end[1] == PREEMPTED))
    process = "the trial's process" if rank == 0 else f"the process of rank {rank}"
    if code == -signal.SIGKILL and out_of_memory:
        return Death(Status.OOM, f"{process} was killed by the kernel for lack of memory")
    if code < 0:
        return Death(Status.ERROR, f"{process} was killed by {signal.Signals(-code).name}", code == -signal.SIGKILL)
    full = "its disk is full" if shutil.disk_usage(folder).free < 2**20 else f"see its {log_file(folder, rank).name}"
    return Death(Status.ERROR, f"{process} exited with code {code} and left no record; {full}", code == LOST)


class KernelKills:
    """Whether Linux has just killed a process for lack of memory; elsewhere it never has."""

    def __init__(self) -> None:
        self._looks = deque([(time.monotonic(), _counters())])

    def look(self) -> None:
        """Take note; to be called often."""
        now = time.monotonic()
        self._looks.append((now, _counters()))
        while self._looks[0][0] < now - MEMORY:
            self._looks.popleft()

    def explain_a_death(self) -> bool:
        """Whether there was such a kill; it explains one death and no more."""
        self.look()
        found = self._looks[0][1] != self._looks[-1][1]
        while found and len(self._looks) > 1:
            self._looks.popleft()
        return found


def _counters() -> tuple[str, ...]:
    """Lines that count such kills: of the machine, and of this process's memory cgroups, versions 1 and 2."""
    return tuple(
        line
        for path in (Path("/proc/vmstat"), *_cgroup_files())
        for line in _lines(path)
        if line.startswith("oom_kill ")
    )


def _cgroup_files() -> Iterator[Path]:
    mounts = Path("/sys/fs/cgroup")
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, group = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield mounts / "memory" / group.lstrip("/") / "memory.oom_control"
            yield mounts / "memory" / "memory.oom_control"
        elif not controllers:
            yield mounts / group.lstrip("/") / "memory.events"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
