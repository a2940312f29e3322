"""Data for other people's code: a folder of plain arrays for any task."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lra_bench.core.batch import Batch
from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import write_atomically
from lra_bench.core.specs import TaskSpec
from lra_bench.data.datamodule import SequenceDataModule, Source, Split
from lra_bench.data.store import create_array

STREAMED = 1000
"""Examples taken from an endless stream."""

CHUNK = 256
"""Examples gathered at a time."""

LAYOUT = {
    "x": "(N, seq_len) tokens or pixels as stored, or (N, seq_len, channels); padded on the right with 0",
    "lengths": "(N,) steps that are no padding; there is no such file where no sequence is padded",
    "x2, lengths2": "second document of a pair",
    "y": "(N,) classes, or (N, seq_len) classes or (N, seq_len, channels) values of steps",
    "y_mask": "(N, seq_len) steps where y counts; there is no such file where all do",
    "group": "(N,) index into the groups of the spec",
}


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Gives a folder to write into; what is written moves to `folder` when all of it is there.

    Raises:
        LraBenchError: there is something in `folder` already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LraBenchError(f"{folder} is not an empty folder; choose a new one")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as temporary:
        yield Path(temporary)
        for path in sorted(Path(temporary).iterdir()):
            path.rename(folder / path.name)


def export_arrays(task: SequenceDataModule, folder: Path) -> dict[str, int]:
    """Write each split as `<split>/*.npy`, see `LAYOUT`, and `spec.json`, which says what they are.

    Numbers are as narrow as the task stores them: tokens are what embeddings take but for their type, pixels are
    bytes, not normalised.

    Returns:
        Examples of each split; `STREAMED` of an endless one.
    """
    sizes = {}
    for split in get_args(Split):
        (folder / split).mkdir()
        sizes[split] = _write_split(task.source(split), task.spec, folder / split)
    said = {
        "task": asdict(task.spec),
        "protocol": task.protocol,
        "data_seed": task.data_seed,
        "fingerprint": task.fingerprint(),
        "examples": sizes,
        "arrays": LAYOUT,
    }
    write_atomically(folder / "spec.json", json.dumps(said, indent=1) + "\n")
    return sizes


def _write_split(source: Source, spec: TaskSpec, folder: Path) -> int:
    size = STREAMED if source.size is None else source.size
    written: dict[str, NDArray[Any]] = {}
    for start in range(0, size, CHUNK):
        indices = list(range(start, min(start + CHUNK, size)))
        for name, values in _arrays(source.__getitems__(indices), spec).items():
            if name not in written:
                written[name] = create_array(folder, name, values.dtype, (size, *values.shape[1:]))
            written[name][indices[0] : indices[-1] + 1] = values
    return size


def _arrays(batch: Batch, spec: TaskSpec) -> dict[str, NDArray[Any]]:
    """A batch by the names of `LAYOUT`."""
    length = spec.seq_len
    found: dict[str, NDArray[Any] | None] = {
        "x": _padded(batch.x, length),
        "lengths": _lengths(batch.mask),
        "x2": _padded(batch.x2, length),
        "lengths2": _lengths(batch.mask2),
        "y": _padded(batch.y, length) if spec.output.per_step else batch.y.numpy(),
        "y_mask": _padded(batch.y_mask, length),
        "group": None if batch.group is None else batch.group.numpy(),
    }
    return {name: values for name, values in found.items() if values is not None}


def _padded(values: Tensor | None, length: int) -> NDArray[Any] | None:
    """(B, L, ...) -> (B, length, ...), with zeros on the right."""
    if values is None:
        return None
    missing = [(0, 0), (0, length - values.shape[1]), *[(0, 0)] * (values.ndim - 2)]
    return np.pad(values.numpy(), missing)


def _lengths(mask: Tensor | None) -> NDArray[np.int64] | None:
    return None if mask is None else mask.sum(1).numpy()
