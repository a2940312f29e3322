"""Tasks `image` and `image_rgb`: CIFAR-10 pixel by pixel, grey as in LRA, or in colour."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.errors import LraBenchError
from lra_bench.core.settings import TaskConfig
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.data.manifest import Description
from lra_bench.data.pictures import LEVELS, PictureTask
from lra_bench.data.prepared import Order, Splits, fetched
from lra_bench.data.splits import VAL_SHARE, carved, s4_order
from lra_bench.data.store import content_hashes, save_array
from lra_bench.tasks.image_files import TEST, TRAIN, Pictures, read_cifar10, read_hub, to_grey, write_binary

CHECKSUMS = {
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
}
SIDE: Literal[32] = 32


@dataclass(frozen=True)
class ImageConfig(TaskConfig):
    """How pixels become input.

    Attributes:
        inputs: float is one real number per pixel, scaled to mean 0 and standard deviation 1 over the training split
            (the S4 family); tokens is the grey level, with an embedding (the original).
        side: pixels on a side; 16, 8 and 4 are means over squares of the original's 32, for short sequences.
    """

    inputs: Literal["float", "tokens"] = "float"
    side: Literal[32, 16, 8, 4] = SIDE


class Image(PictureTask):
    """LRA's grey CIFAR-10: 50,000 training and 10,000 test pictures of 32 x 32 pixels in raster order, ten classes.

    Grey is Pillow's "L" (integer ITU-R 601), as in the S4 family (state-spaces/s4, src/dataloaders/basic.py); the
    original (google-research/long-range-arena, lra_benchmarks/image/input_pipeline.py) weighs the channels in floating
    point and reads levels as tokens, of which `task.inputs=tokens` is the counterpart. No augmentation.

    clean: a stratified tenth of the training pictures validates; exact duplicates stay on one side, and training
    pictures that occur in the test set are left out. legacy: S4's split, 45,000 and 5,000 drawn with torch's generator
    at seed 42; the original validates on the last tenth in TFDS's order, which the archives do not keep. The original
    drops the last partial batch of an evaluation (9,984 of 10,000 pictures count); here all count under both.
    """

    Config = ImageConfig
    VERSION = 1
    LICENCE = "none stated; cite Krizhevsky 2009"
    dataset = "image"
    ON_HUB = True
    channels: ClassVar[int] = 1
    cfg: ImageConfig

    @property
    def spec(self) -> TaskSpec:
        """The contract."""
        tokens = self.inputs == "tokens"
        return TaskSpec(
            name=self.cfg.name,
            version=self.VERSION,
            input=InputKind.TOKENS if tokens else InputKind.CONTINUOUS,
            output=OutputKind.CLASSIFY,
            seq_len=self.side**2,
            input_size=LEVELS if tokens else self.channels,
            output_size=10,
            metric="accuracy",
            higher_is_better=True,
            chance=0.1,
            chance_margin=0.02,
            train_size=45_000,
            val_size=5_000,
            test_size=10_000,
            source="CIFAR-10 (Krizhevsky 2009)",
            licence=self.LICENCE,
        )

    @property
    def inputs(self) -> Literal["float", "tokens"]:
        """What a pixel becomes."""
        return self.cfg.inputs

    @property
    def side(self) -> int:
        """Pixels on a side."""
        return self.cfg.side

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height and width, grey."""
        return self.side, self.side

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """The pictures as stored, or made smaller."""
        stored = super().pixels
        return stored if self.side == SIDE else shrunk(stored, self.side)

    def make(self, folder: Path, order: Order) -> Description:
        """Read the pictures from the hub, an official archive, or a parquet of pixels."""
        source = fetched(order, CHECKSUMS)
        pictures = read_hub(order.show_progress) if source is None else read_cifar10(source, order.show_progress)
        pixels = self._prepared_pixels(pictures)
        train = pixels[pictures.part == TRAIN]
        hashes = content_hashes(row.tobytes() for row in pixels)
        save_array(folder, "pixels", pixels)
        save_array(folder, "moments", _moments(pixels))
        save_array(folder, "labels", pictures.labels)
        save_array(folder, "part", pictures.part)
        save_array(folder, "hashes", hashes)
        in_train, in_test = hashes[pictures.part == TRAIN], hashes[pictures.part == TEST]
        return Description(
            source=pictures.source,
            facts={
                "training pictures": len(train),
                "test pictures": len(in_test),
                "training pixels, mean": np.round(train.mean(axis=(0, 1)), 2).tolist(),
                "training pixels, standard deviation": np.round(train.std(axis=(0, 1)), 2).tolist(),
                "training pictures of each class": np.bincount(pictures.labels[pictures.part == TRAIN]).tolist(),
                "distinct training pictures": len(np.unique(in_train)),
                "training pictures that are test pictures too": int(np.isin(in_train, in_test).sum()),
            },
            notes=list(pictures.notes),
        )

    def splits(self) -> Splits:
        """See the class."""
        train, test = (np.flatnonzero(self.data.part == part) for part in (TRAIN, TEST))
        if self.protocol == "legacy":
            order = s4_order(len(train))
            kept = int(len(train) * (1 - 1 / VAL_SHARE))
            return Splits(train[order[:kept]], train[order[kept:]], test)
        rest, val = carved(train, test, self.data.labels, self.data.hashes, self.data_seed)
        return Splits(rest, val, test)

    @cached_property
    def scaling(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation over the training split."""
        moments = self.data.array("moments") if self.side == SIDE else _moments(self.pixels)
        total, squares = moments[self.rows("train")].mean(axis=0, dtype=np.float64).T / self.side**2
        return total.astype(np.float32), np.sqrt(squares - total**2).astype(np.float32)

    def export(self, folder: Path) -> None:
        """cifar-10-batches-bin; grey pictures have three equal channels, which "L" turns into the same grey."""
        pixels = self.data.array("pixels").reshape(-1, SIDE, SIDE, self.channels)
        colours = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
        write_binary(folder / "cifar-10-batches-bin", colours, self.data.labels, self.data.part)

    def _prepared_pixels(self, pictures: Pictures) -> NDArray[np.uint8]:
        """(N, L) grey levels."""
        pixels = to_grey(pictures.pixels) if pictures.pixels.shape[-1] == 3 else pictures.pixels[..., 0]
        return pixels.reshape(len(pixels), -1)


@dataclass(frozen=True)
class ImageRGBConfig(TaskConfig):
    """Nothing to choose."""


class ImageRGB(Image):
    """CIFAR-10 in colour, three real numbers per pixel, as in the LRU paper (arXiv 2303.06349).

    That paper has it beside grey results of others. Here it is a task of its own: its numbers and those of `image` are
    never in one table. Splits and scaling are those of `image`, each channel by itself.
    """

    Config = ImageRGBConfig
    dataset = "image_rgb"
    channels = 3

    @property
    def inputs(self) -> Literal["float", "tokens"]:
        """Real numbers."""
        return "float"

    @property
    def side(self) -> int:
        """Pixels on a side."""
        return SIDE

    @property
    def image_shape(self) -> tuple[int, ...]:
        """32 x 32, three channels."""
        return SIDE, SIDE, 3

    def _prepared_pixels(self, pictures: Pictures) -> NDArray[np.uint8]:
        """(N, L, 3)."""
        if pictures.pixels.shape[-1] != 3:
            raise LraBenchError(f"{pictures.source} holds grey pictures; image_rgb needs CIFAR-10 in colour")
        return pictures.pixels.reshape(len(pictures.pixels), -1, 3)


def shrunk(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(N, 32 * 32) grey levels as (N, side * side): means over squares, halves up."""
    factor = SIDE // side
    squares = pixels.reshape(len(pixels), side, factor, side, factor)
    totals = squares.sum(axis=(2, 4), dtype=np.uint32)
    return ((totals + factor**2 // 2) // factor**2).astype(np.uint8).reshape(len(pixels), -1)


def _moments(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N, C, 2): sum and sum of squares of each picture's channels."""
    channels = pixels if pixels.ndim == 3 else pixels[..., None]
    wide = channels.astype(np.int32)
    return np.stack([wide.sum(axis=1), (wide * wide).sum(axis=1)], axis=-1).astype(np.int64)
