"""What the disk says about a trial. There is no other state."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout

from lra_bench.core.files import write_atomically
from lra_bench.core.record import RunRecord

IN_PROGRAM = "trained in one program with others, whose log is ../programs/"
TAIL = 256
"""Bytes from the end of a log that hold its last line, if it says that."""


class Progress(StrEnum):
    """How far a trial is."""

    DONE = "done"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    WAITING = "waiting"


class TrialBusyError(Exception):
    """Another process is running this trial."""


def finished_record(folder: Path) -> RunRecord | None:
    """The trial's record if the trial is over, else None.

    Raises:
        LraBenchError: there is a record that cannot be read.
    """
    path = folder / "record.json"
    if not path.exists():
        return None
    record = RunRecord.read(path)
    return record if record.status.finished else None


def progress(folder: Path) -> Progress:
    """How far a trial is."""
    if finished_record(folder) is not None:
        return Progress.DONE
    if not (folder / ".lock").exists():  # nobody has ever held it
        return Progress.WAITING
    if (responsibility := take_responsibility(folder)) is None:
        return Progress.RUNNING
    responsibility.release()
    try:
        with claim(folder):
            started = (folder / "checkpoints" / "last.ckpt").exists()
            return Progress.INTERRUPTED if started else Progress.WAITING
    except TrialBusyError:
        return Progress.RUNNING


def log_file(folder: Path, rank: int) -> Path:
    """Where a process of a trial prints."""
    return folder / ("log.txt" if rank == 0 else f"log.rank-{rank}.txt")


def program_log(folder: Path) -> Path:
    """Where a program of several trials prints, of which `folder` is the first one's."""
    return folder.parent / "programs" / f"{folder.name}.txt"


def note_program(folders: Sequence[Path]) -> None:
    """Have the log of each of several trials say in whose log the program prints that trains them from now on."""
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {IN_PROGRAM}{program_log(folders[0]).name}\n"
    for folder in folders:
        with log_file(folder, 0).open("a", encoding="utf-8") as file:
            file.write(line)


def last_program(folder: Path) -> Path | None:
    """The log of the program that trains a trial, or was the last to do so; None where it was last trained alone."""
    try:
        with log_file(folder, 0).open("rb") as file:
            file.seek(-min(TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            line = file.read().decode("utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(rf"{IN_PROGRAM}(\w+)\.txt\n\Z", line)
    return folder.parent / "programs" / f"{found[1]}.txt" if found else None


def set_aside(folder: Path) -> None:
    """Make a trial that is over one to be run again: its record and config keep a name of their own beside the others.

    Raises:
        TrialBusyError: another process is running it.
    """
    with claim(folder, wait=2.0):
        number = 1 + len(list(folder.glob("record.retried-*.json")))
        for name in ("config.yaml", "record.json"):  # the trial is over until the last one is moved
            path = folder / name
            if path.exists():
                path.rename(folder / f"{path.stem}.retried-{number}{path.suffix}")


def take_responsibility(folder: Path) -> FileLock | None:
    """Hold a trial for a runner, from before it starts a process to after it has seen to the end of it.

    A process that dies lets go of its `claim` before its runner can write a record; nobody else may run it meanwhile.

    Returns:
        What to release, or None where another runner is responsible.
    """
    lock = FileLock(folder / ".runner")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


class Responsibilities:
    """The trials that a runner is responsible for."""

    def __init__(self) -> None:
        self._locks: dict[Path, FileLock] = {}

    def take(self, folder: Path) -> bool:
        """Become responsible for a trial, whose folder is made; says whether no other runner is."""
        folder.mkdir(parents=True, exist_ok=True)
        lock = take_responsibility(folder)
        if lock is not None:
            self._locks[folder] = lock
        return lock is not None

    def release(self, folder: Path) -> None:
        """Be responsible for a trial no more, if it was."""
        if folder in self._locks:
            self._locks.pop(folder).release()

    def release_all(self) -> None:
        """Be responsible for none."""
        for folder in list(self._locks):
            self.release(folder)


@contextmanager
def claim(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold a trial: the kernel lets it go when this process dies, however it dies.

    Args:
        folder: the trial's, which exists.
        wait: seconds to try, long enough to outlast a glance of `progress`.

    Raises:
        TrialBusyError: another process holds it.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=wait)
    except Timeout as error:
        raise TrialBusyError(str(folder)) from error
    try:
        yield
    finally:
        lock.release()


def ask_to_stop(study: Path) -> None:
    """Have every runner and every trial of a study save itself and stop, on whatever machine it is."""
    write_atomically(_stop_file(study), "written by `lra-bench sweep stop`; `lra-bench sweep run` removes it\n")


def forget_stop(study: Path) -> None:
    """Let trials of a study run again."""
    _stop_file(study).unlink(missing_ok=True)


class StopRequest:
    """Looks for a request to stop a study.

    Args:
        study: the folder of its trials.
        ignore_old: one that is there already means others.
    """

    def __init__(self, study: Path, ignore_old: bool = False) -> None:
        self._path = _stop_file(study)
        self._ignored = self._stamp() if ignore_old else None

    @property
    def made(self) -> bool:
        """Whether there is one."""
        return (stamp := self._stamp()) is not None and stamp != self._ignored

    def _stamp(self) -> int | None:
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return None


def _stop_file(study: Path) -> Path:
    return study / "stop"
