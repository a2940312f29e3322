"""CIFAR-10 in the forms it comes in: the official archives, the hub, a parquet of pixels. NumPy alone, no torch.

Format of the archives: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.errors import LraBenchError
from lra_bench.data.hub import hub_rows
from lra_bench.data.members import read_members
from lra_bench.data.progress import track
from lra_bench.tasks.image_pickles import load_batch

TRAIN, TEST = 0, 2
SIDE = 32
CLASSES = 10
OFFICIAL_SIZES = {TRAIN: 50_000, TEST: 10_000}

PYTHON_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
BINARY_BATCHES = tuple(f"{name}.bin" for name in PYTHON_BATCHES)
LARGEST_BATCH = 64 << 20
"""Bytes; an official batch has half of them."""

HUB = "uoft-cs/cifar10"
HUB_REVISION = "0b2714987fa478483af9968de7c934580d0bb9a2"
HUB_BATCHES = (4, 3, 2, 5, 1)
"""Training batches in the hub's order, which is that of the members of cifar-10-python.tar.gz."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """CIFAR-10, or a small imitation, in the official order: training batches 1 to 5, then the test batch.

    Attributes:
        source: what was read, for people.
        pixels: (N, 32, 32, C) uint8; C is 3 for red, green, blue and 1 for grey.
        labels: (N,) uint8, 0 to 9.
        part: (N,) uint8, `TRAIN` or `TEST`.
        notes: what is not as in the official set.
    """

    source: str
    pixels: Bytes
    labels: Bytes
    part: Bytes
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.labels.max(initial=0) >= CLASSES:
            raise LraBenchError(f"{self.source} has labels beyond {CLASSES - 1}; is it CIFAR-10?")
        sizes = {part: int((self.part == part).sum()) for part in OFFICIAL_SIZES}
        if 0 in sizes.values():
            raise LraBenchError(f"{self.source} lacks the training or the test pictures; both are needed")
        if sizes != OFFICIAL_SIZES:
            self.notes.append(
                f"{sizes[TRAIN]:,} training and {sizes[TEST]:,} test pictures; the official set has 50,000 and 10,000"
            )


def read_cifar10(source: Path, show_progress: bool) -> Pictures:
    """Read CIFAR-10 from a file or folder, whichever form it has.

    Args:
        source: cifar-10-python.tar.gz, cifar-10-binary.tar.gz, a folder with either one's batches at any depth, or a
            parquet file with columns image (1024 grey or 3072 RGB bytes, row by row), label, split (train or test),
            and optionally idx (position in the official split) and exact (false: not bit for bit the official one).
        show_progress: draw a bar where standard error is a terminal.

    Raises:
        LraBenchError: it has none of these forms, lacks a batch, or is damaged.
    """
    if source.is_file() and _starts_with(source, b"PAR1"):
        return _from_parquet(source)
    batches: dict[str, bytes] = {}
    wanted = {*PYTHON_BATCHES, *BINARY_BATCHES}
    for path, file in read_members(source, lambda path: path.rpartition("/")[2] in wanted, show_progress):
        name = path.rpartition("/")[2]
        if name in batches:
            raise LraBenchError(f"{source} holds {name} twice: give the folder of one copy")
        batches[name] = _read_batch(file, f"{source}: {path}")
    return _from_batches(batches, source)


def read_hub(show_progress: bool) -> Pictures:
    """Read CIFAR-10 from the hub, at a pinned revision.

    Raises:
        LraBenchError: see `hub_rows`; or the hub's set is not in its known order.
    """
    rows: dict[int, list[dict[str, Any]]] = {}
    for name, part in (("train", TRAIN), ("test", TEST)):
        found = hub_rows(HUB, HUB_REVISION, name, ("img", "label"))
        total = OFFICIAL_SIZES[part]
        rows[part] = [_raw(row) for row in track(found, f"Reading {HUB}", total, "pictures", show_progress)]
    size, rest = divmod(len(rows[TRAIN]), len(HUB_BATCHES))
    if rest:
        raise LraBenchError(f"{HUB} has {len(rows[TRAIN]):,} training pictures, not five equal batches")
    starts = [HUB_BATCHES.index(batch) * size for batch in sorted(HUB_BATCHES)]
    ordered = [row for start in starts for row in rows[TRAIN][start : start + size]] + rows[TEST]
    return Pictures(
        source=f"{HUB} at {HUB_REVISION}",
        pixels=np.stack([row["img"] for row in ordered]),
        labels=np.array([row["label"] for row in ordered], np.uint8),
        part=_parts({part: len(found) for part, found in rows.items()}),
    )


def to_grey(rgb: Bytes) -> Bytes:
    """(..., 3) uint8 to (...) uint8, as Pillow's "L": ITU-R 601 in 16-bit fixed point, rounded to nearest."""
    grey = np.full(rgb.shape[:-1], 1 << 15, np.uint32)
    for channel, weight in enumerate((19595, 38470, 7471)):
        grey += rgb[..., channel] * np.uint32(weight)
    return (grey >> 16).astype(np.uint8)


