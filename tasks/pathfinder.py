"""Tasks `pathfinder`, `pathx` and `path256`: are the two dots on the same one of two long dashed curves?"""

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.errors import LraBenchError
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.data.download import require_free_space
from lra_bench.data.manifest import Description
from lra_bench.data.pictures import LEVELS, PictureTask
from lra_bench.data.prepared import SIZES, GeneratedConfig, Order, Splits, fetched
from lra_bench.data.progress import track
from lra_bench.data.shards import Arrays, ensure_shards, read_shard
from lra_bench.data.splits import Indices, made_disjoint, s4_order
from lra_bench.data.store import SHARDS, content_hashes, create_array, save_array
from lra_bench.tasks.pathfinder_drawing import LRA
from lra_bench.tasks.pathfinder_files import HARD, read_folders, write_folders
from lra_bench.tasks.pathfinder_snakes import draw_samples, metadata_line

FULL = (160_000, 20_000, 20_000)
SHARD = 500
BATCH = 1000
"""Images of each numbered folder of an export."""


@dataclass(frozen=True)
class PathfinderConfig(GeneratedConfig):
    """How pixels become input, and which official images form the splits.

    Attributes:
        inputs: float is one real number per pixel (the S4 family); tokens is the grey level, with an embedding (the
            original).
        center: real numbers from -1 to 1, as S5 and LRU have them; else from 0 to 1, as in S4's own settings.
        split: of official images. s4: 160,000, 20,000 and 20,000 drawn with torch's generator at seed 42 from the
            order of the metadata; original: that order cut at 80 % and 90 %. (The original cuts TFDS's order, which
            the release does not keep.)
    """

    inputs: Literal["float", "tokens"] = "float"
    center: bool = True
    split: Literal["s4", "original"] = "s4"


