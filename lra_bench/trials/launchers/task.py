"""One cell inside a task of an engine: what a Slurm job or a Ray task runs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from lra_bench.config.compose import load_frozen
from lra_bench.config.schema import Config
from lra_bench.trials.plan import Cell
from lra_bench.trials.policy import Policy
from lra_bench.trials.runner import run_cells
from lra_bench.trials.slots import Slot
from lra_bench.trials.state import TrialBusyError, claim
from lra_bench.trials.worker import GRACE

HANDOVER = GRACE + 5.0
"""Seconds that a busy trial is waited for: its last runner may have died, and the trial be saving itself."""


@dataclass(frozen=True)
class Share:
    """What a trial takes of a machine.

    Attributes:
        gpus: 0 where the trial runs on the CPU alone.
        cpus: threads of all its ranks, and the processes that prepare their batches.
    """

    gpus: int
    cpus: int


def share_of(config: Config) -> Share:
    """What a trial asks an engine for; one thread per rank where `train.threads` leaves it open."""
    train = config.train
    gpus = 0 if train.accelerator == "cpu" else train.devices
    return Share(gpus, train.devices * ((train.threads or 1) + train.workers))


def run_cell(folder: Path, gpus: int, policy: Policy) -> None:
    """Run the trial frozen in `folder` to its end, or pass it over where it is finished or another runner holds it.

    Args:
        folder: the trial's.
        gpus: how many the engine has given to this process, which sees no others.
        policy: of the trial's runner.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM; the trial has saved itself.
        OSError: a record could not be written.
    """
    try:
        with claim(folder, wait=HANDOVER):
            cell = Cell(load_frozen(folder / "config.yaml"), folder)
    except TrialBusyError:
        return
    with _without_main_module():
        run_cells([cell], [Slot(tuple(range(gpus)))], lambda _: None, policy)


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Keep processes that are started from importing the engine's own program, as `multiprocessing` would let them."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
