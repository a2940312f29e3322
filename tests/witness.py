"""A mixer that testifies who trains it."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tests.processes import MARK
from tests.strangers import Ramp

FILE = "LRA_BENCH_TEST_WITNESS"
"""Environment variable: where testimonies are added, a line of number and mark for each time that training begins."""
PATIENCE = 60.0


class Witness(Ramp):
    """Trains when trials of two runners are there, so that none does all the work before the other has begun."""

    @dataclass(frozen=True)
    class Config(Ramp.Config):
        number: int = 0

    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.has_testified = False

    def forward(self, x, mask=None):
        if self.training and not self.has_testified:
            self.has_testified = True
            with Path(os.environ[FILE]).open("a") as file:
                file.write(f"{self.cfg.number} {os.environ[MARK]}\n")
            deadline = time.monotonic() + PATIENCE
            while len({mark for _, mark in testimonies(Path(os.environ[FILE]))}) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
        return super().forward(x, mask)


class Vanishes(Witness):
    """Testifies, and ends its process without a record."""

    def forward(self, x, mask=None):
        super().forward(x, mask)
        os._exit(3)


def testimonies(path: Path) -> list[tuple[int, str]]:
    """Number and mark of each time that training began."""
    words = [line.split() for line in path.read_text().splitlines()]
    return [(int(number), mark) for number, mark in words]
