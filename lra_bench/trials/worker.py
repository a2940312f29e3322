"""The inside of a trial's process."""

import logging
import os
import signal
import sys
import threading
import time
from multiprocessing import connection, parent_process
from pathlib import Path

from lra_bench import experiment
from lra_bench.config.compose import load_frozen
from lra_bench.core.record import RunRecord, Status
from lra_bench.trials.state import TrialBusyError, claim, finished_record

BUSY = 69
PREEMPTED = 75
"""Exit codes, as in sysexits.h: unavailable, and try again."""
GRACE = 60.0
"""Seconds that a trial whose runner died has to save itself."""


def run_trial(folder: Path, show_progress: bool = False) -> RunRecord:
    """Run the trial frozen in `folder`, or return its record if it is already over.

    Raises:
        TrialBusyError: another process is running it.
    """
    with claim(folder, wait=2.0):
        done = finished_record(folder)
        return done or experiment.run(load_frozen(folder / "config.yaml"), folder, show_progress)


def main(folder: Path, device: int | None) -> None:
    """Entry point of a trial's process: own process group, own log file, one device.

    Args:
        folder: the trial's.
        device: index of the GPU to use, or None for no choice.
    """
    os.setsid()
    _log_to(folder / "log.txt")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(device)
    threading.Thread(target=_stop_with_the_runner, daemon=True).start()
    try:
        record = run_trial(folder)
    except TrialBusyError:
        sys.exit(BUSY)
    sys.exit(PREEMPTED if record.status is Status.PREEMPTED else 0)


def _log_to(path: Path) -> None:
    """Send everything this process prints, also from native code, to a file."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(handle, stream.fileno())
    os.close(handle)


def _stop_with_the_runner() -> None:
    """Wait for the runner to die; then ask this process to save itself and stop."""
    runner = parent_process()
    assert runner is not None
    connection.wait([runner.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(PREEMPTED)