class Pathfinder(PictureTask):
    """LRA's Pathfinder: 200,000 images of 32 x 32 pixels in raster order, two balanced classes, contour length 14.

    The official images cannot be made again (no seed), so by default the project's own generator follows the published
    procedure (see `pathfinder_drawing`) from a seed, with 160,000/20,000/20,000 images in the order of drawing; results
    on generated and on official images are never in one table. `task.origin=official` reads pathfinder32 of the
    release, the "hard" set curv_contour_length_14 (google-research/long-range-arena, lra_benchmarks/data/pathfinder.py;
    state-spaces/s4, src/dataloaders/lra.py). Empty image files, of which the easy set has one, are left out.

    Both protocols use the same splits; clean leaves out training images that occur in validation or test. The original
    drops the last partial batch of an evaluation; here every image counts.
    """

    Config = PathfinderConfig
    VERSION = 1
    LICENCE = "none needed for generated data; Apache-2.0 for the official release"
    dataset = "pathfinder"
    side: ClassVar[int] = 32
    cfg: PathfinderConfig

    @property
    def spec(self) -> TaskSpec:
        """The contract."""
        tokens = self.cfg.inputs == "tokens"
        train, val, test = self.sizes
        return TaskSpec(
            name=self.cfg.name,
            version=self.VERSION,
            input=InputKind.TOKENS if tokens else InputKind.CONTINUOUS,
            output=OutputKind.CLASSIFY,
            seq_len=self.side**2,
            input_size=LEVELS if tokens else 1,
            output_size=2,
            metric="accuracy",
            higher_is_better=True,
            chance=0.5,
            chance_margin=0.02,
            train_size=train,
            val_size=val,
            test_size=test,
            source="Pathfinder (Linsley et al. 2018) with the settings of LRA (arXiv 2011.04006)",
            licence=self.LICENCE,
        )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Training, validation and test images."""
        return SIZES.get(self.cfg.size, FULL)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Square, grey."""
        return self.side, self.side

    @cached_property
    def scaling(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """To [-1, 1] or [0, 1]."""
        shift, scale = (127.5, 127.5) if self.cfg.center else (0.0, 255.0)
        return np.array([shift], dtype=np.float32), np.array([scale], dtype=np.float32)

    def make(self, folder: Path, order: Order) -> Description:
        """Draw the images, or read the official folders."""
        described = self._draw if self.origin == "generated" else self._read
        return described(folder, order)

    def splits(self) -> Splits:
        """See the config."""
        train, val, test = self._given_splits()
        if self.protocol == "legacy":
            return Splits(train, val, test)
        return Splits(*made_disjoint(train, val, test, self.data.hashes))

    def export(self, folder: Path) -> None:
        """pathfinder<R>/curv_contour_length_14 with imgs/ and metadata/."""
        pixels = self.data.array("pixels").reshape(-1, *self.image_shape)
        drawing = LRA[self.side]
        lines = [
            metadata_line(drawing, int(label), int(margin), index // BATCH, index % BATCH)
            for index, (label, margin) in enumerate(zip(self.data.labels, self.data.array("margins"), strict=True))
        ]
        write_folders(folder / f"pathfinder{self.side}" / HARD, pixels, lines, BATCH)

    def _given_splits(self) -> tuple[Indices, Indices, Indices]:
        labels = self.data.labels
        if self.origin == "generated":
            bounds = np.cumsum(self.sizes)[:2]
            order = np.arange(len(labels))
        else:
            bounds = np.array([len(labels) * 8 // 10, len(labels) * 9 // 10])
            order = s4_order(len(labels)) if self.cfg.split == "s4" else np.arange(len(labels))
        train, val, test = np.split(order, bounds)
        return train, val, test

    def _draw(self, folder: Path, order: Order) -> Description:
        total, length = sum(self.sizes), self.side**2
        require_free_space(folder, 2 * total * length)
        make = partial(_shard, [self.data_seed, self.VERSION, self.side], self.side, SHARD, total)
        count = -(-total // SHARD)
        shards = ensure_shards(folder / SHARDS, range(count), make, order.jobs)
        drawn = list(track(shards, f"{self.cfg.name}, {SHARD} images each", count, "shards", order.show_progress))
        pixels = create_array(folder, "pixels", np.uint8, (total, length))
        labels, margins = np.empty(total, np.uint8), np.empty(total, np.uint8)
        for number, path in enumerate(drawn):
            shard, rows = read_shard(path), slice(number * SHARD, (number + 1) * SHARD)
            pixels[rows], labels[rows], margins[rows] = shard["pixels"], shard["labels"], shard["margins"]
        parts = np.repeat(np.arange(3, dtype=np.uint8), self.sizes)
        source = f"generator of lra-bench, version {self.VERSION}, data seed {self.data_seed}"
        return self._described(folder, pixels, labels, margins, parts, source, {})

    def _read(self, folder: Path, order: Order) -> Description:
        source = fetched(order, {})
        if source is None:
            raise LraBenchError(
                f"say where the official images are: --source FOLDER_OR_ARCHIVE with pathfinder{self.side}/{HARD}"
            )
        shards = folder / SHARDS
        shards.mkdir(exist_ok=True)
        raw = shards / "arrived.raw"
        entries, places, empty = read_folders(source, self.side, raw, order.show_progress)
        arrived = np.memmap(raw, dtype=np.uint8, mode="r").reshape(-1, self.side**2)
        pixels = create_array(folder, "pixels", np.uint8, (len(entries), self.side**2))
        for first in range(0, len(entries), SHARD):
            pixels[first : first + SHARD] = arrived[places[first : first + SHARD]]
        labels = np.array([entry.label for entry in entries], dtype=np.uint8)
        margins = np.array([entry.margin for entry in entries], dtype=np.uint8)
        skipped = {"empty image files": empty} if empty else {}
        return self._described(folder, pixels, labels, margins, np.zeros_like(labels), source.name, skipped)

    @staticmethod
    def _described(
        folder: Path,
        pixels: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        margins: NDArray[np.uint8],
        part: NDArray[np.uint8],
        source: str,
        skipped: dict[str, int],
    ) -> Description:
        """Save what is not pixels."""
        hashes = content_hashes(row.tobytes() for row in pixels)
        for name, values in {"labels": labels, "margins": margins, "part": part, "hashes": hashes}.items():
            save_array(folder, name, values)
        facts: dict[str, Any] = {
            "images": len(labels),
            "of class 1, per cent": round(100 * float(labels.mean()), 2),
            "distinct": len(np.unique(hashes)),
        }
        return Description(source=source, facts=facts, skipped=skipped)


class PathX(Pathfinder):
    """LRA's Path-X: Pathfinder at 128 x 128 pixels, 16,384 steps, drawn at that size with LRA's parameters for it.

    All else is as in `pathfinder`; the official images are pathfinder128 of the release.
    """

    dataset = "pathx"
    side = 128


class Path256(Pathfinder):
    """Pathfinder at 256 x 256 pixels, 65,536 steps, drawn at that size; not part of LRA's average.

    All else is as in `pathfinder`; the official images are pathfinder256 of the release.
    """

    dataset = "path256"
    side = 256


def _shard(seed: list[int], side: int, size: int, total: int, number: int) -> Arrays:
    """Draw the images of a shard."""
    first = number * size
    samples = draw_samples(seed, LRA[side], first, min(size, total - first))
    return {
        "pixels": np.stack([sample.pixels.reshape(-1) for sample in samples]),
        "labels": np.array([sample.label for sample in samples], dtype=np.uint8),
        "margins": np.array([sample.margin for sample in samples], dtype=np.uint8),
    }
