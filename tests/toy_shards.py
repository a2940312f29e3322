"""Shards that are quick to make, in a module that is quick to import."""

import time
from pathlib import Path

import numpy as np
from filelock import FileLock

from lra_bench.data.shards import Arrays

ROWS = 5
LENGTH = 16


def draw(data_seed: int, number: int) -> Arrays:
    """Rows (ROWS, LENGTH) of numbers from 1 to 250; whether the first is above 125 is the label."""
    rows = np.random.default_rng([data_seed, number]).integers(1, 251, (ROWS, LENGTH), dtype=np.uint8)
    return {"rows": rows, "labels": (rows[:, 0] > 125).astype(np.uint8)}


def hold_a_lock(folder: Path, number: int) -> Arrays:
    """Never ends; its lock is free again once its process is dead."""
    with FileLock(folder / f"{number}.held"):
        (folder / f"{number}.begun").touch()
        time.sleep(1000)
    return {}
