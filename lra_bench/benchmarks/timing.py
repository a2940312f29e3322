"""How long things take and how much memory they need, fairly compared.

What is compared takes turns, so that a noisy minute falls on all of it; the device has finished before a clock is read;
a turn during which other processes used the processor is left out where enough others remain. Memory is measured in a
process of its own, above what it held before.
"""

import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch

from lra_bench.environment import peak_memory_mb

T = TypeVar("T")

TURN = 0.05
"""Seconds of a turn at least: shorter work is repeated, so that it does not always find cold caches."""

FEWEST = 3
"""Repeats that a median needs."""

FOREIGN = 0.12
"""Share of one core that other processes may use in a turn that counts."""

TICK = 0.01
"""Seconds that the kernel counts processor time in, about."""


class Repeat(Protocol):
    """One repeat of what is measured."""

    @property
    def disturbed(self) -> bool:
        """Whether other processes ran meanwhile."""


RepeatT = TypeVar("RepeatT", bound=Repeat)


@dataclass(frozen=True)
class Timing:
    """One repeat: how long it took, in seconds, and whether other processes ran meanwhile."""

    seconds: float
    disturbed: bool


@dataclass(frozen=True)
class Spread:
    """Seconds of repeats: their median and quartiles, and how many there are."""

    median: float
    lower: float
    upper: float
    repeats: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Spread":
        """Of at least one repeat."""
        lower, median, upper = np.quantile(np.asarray(seconds), (0.25, 0.5, 0.75)).tolist()
        return cls(median, lower, upper, len(seconds))


class Foreign:
    """Tells whether other processes used the processor, by Linux's count of busy time; elsewhere it says no.

    Waiting for another process counts as being disturbed by it, so the work must be done in this one.
    """

    def __init__(self) -> None:
        self._busy, self._own, self._start = _busy_seconds(), _own_seconds(), time.perf_counter()

    def ran(self) -> bool:
        """Whether they used more than `FOREIGN` of one core since this was made."""
        busy, own = _busy_seconds(), _own_seconds()
        if busy is None or self._busy is None:
            return False
        allowed = FOREIGN * (time.perf_counter() - self._start) + 2 * TICK
        return (busy - self._busy) - (own - self._own) > allowed


def interleaved(
    turns: Mapping[str, Callable[[], Sequence[RepeatT]]], seconds: float, fewest: int = FEWEST
) -> dict[str, list[RepeatT]]:
    """Let several things take turns until each has had its time and `fewest` undisturbed repeats, or twice as many.

    Args:
        turns: name -> does one turn, and gives its repeats. Warm-up is the caller's.
        seconds: for each of them, unless it needs more for its repeats.
        fewest: repeats of each that a median needs.

    Returns:
        The repeats that count: those that were not disturbed, or all where fewer than `fewest` were not.
    """
    repeats: dict[str, list[RepeatT]] = {name: [] for name in turns}
    spent = dict.fromkeys(turns, 0.0)
    while waiting := [name for name in turns if spent[name] < seconds or _too_few(repeats[name], fewest)]:
        for name in waiting:
            start = time.perf_counter()
            repeats[name] += turns[name]()
            spent[name] += time.perf_counter() - start
    return {name: counted(found, fewest) for name, found in repeats.items()}


def _too_few(repeats: Sequence[RepeatT], fewest: int) -> bool:
    """Whether another try for an undisturbed repeat is worth its time."""
    return sum(not repeat.disturbed for repeat in repeats) < fewest and len(repeats) < 2 * fewest


def counted(repeats: Sequence[RepeatT], fewest: int = FEWEST) -> list[RepeatT]:
    """The undisturbed repeats, or all where fewer than `fewest` are undisturbed."""
    clean = [repeat for repeat in repeats if not repeat.disturbed]
    return clean if len(clean) >= fewest else list(repeats)


def timed(work: Callable[[], object], device: torch.device, at_least: float = TURN) -> list[Timing]:
    """One turn: repeat `work` until `at_least` seconds are over."""
    foreign, seconds = Foreign(), list[float]()
    while sum(seconds) < at_least:
        start = now(device)
        work()
        seconds.append(now(device) - start)
    disturbed = foreign.ran()
    return [Timing(each, disturbed) for each in seconds]


def compared(cases: Mapping[str, Callable[[], object]], device: torch.device, seconds: float) -> dict[str, Spread]:
    """Times of several pieces of work, done in turns in this process, after two repeats of each to warm up."""
    for work in cases.values():
        work(), work()
    turns = {name: lambda work=work: timed(work, device) for name, work in cases.items()}
    repeats = interleaved(turns, seconds)
    return {name: Spread.of([each.seconds for each in found]) for name, found in repeats.items()}


def now(device: torch.device) -> float:
    """Seconds, once the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def in_own_process(function: Callable[..., T], *arguments: object) -> T:
    """Call a module's function in a process started anew, so that its memory is its own; arguments are pickled."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class PeakMemory:
    """The most memory in use since this was made, above what was in use then.

    On a CPU it is that of the process; what ran before in it has left memory that is used again, so give it a process
    of its own. On Linux the kernel's mark is set back; elsewhere what the process needed before hides what is below.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            self._base = torch.cuda.memory_allocated(device) / 1e6
            return
        _give_back_freed_memory()
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._base = _resident_mb()

    def megabytes(self) -> float:
        """In units of 1e6 bytes."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6 - self._base
        peak = _status_mb("VmHWM")
        return (peak if peak is not None else peak_memory_mb(on_gpu=False) or float("nan")) - self._base


def _resident_mb() -> float:
    resident = _status_mb("VmRSS")
    return resident if resident is not None else peak_memory_mb(on_gpu=False) or float("nan")


def _status_mb(name: str) -> float | None:
    """A size of this process in Linux's account, None elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = status.read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:")), None)


def _give_back_freed_memory() -> None:
    """Have glibc return freed memory, which would otherwise be used again unseen."""
    if sys.platform != "linux":
        return
    import ctypes

    with suppress(AttributeError):  # musl has no such function
        ctypes.CDLL(None).malloc_trim(0)


def _own_seconds() -> float:
    used = os.times()
    return used.user + used.system


def _busy_seconds() -> float | None:
    """Processor time that all processes have used, of all cores; None where nobody counts it."""
    try:
        with Path("/proc/stat").open(encoding="utf-8") as file:
            user, nice, system, _, _, interrupts, soft, stolen, *_ = map(int, file.readline().split()[1:])
    except (OSError, ValueError):
        return None
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")
