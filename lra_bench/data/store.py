"""The store of prepared data: folders of memory-mapped arrays, each complete or absent.

    <store>/<dataset>/<variant>/manifest.json, *.npy

A set is written under another name, under a lock that the kernel releases when its holder dies, and renamed when it
is complete and on disk.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock, Timeout
from numpy.typing import DTypeLike, NDArray

from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import write_atomically
from lra_bench.data.download import require_free_space
from lra_bench.data.manifest import FILE, Description, Manifest, SetKey, StoredArray
from lra_bench.data.members import sha256_of

SHARDS = "shards"
"""Folder of finished pieces of a set that is being generated; survives an interruption."""


class State(StrEnum):
    """Whether a set can be used."""

    READY = "ready"
    MISSING = "missing"
    WRONG = "wrong"


def store_folder() -> Path:
    """`LRA_BENCH_DATA_DIR`, or a folder in the platform's cache."""
    return Path(os.environ.get("LRA_BENCH_DATA_DIR") or platformdirs.user_cache_path("lra-bench") / "data")


def folder_of(key: SetKey) -> Path:
    """Where the set of a key is, or would be."""
    return store_folder() / key.dataset / key.variant


@dataclass(frozen=True)
class PreparedSet:
    """A complete set, opened without reading its data."""

    folder: Path
    manifest: Manifest

    def array(self, name: str) -> NDArray[Any]:
        """A memory map, read only; a plain array to numpy, which slices it faster."""
        return np.asarray(np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """(N,) class of each example."""
        return np.array(self.array("labels"))

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """(N,) hash of each example's content; equal for equal examples."""
        return np.array(self.array("hashes"))

    @cached_property
    def part(self) -> NDArray[np.uint8]:
        """(N,) part of the source that each example is from: 0 train, 1 validation, 2 test."""
        return np.array(self.array("part"))


def open_set(key: SetKey) -> PreparedSet:
    """Open a set: reads the manifest and looks at the size of each file.

    Raises:
        LraBenchError: it is missing, or a file is not as the manifest says.
    """
    folder = folder_of(key)
    if not folder.is_dir():
        raise LraBenchError(f"{key.dataset} is not prepared ({folder} does not exist)")
    return open_folder(folder)


def open_folder(folder: Path) -> PreparedSet:
    """Open the set in a folder, as `open_set`."""
    manifest = Manifest.read(folder)
    for name, array in manifest.arrays.items():
        path = folder / f"{name}.npy"
        size = path.stat().st_size if path.is_file() else None
        if size != array.size:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise LraBenchError(f"{path} {found}, the manifest says {array.size:,}")
    return PreparedSet(folder, manifest)


def state_of(key: SetKey) -> tuple[State, str]:
    """Whether a set can be used, and why not."""
    if not folder_of(key).is_dir():
        return State.MISSING, ""
    try:
        open_set(key)
    except LraBenchError as error:
        return State.WRONG, str(error)
    return State.READY, ""


def stored_sets() -> Iterator[Path]:
    """Folders of all sets in the store, complete or wrong, in order of name."""
    for dataset in sorted(store_folder().glob("*/")):
        yield from (folder for folder in sorted(dataset.glob("*/")) if not folder.name.startswith("."))


def verify(folder: Path) -> None:
    """Hash every file of a set again.

    Raises:
        LraBenchError: a file is missing, or differs from what was prepared.
    """
    opened = open_folder(folder)
    for name, array in opened.manifest.arrays.items():
        if sha256_of(folder / f"{name}.npy") != array.sha256:
            raise LraBenchError(f"{folder / name}.npy differs from what was prepared; delete {folder}, prepare again")


def build_set(key: SetKey, licence: str, make: Callable[[Path], Description]) -> PreparedSet:
    """Make a set, unless it is there. Of several processes that try at once, one makes it and the others wait.

    Args:
        key: which set.
        licence: of the data.
        make: writes the arrays into a folder with `save_array` or `create_array`, and describes them. The folder may
            hold `SHARDS` of an interrupted run.

    Returns:
        The complete set.
    """
    folder = folder_of(key)
    if state_of(key)[0] is not State.READY:
        with exclusive(folder):
            if state_of(key)[0] is not State.READY:
                _build(key, licence, make)
    return open_folder(folder)


def _build(key: SetKey, licence: str, make: Callable[[Path], Description]) -> None:
    folder = folder_of(key)
    part = unfinished(folder)
    description = make(part)
    manifest = Manifest(
        **description.model_dump(),
        dataset=key.dataset,
        version=key.version,
        origin=key.origin,
        options=dict(key.options),
        licence=licence,
        arrays=_described(part),
    )
    complete(part, folder, manifest)


class exclusive:  # noqa: N801 (reads as a verb)
    """Keeps other processes from making the same set; waits for one that is at it."""

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        self._name = f"{folder.parent.name}/{folder.name}"

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            import click

            click.echo(f"Another process is preparing {self._name}; waiting for it.", err=True)
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def unfinished(folder: Path) -> Path:
    """An empty folder in which a set is made, but for `SHARDS` of an interrupted run."""
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    for left in part.iterdir():
        if left.name != SHARDS:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    return part


def complete(part: Path, folder: Path, manifest: Manifest) -> None:
    """Give a finished set its name, once all of it is on disk."""
    write_atomically(part / FILE, manifest.model_dump_json(indent=1) + "\n")
    for path in (*part.iterdir(), part):
        _flush(path)
    shutil.rmtree(part / SHARDS, ignore_errors=True)
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    _flush(folder.parent)


def save_array(folder: Path, name: str, values: NDArray[Any]) -> None:
    """Write one array of a set that is being made."""
    require_free_space(folder, values.nbytes)
    np.save(folder / f"{name}.npy", values, allow_pickle=False)


def create_array(folder: Path, name: str, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array of a set that is being made, to be filled piece by piece; larger than memory if need be."""
    require_free_space(folder, int(np.prod(shape)) * np.dtype(dtype).itemsize)
    array: NDArray[Any] = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
    return array


def content_hashes(rows: Iterator[bytes]) -> NDArray[np.uint64]:
    """(N,) 64-bit hash of each row's bytes; equal for equal rows."""
    digests = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _described(folder: Path) -> dict[str, StoredArray]:
    described = {}
    for path in sorted(folder.glob("*.npy")):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        described[path.stem] = StoredArray(
            dtype=str(array.dtype), shape=array.shape, size=path.stat().st_size, sha256=sha256_of(path)
        )
    return described


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
