"""The inside of a trial's process."""

import logging
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from lra_bench.config.compose import load_frozen
from lra_bench.core.record import RunRecord, Status
from lra_bench.trials.state import (
    StopRequest,
    TrialBusyError,
    claim,
    finished_record,
    log_file,
    note_program,
    program_log,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning import Callback

    from lra_bench.training.ranks import Rank

BUSY = 69
PREEMPTED = 75
"""Exit codes, as in sysexits.h: unavailable, and try again."""
GRACE = 60.0
"""Seconds that a trial whose runner died has to save itself."""


@dataclass(frozen=True)
class Place:
    """As what and where a process of a trial runs.

    Attributes:
        rank: its number among the trial's processes.
        ranks: how many these are.
        rendezvous: a file that does not exist yet, by which they find each other.
        visible_devices: `CUDA_VISIBLE_DEVICES`, or None for no choice.
        cores: CPU cores to stay on; empty for no choice.
        on_terminal: print where the runner does, with a progress bar, instead of into a log file.
        observers: callbacks that look on, such as a stopwatch.
    """

    rank: int
    ranks: int
    rendezvous: Path
    visible_devices: str | None = None
    cores: tuple[int, ...] = ()
    on_terminal: bool = False
    observers: "tuple[Callback, ...]" = ()


def run_trial(
    folder: Path, show_progress: bool = False, observers: "Sequence[Callback]" = (), rank: "Rank | None" = None
) -> RunRecord:
    """Run the trial frozen in `folder`, or return its record if it is already over.

    Args:
        folder: the trial's.
        show_progress: draw a progress bar.
        observers: callbacks that look on.
        rank: which of several processes this is; the first one claims the trial for all.

    Raises:
        TrialBusyError: another process is running it.
    """
    from lra_bench import experiment

    with claim(folder, wait=2.0) if rank is None or rank.index == 0 else nullcontext():
        done = finished_record(folder)
        return done or experiment.run(load_frozen(folder / "config.yaml"), folder, show_progress, observers, rank)


def run_program(folders: "Sequence[Path]") -> bool:
    """Train the trials frozen in several folders together, those that are not over yet.

    Returns:
        Whether all are over now; the others were interrupted, and can go on from where they are.

    Raises:
        TrialBusyError: another process is running one of them.
    """
    from lra_bench.stacked.program import run_stack
    from lra_bench.stacked.seats import Member

    with ExitStack() as claims:
        for folder in folders:
            claims.enter_context(claim(folder, wait=2.0))
        note_program(folders)
        run_stack(
            [
                Member(load_frozen(folder / "config.yaml"), folder)
                for folder in folders
                if finished_record(folder) is None
            ]
        )
        return all(finished_record(folder) for folder in folders)


def main(folders: tuple[Path, ...], place: Place) -> None:
    """Entry point of a process of a trial, or of several: own process group and log, its devices and cores alone."""
    os.setsid()
    if not place.on_terminal:
        _log_to(program_log(folders[0]) if len(folders) > 1 else log_file(folders[0], place.rank))
    form = "%(message)s" if place.on_terminal else "%(asctime)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, stream=sys.stdout)
    if place.visible_devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = place.visible_devices
    if place.cores:
        os.sched_setaffinity(0, place.cores)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, _leave)
    stop = StopRequest(folders[0].parent, ignore_old=place.on_terminal)
    if stop.made:
        sys.exit(PREEMPTED)
    threading.Thread(target=_watch_runner, args=(stop,), daemon=True).start()
    try:
        over = run_program(folders) if len(folders) > 1 else _run_alone(folders[0], place)
    except TrialBusyError:
        sys.exit(BUSY)
    sys.exit(0 if over else PREEMPTED)


def watch_for_stop(folder: Path) -> None:
    """Let this process save its trial and stop when `sweep stop` asks for it from now on."""

    def wait() -> None:
        stop = StopRequest(folder.parent, ignore_old=True)
        while not stop.made:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _run_alone(folder: Path, place: Place) -> bool:
    record = run_trial(folder, place.on_terminal and sys.stderr.isatty(), place.observers, _rank(place))
    return record.status is not Status.PREEMPTED


def _rank(place: Place) -> "Rank | None":
    if place.ranks == 1:
        return None
    from lra_bench.training.ranks import Rank

    return Rank(place.rank, place.ranks, place.rendezvous)


def _log_to(path: Path) -> None:
    """Send everything this process prints, also from native code, to a file."""
    path.parent.mkdir(exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(handle, stream.fileno())
    os.close(handle)


def _leave(number: int, frame: FrameType | None) -> None:
    """Before the first step and after the last one, all there is to save has been saved."""
    os._exit(PREEMPTED)


def _watch_runner(stop: StopRequest) -> None:
    """Wait for the runner to die or for a request to stop; then ask this process to save itself, and end it."""
    runner = parent_process()
    assert runner is not None
    while not connection.wait([runner.sentinel], timeout=1.0) and not stop.made:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)
