"""Mixers that break in every way that a lab has seen; tests use them as `tests.broken:Name`."""

import os
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.strangers import Ramp


class Broken(Ramp):
    """Breaks in one of its training steps."""

    @dataclass(frozen=True)
    class Config(Ramp.Config):
        at: int = 2
        cgroup: str = ""

    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.steps = 0

    def forward(self, x, mask=None):
        self.steps += self.training
        if self.training and self.steps >= self.cfg.at:
            self.fail(x)
        return super().forward(x, mask)

    def fail(self, x):
        raise ValueError("broken")


class Leaks(Broken):
    """Takes memory until its cgroup is full."""

    def fail(self, x):
        (Path(self.cfg.cgroup) / "cgroup.procs").write_text(str(os.getpid()))
        taken = []
        while True:
            taken.append(b"x" * 10_000_000)


class MeetsALimit(Broken):
    """Takes more memory than it may."""

    def fail(self, x):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, used + 50_000_000))
        bytearray(500_000_000)


class WantsAHugeTensor(Broken):
    """Asks torch for more memory than any machine has."""

    def fail(self, x):
        torch.empty(2**50)


class FitsOneExample(Broken):
    """Has memory for one example at a time."""

    def fail(self, x):
        if len(x) > 1:
            raise MemoryError(f"no room for {len(x)} examples")


class Hangs(Broken):
    """Never comes back, and has started a process."""

    def fail(self, x):
        child = subprocess.Popen(["sleep", "1000"])
        Path("grandchild").write_text(str(child.pid))
        while True:
            time.sleep(1)


class LeavesQuietly(Broken):
    """Ends the interpreter as if all were well."""

    def fail(self, x):
        os._exit(0)


class FailsInRank1(Broken):
    """One process of several makes a mistake."""

    def fail(self, x):
        if torch.distributed.get_rank() == 1:
            raise ValueError("rank 1 slipped")


class DiesInRank1(Broken):
    """One process of several ends without a word."""

    def fail(self, x):
        if torch.distributed.get_rank() == 1:
            os._exit(9)


class DiesOnce(Broken):
    """Is killed from outside, but not again."""

    def fail(self, x):
        mark = Path("killed-once")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), 9)


class TellsWhereItIs(Broken):
    """Writes down its cores and GPUs."""

    def fail(self, x):
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        place = f"{cores} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n"
        with Path("places").open("a") as file:
            file.write(place)
