"""What the disk says about a trial. There is no other state."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout

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
    if not folder.exists():
        return Progress.WAITING
    try:
        with claim(folder):
            started = (folder / "checkpoints" / "last.ckpt").exists()
            return Progress.INTERRUPTED if started else Progress.WAITING
    except TrialBusyError:
        return Progress.RUNNING


def set_aside(folder: Path) -> None:
    """Make a trial that is over one to be run again: its record and config keep a name of their own beside the others.

    Raises:
        TrialBusyError: another process is running it.
    """
    with claim(folder):
        number = 1 + len(list(folder.glob("record.retried-*.json")))
        for name in ("record.json", "config.yaml"):
            path = folder / name
            if path.exists():
                path.rename(folder / f"{path.stem}.retried-{number}{path.suffix}")


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