def write_binary(folder: Path, pixels: Bytes, labels: Bytes, part: Bytes) -> None:
    """Write the six files of the binary version: per picture a label byte and 3072 bytes, channel by channel.

    Args:
        folder: is made; officially called cifar-10-batches-bin.
        pixels: (N, 32, 32, 3), the training pictures in the order of their batches.
        labels: (N,).
        part: (N,) `TRAIN` or `TEST`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    batches = [*np.array_split(np.flatnonzero(part == TRAIN), 5), np.flatnonzero(part == TEST)]
    for name, rows in zip(BINARY_BATCHES, batches, strict=True):
        planar = pixels[rows].transpose(0, 3, 1, 2).reshape(len(rows), 3 * SIDE * SIDE)
        (folder / name).write_bytes(np.concatenate([labels[rows, None], planar], axis=1).tobytes())


def _from_batches(batches: dict[str, bytes], source: Path) -> Pictures:
    forms: tuple[tuple[tuple[str, ...], Callable[[bytes, str], tuple[Bytes, Bytes]]], ...] = (
        (PYTHON_BATCHES, _parse_python),
        (BINARY_BATCHES, _parse_binary),
    )
    found = [(names, parse) for names, parse in forms if not batches.keys().isdisjoint(names)]
    if len(found) != 1:
        what = "holds both versions of CIFAR-10: give the folder of one" if found else "holds no batches of CIFAR-10"
        raise LraBenchError(
            f"{source} {what} (cifar-10-python.tar.gz, cifar-10-binary.tar.gz, their unpacked folder, or a parquet)"
        )
    [(names, parse)] = found
    if missing := [name for name in names if name not in batches]:
        raise LraBenchError(f"{source} lacks {', '.join(missing)}: download it again")
    planar, labels = zip(*(parse(batches[name], f"{source}: {name}") for name in names), strict=True)
    sizes = [len(batch) for batch in labels[:-1]]
    if max(sizes) - min(sizes) > 1:
        raise LraBenchError(f"{source} has training batches of different sizes: download it again")
    return Pictures(
        source=source.name,
        pixels=np.concatenate(planar).reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1),
        labels=np.concatenate(labels),
        part=_parts({TRAIN: sum(sizes), TEST: len(labels[-1])}),
    )


def _parse_binary(content: bytes, where: str) -> tuple[Bytes, Bytes]:
    """Planar pixels (n, 3072) and labels (n,) of one file."""
    record = 1 + 3 * SIDE * SIDE
    if len(content) % record:
        raise LraBenchError(f"{where} has {len(content):,} bytes, not a multiple of {record}: download it again")
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    return rows[:, 1:], rows[:, 0]


def _parse_python(content: bytes, where: str) -> tuple[Bytes, Bytes]:
    """Planar pixels (n, 3072) and labels (n,) of one file, which is a pickle."""
    try:
        planar, labels = load_batch(content)
    except LraBenchError as problem:
        raise LraBenchError(f"{where} {problem}") from problem
    if labels.dtype != np.int64 or labels.ndim != 1 or not set(labels.tolist()) <= set(range(CLASSES)):
        raise LraBenchError(f"{where} has labels that are not from 0 to {CLASSES - 1}: download it again")
    if planar.shape != (len(labels), 3 * SIDE * SIDE):
        raise LraBenchError(f"{where} has {len(labels):,} labels for pixels {planar.shape}: download it again")
    return planar, labels.astype(np.uint8)


def _from_parquet(path: Path) -> Pictures:
    try:
        import pyarrow.parquet
    except ImportError as problem:
        raise LraBenchError(f"reading {path} needs one more package: pip install pyarrow") from problem
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as problem:
        raise LraBenchError(f"{path} is damaged or incomplete: download it again") from problem
    if missing := [name for name in ("image", "label", "split") if name not in table.column_names]:
        raise LraBenchError(f"{path} lacks the columns {', '.join(missing)}; expected image, label and split")
    columns = {name: table[name].to_pylist() for name in table.column_names}
    lengths = {len(image) if isinstance(image, bytes) else 0 for image in columns["image"]}
    if lengths not in ({SIDE**2}, {3 * SIDE**2}) or not set(columns["split"]) <= {"train", "test"}:
        raise LraBenchError(f"{path} is no parquet of pixels: image must be 1024 or 3072 bytes, split train or test")
    if not set(columns["label"]) <= set(range(CLASSES)):
        raise LraBenchError(f"{path} has labels that are not from 0 to {CLASSES - 1}; is it CIFAR-10?")
    part = np.array([TRAIN if split == "train" else TEST for split in columns["split"]], np.uint8)
    order = np.lexsort((columns.get("idx", range(len(part))), part))
    pixels = np.frombuffer(b"".join(columns["image"]), np.uint8).reshape(len(part), SIDE, SIDE, -1)
    return Pictures(
        source=path.name,
        pixels=pixels[order],
        labels=np.array(columns["label"], np.uint8)[order],
        part=part[order],
        notes=_inexact(part, np.array(columns.get("exact", [True] * len(part)), bool)),
    )


def _inexact(part: Bytes, exact: NDArray[np.bool_]) -> list[str]:
    train, test = (int((~exact & (part == wanted)).sum()) for wanted in (TRAIN, TEST))
    return [f"{train + test:,} pictures are not bit-exact ({train:,} train, {test:,} test)"] if train + test else []


def _raw(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the hub with its picture as an array, (32, 32, 3)."""
    return {"img": np.asarray(row["img"].convert("RGB")), "label": row["label"]}


def _parts(sizes: dict[int, int]) -> Bytes:
    return np.repeat(np.array(list(sizes), np.uint8), list(sizes.values()))


def _read_batch(file: Any, where: str) -> bytes:
    content: bytes = file.read(LARGEST_BATCH + 1)
    if len(content) > LARGEST_BATCH:
        raise LraBenchError(f"{where} is too large for a batch of CIFAR-10")
    return content


def _starts_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
