"""The official Pathfinder folders, read and written.

    pathfinder<R>/curv_contour_length_14/imgs/<batch>/sample_<i>.png
    pathfinder<R>/curv_contour_length_14/metadata/<batch>.npy

The metadata are plain text in spite of their suffix: a line per image, columns separated by blanks.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lra_bench.core.errors import LraBenchError
from lra_bench.data.members import read_members

HARD = "curv_contour_length_14"
"""The set that LRA and all published results use."""

COLUMNS = 11
"""Folder, file, number, label, continuity, contour length, distractor length, paddle length, paddle thickness, margin,
number of paddle contrasts."""

GET_AGAIN = "get the archive again"


@dataclass(frozen=True)
class Entry:
    """One line of the metadata: the image's name, `imgs/<batch>/<file>`, its label, and the margin of its paddles."""

    name: str
    label: int
    margin: int


def read_folders(source: Path, side: int, raw: Path, show_progress: bool) -> tuple[list[Entry], list[int], int]:
    """Read a set in one pass over a folder or archive, in whatever order its members come.

    Args:
        source: holds `pathfinder<side>/curv_contour_length_14`, or is the inside of it.
        side: pixels of a row, R.
        raw: file that the pixels of one image after another are written to.
        show_progress: draw a progress bar.

    Returns:
        The entries in S4's order (metadata files by number, lines as they stand), the place of each one's image in
        `raw`, and how many empty image files were left out.

    Raises:
        LraBenchError: nothing there, a damaged image or one of another size, a malformed line, or an entry without
            an image.
    """
    pictures: dict[str, int] = {}
    empty: set[str] = set()
    listed: dict[int, list[Entry]] = {}
    with raw.open("wb") as pixels:
        for name, file in read_members(source, lambda name: bool(_inside(name, side)), show_progress):
            inside, content = _inside(name, side), file.read()
            if inside.startswith("metadata/"):
                listed[int(Path(inside).stem)] = list(_entries(content, f"{source}, {name}"))
            elif content:
                pictures[inside] = len(pictures)
                pixels.write(_decoded(content, side, f"{source}, {name}"))
            else:
                empty.add(inside)
    entries = [entry for number in sorted(listed) for entry in listed[number] if entry.name not in empty]
    if not entries:
        raise LraBenchError(
            f"{source} does not hold pathfinder{side}/{HARD} with imgs/ and metadata/, as in the official release"
        )
    if missing := [entry.name for entry in entries if entry.name not in pictures]:
        raise LraBenchError(
            f"{source} lists {missing[0]} and {len(missing) - 1} others, but does not hold them; {GET_AGAIN}"
        )
    return entries, [pictures[entry.name] for entry in entries], len(empty)


def _inside(name: str, side: int) -> str:
    """The name within the hard set of this resolution; empty for any other member."""
    match = re.fullmatch(rf"(?:(?:.*/)?pathfinder{side}/)?(?:{HARD}/)?(imgs/\d+/[^/]+\.png|metadata/\d+\.npy)", name)
    return match[1] if match else ""


def _entries(content: bytes, where: str) -> Iterator[Entry]:
    for number, line in enumerate(content.decode("ascii", errors="replace").splitlines(), start=1):
        columns = line.split()
        try:
            folder, file, _, label, *_, margin, _ = columns
            entry = Entry(f"{folder}/{file}", int(label), int(float(margin)))
        except ValueError:
            entry = None
        if entry is None or len(columns) != COLUMNS or entry.label not in (0, 1):
            raise LraBenchError(
                f"{where}, line {number}: expected {COLUMNS} columns, folder, file, number, label (0 or 1) and so on, "
                f"got {line[:60]!r}; {GET_AGAIN}"
            )
        yield entry


def _decoded(content: bytes, side: int, where: str) -> bytes:
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            grey = np.asarray(image.convert("L"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise LraBenchError(f"{where} is damaged ({error}); {GET_AGAIN}") from error
    if grey.shape != (side, side):
        raise LraBenchError(f"{where} has {grey.shape[1]} x {grey.shape[0]} pixels, not {side} x {side}")
    return grey.tobytes()


def write_folders(folder: Path, pixels: NDArray[np.uint8], lines: list[str], batch_size: int) -> None:
    """Write images (N, R, R) and their metadata lines.

    Args:
        folder: becomes the inside of a set.
        pixels: of each image.
        lines: of the metadata, which name the images `imgs/<batch>/sample_<i>.png`, i counted within the batch.
        batch_size: images of each batch.
    """
    (folder / "metadata").mkdir(parents=True)
    for batch, first in enumerate(range(0, len(lines), batch_size)):
        images = folder / "imgs" / str(batch)
        images.mkdir(parents=True)
        for place, index in enumerate(range(first, min(first + batch_size, len(lines)))):
            Image.fromarray(pixels[index]).save(images / f"sample_{place}.png")
        (folder / "metadata" / f"{batch}.npy").write_text("\n".join(lines[first : first + batch_size]) + "\n")
