"""Where trials run: GPUs and CPU cores, shared out before anything starts."""

import heapq
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lra_bench.core.errors import ConfigError
from lra_bench.trials.plan import Cell


@dataclass(frozen=True)
class Slot:
    """Room for one trial at a time.

    Attributes:
        devices: GPUs of the trial, as this process counts them; empty on a CPU.
        cores: CPU cores of the trial; empty for no choice.
    """

    devices: tuple[int, ...] = ()
    cores: tuple[int, ...] = ()

    def visible_devices(self) -> str | None:
        """`CUDA_VISIBLE_DEVICES` of the trial, which counts through the one of this process; None for no choice."""
        if not self.devices:
            return None
        own = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = own.split(",") if own else None
        return ",".join(names[device] if names else str(device) for device in self.devices)

    def cores_of(self, rank: int, ranks: int) -> tuple[int, ...]:
        """A rank's share of the cores."""
        return _share(self.cores, rank, ranks)


def make_slots(
    cells: Sequence[Cell], count: int | None = None, devices: str | None = None, trials_per_device: int = 1
) -> list[Slot]:
    """As many slots as devices: GPUs where a cell may use them, else CPU cores divided by the threads of a trial.

    A slot has room for the largest `train.devices` among the cells.

    Args:
        cells: to be run.
        count: slots asked for, or None.
        devices: GPUs to use, such as "0-3,6", or None for all.
        trials_per_device: how many trials share a GPU.

    Raises:
        ConfigError: `devices` makes no sense here, or they are too few for one trial.
    """
    use_gpus = any(cell.config.train.accelerator != "cpu" for cell in cells)
    gpus = _gpu_count() if use_gpus else 0
    if devices is not None and not use_gpus:
        raise ConfigError(f"--devices {devices}: all trials run on the CPU; say train.accelerator=gpu, or leave it out")
    if devices is not None:
        chosen = parse_devices(devices, gpus)
    elif gpus:
        chosen = list(range(gpus))
    else:
        return _cpu_slots(cells, count)
    size = max((cell.config.train.devices for cell in cells), default=1)
    if len(chosen) < size:
        raise ConfigError(f"a trial uses {size} devices (train.devices), and there are {len(chosen)} to use")
    groups = [tuple(chosen[start : start + size]) for start in range(0, len(chosen) - size + 1, size)]
    most = len(groups) * trials_per_device
    return [Slot(groups[index % len(groups)]) for index in range(count or most)]


def makespan(durations: Iterable[float], slots: int) -> float:
    """Seconds until all is done, each job in turn taking the slot that is free first."""
    free = [0.0] * slots
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def parse_devices(words: str, available: int) -> list[int]:
    """The GPUs that "0-7" or "0,2,5-7" names, in that order.

    Raises:
        ConfigError: not of that form, one named twice, or not there.
    """
    found: list[int] = []
    for part in words.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise ConfigError(f"--devices {words}: '{part}' is not a number or a range; say for example 0-3 or 0,2,5-7")
        if last >= available:
            here = f"GPUs are 0-{available - 1}" if available else "there is none to use; leave out --devices"
            raise ConfigError(f"--devices {words}: there is no GPU {last} here: {here}")
        found += range(first, last + 1)
    if len(set(found)) < len(found):
        raise ConfigError(f"--devices {words} names a GPU twice; several trials share one with --trials-per-device")
    return found


def _cpu_slots(cells: Sequence[Cell], count: int | None) -> list[Slot]:
    """Each with an equal share of the cores, where a share is enough for the threads of a trial."""
    cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    total = len(cores) or os.cpu_count() or 1
    needs = [cell.config.train.devices * (cell.config.train.threads or total) for cell in cells]
    need = max(needs, default=total)
    count = count or max(1, total // need)
    enough = cores and count * need <= total
    return [Slot(cores=_share(cores, index, count) if enough else ()) for index in range(count)]


def _share(items: tuple[int, ...], index: int, count: int) -> tuple[int, ...]:
    return items[index * len(items) // count : (index + 1) * len(items) // count]


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()
