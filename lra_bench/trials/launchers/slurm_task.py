"""What a Slurm job runs. Quick to import, so that no signal comes too early."""

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

    from lra_bench.trials.policy import Policy

LINGER = 1800.0
"""Seconds that a job whose trial has saved itself on SIGTERM waits for Slurm to requeue or to kill it."""


class Task:
    """What submitit pickles. It runs one cell, and has the trial saved before the job goes back into the queue."""

    def __call__(self, folder: str, gpus: int, policy: "Policy") -> None:
        """Run a cell; the arguments are those of `run_cell`."""
        time_is_up = threading.Event()
        requeue = signal.getsignal(signal.SIGUSR2)
        assert callable(requeue)

        def save(number: int, frame: FrameType | None) -> None:
            time_is_up.set()
            signal.raise_signal(signal.SIGTERM)

        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.signal(signal.SIGUSR2, save)
        try:
            from lra_bench.trials.launchers.task import run_cell

            run_cell(Path(folder), gpus, policy)
        except KeyboardInterrupt as stop:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if "sweep stop" not in stop.args and os.environ["SUBMITIT_EXECUTOR"] == "slurm":
                # A preempted job that ends by itself after SIGTERM is over for Slurm; one that has to be killed is not.
                time_is_up.wait(LINGER)
        if time_is_up.is_set():
            requeue(signal.SIGUSR2, None)

    def checkpoint(self, folder: str, gpus: int, policy: "Policy") -> "DelayedSubmission":
        """What the requeued job runs: the same, which goes on from the trial's last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, folder, gpus, policy)
