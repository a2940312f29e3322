"""What the disk says about a trial. There is no other state."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout

from lra_bench.core.files import write_atomically
from lra_bench.core.record import RunRecord


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
