"""Generating a large set piece by piece, over processes, so that an interruption costs the pieces in work only."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import replacing

Arrays = dict[str, NDArray[Any]]
MakeShard = Callable[[int], Arrays]
"""Makes the shard of a number: the same bytes in any process. A function that can be pickled."""


def ensure_shards(folder: Path, numbers: Iterable[int], make: MakeShard, jobs: int) -> Iterator[Path]:
    """Make the shards that are not there yet; gives each one's file in the order of `numbers`.

    Args:
        folder: of the shards; made if need be.
        numbers: which shards.
        make: makes one.
        jobs: processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ensure = partial(_ensure, folder, make)
    if jobs == 1:
        yield from map(ensure, numbers)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_die_with_parent) as pool:
        try:
            yield from pool.map(ensure, numbers)
        finally:
            pool.shutdown(cancel_futures=True)


def read_shard(path: Path) -> Arrays:
    """The arrays of a shard.

    Raises:
        LraBenchError: the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:
        raise LraBenchError(f"{path} is damaged ({error}); delete it and run the same command again") from error


def _ensure(folder: Path, make: MakeShard, number: int) -> Path:
    path = folder / f"{number:05d}.npz"
    if not path.exists():
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **make(number))  # type: ignore[arg-type]
    return path


def _die_with_parent() -> None:
    """A pool's process would otherwise wait for ever for a parent that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
