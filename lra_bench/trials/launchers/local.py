"""Trials as processes of this machine."""

import multiprocessing
import sys
import time
from collections.abc import Iterable, Sequence
from multiprocessing import forkserver
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
        self._context = _context(cells)

    def start(self, cells: Sequence[Cell], slot: Slot) -> list[BaseProcess]:
        """Start a process for each of a cell's `train.devices`, or one for several cells; they end by themselves."""
        self._starts += 1
        folders = tuple(cell.folder for cell in cells)
        count = cells[0].config.train.devices
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
                processes.append(self._start(folders, place))
        except BaseException:
            for process in processes:
                process.kill()
            raise
        return processes

    def close(self) -> None:
        """Remove what the processes met by; none of them runs any more."""
        self._rendezvous.cleanup()

    def _start(self, folders: tuple[Path, ...], place: worker.Place) -> BaseProcess:
        for pause in PAUSES:
            try:
                return self._started(folders, place)
            except (EOFError, ConnectionError):  # somebody has killed the server; a new one comes once it is gone
                time.sleep(pause)
        return self._started(folders, place)

    def _started(self, folders: tuple[Path, ...], place: worker.Place) -> BaseProcess:
        process = self._context.Process(target=worker.main, args=(folders, place))
        process.start()
        return process


def start_server(cells: Iterable[Cell]) -> None:
    """Let the server of a launcher of these cells begin to import the framework, beside what this process does."""
    if isinstance(_context(cells), ForkServerContext):
        forkserver.ensure_running()


def _context(cells: Iterable[Cell]) -> SpawnContext | ForkServerContext:
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "lra_bench.trials.warm", *_own_modules(cells)])
    return context


def _own_modules(cells: Iterable[Cell]) -> list[str]:
    """Modules of this project's models and tasks; those of others may do anything when they are imported."""
    names = {(MODELS, cell.config.model.name) for cell in cells} | {(TASKS, cell.config.task.name) for cell in cells}
    entries = [registry.find(name) for registry, name in names]
    return sorted({entry.path.partition(":")[0] for entry in entries if entry.origin == "lra-bench"})
