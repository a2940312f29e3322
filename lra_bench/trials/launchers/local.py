"""Trials as processes of this machine."""

import multiprocessing
import sys
import time
from collections.abc import Iterable
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lra_bench.core.registry import MODELS, TASKS
from lra_bench.trials import worker
from lra_bench.trials.plan import Cell
from lra_bench.trials.slots import Slot

if TYPE_CHECKING:
    from lightning import Callback


PAUSES = (0.1, 1.0, 5.0)
"""Seconds until the next try to start a process."""


class LocalLauncher:
    """Starts trial processes.

    On Linux they are forked from a server that has imported the framework and the models and tasks of this project
    once, so a trial starts in milliseconds and still shares no state with any other. Elsewhere they are spawned.

    Args:
        cells: that will be started.
        on_terminal: rank 0 draws a progress bar and prints where this process prints, instead of into its log.
        observers: callbacks that look on in every process.
    """

    def __init__(
        self, cells: Iterable[Cell], on_terminal: bool = False, observers: "tuple[Callback, ...]" = ()
    ) -> None:
        self._on_terminal = on_terminal
        self._observers = observers
        self._rendezvous = TemporaryDirectory(prefix="lra-bench-")
        self._starts = 0
        self._context: SpawnContext | ForkServerContext
        if sys.platform == "linux":
            self._context = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload(["__main__", "lra_bench.trials.warm", *_own_modules(cells)])
        else:
            self._context = multiprocessing.get_context("spawn")

    def start(self, cell: Cell, slot: Slot) -> list[BaseProcess]:
        """Start a process for each of `train.devices`; they end by themselves."""
        self._starts += 1
        count = cell.config.train.devices
        rendezvous = Path(self._rendezvous.name) / str(self._starts)
        processes: list[BaseProcess] = []
        try:
            for rank in range(count):
                place = worker.Place(
                    rank,
                    count,
                    rendezvous,
                    slot.visible_devices(),
                    slot.cores_of(rank, count),
                    on_terminal=self._on_terminal and rank == 0,
                    observers=self._observers,
                )
                processes.append(self._start(cell, place))
        except BaseException:
            for process in processes:
                process.kill()
            raise
        return processes

    def close(self) -> None:
        """Remove what the processes met by; none of them runs any more."""
        self._rendezvous.cleanup()

    def _start(self, cell: Cell, place: worker.Place) -> BaseProcess:
        for pause in PAUSES:
            try:
                return self._started(cell, place)
            except (EOFError, ConnectionError):  # somebody has killed the server; a new one comes once it is gone
                time.sleep(pause)
        return self._started(cell, place)

    def _started(self, cell: Cell, place: worker.Place) -> BaseProcess:
        process = self._context.Process(target=worker.main, args=(cell.folder, place))
        process.start()
        return process


def _own_modules(cells: Iterable[Cell]) -> list[str]:
    """Modules of this project's models and tasks; those of others may do anything when they are imported."""
    names = {(MODELS, cell.config.model.name) for cell in cells} | {(TASKS, cell.config.task.name) for cell in cells}
    entries = [registry.find(name) for registry, name in names]
    return sorted({entry.path.partition(":")[0] for entry in entries if entry.origin == "lra-bench"})
