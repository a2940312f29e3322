"""Trials as processes of this machine."""

import multiprocessing
import os
import sys
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from lra_bench.trials import worker
from lra_bench.trials.plan import Cell


@dataclass(frozen=True)
class Slot:
    """Room for one trial at a time; `device` is the GPU it is pinned to, None on a CPU."""

    device: int | None = None


def make_slots(cells: list[Cell], count: int | None) -> list[Slot]:
    """As many slots as devices: GPUs where a cell may use them, else CPU cores divided by the threads of a trial.

    Args:
        cells: to be run.
        count: slots asked for, or None.
    """
    import torch

    gpus = torch.cuda.device_count() if any(c.config.train.accelerator != "cpu" for c in cells) else 0
    if gpus:
        return [Slot(index % gpus) for index in range(count or gpus)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max((c.config.train.threads or cores for c in cells), default=1)
    return [Slot()] * (count or max(1, cores // threads))


class LocalLauncher:
    """Starts trial processes.

    On Linux they are forked from a server that has imported the framework once, so a trial starts in milliseconds
    and still shares no state with any other. Elsewhere they are spawned.
    """

    def __init__(self) -> None:
        self._context: SpawnContext | ForkServerContext
        if sys.platform == "linux":
            self._context = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload(["lra_bench.trials.worker"])
        else:
            self._context = multiprocessing.get_context("spawn")

    def start(self, cell: Cell, slot: Slot) -> BaseProcess:
        """Start a trial; its process ends by itself."""
        process = self._context.Process(target=worker.main, args=(cell.folder, slot.device))
        process.start()
        return process
