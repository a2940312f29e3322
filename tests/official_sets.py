"""Small official-format sources for every prepared task, and the words that choose them. Made from a seed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lra_bench.tasks.listops_language import to_source
from lra_bench.tasks.listops_trees import Grammar, draw_expressions
from tests import official


@dataclass(frozen=True)
class Case:
    """A task in one variant: overrides, and a maker of its source (None where the data are generated)."""

    task: str
    words: tuple[str, ...] = ()
    source: Callable[[Path], Path] | None = None

    def __str__(self) -> str:
        return "-".join([self.task, *(word.partition("=")[2] for word in self.words)])


def reviews(folder: Path) -> Path:
    """80 + 40 reviews with duplicates within and across the parts."""
    rng = np.random.default_rng(0)
    rows = []
    for part, count in (("train", 80), ("test", 40)):
        for number in range(count):
            label = number % 2
            text = "".join(rng.choice(list("abcdef <>é"), rng.integers(1, 90)))
            rows.append(
                (part, ("neg", "pos")[label], (2, 9)[label], f"{text}{number % 30 if number % 7 == 0 else text[::-1]}")
            )
    rows += [
        ("train", "pos", 8, "twice"),
        ("train", "pos", 10, "twice"),
        ("train", "neg", 1, "both parts"),
        ("test", "neg", 1, "both parts"),
    ]
    return official.as_folder(folder, official.imdb(rows))


def pictures(folder: Path) -> Path:
    """50 + 20 colour pictures, one of them in both parts."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
    pixels[60] = pixels[3]
    part = np.repeat(np.array([0, 2], np.uint8), (50, 20))
    return official.as_tar(
        folder / "cifar.tar.gz", official.cifar_binary(pixels, np.arange(70, dtype=np.uint8) % 10, part)
    )


def expressions(folder: Path) -> Path:
    """40, 10 and 10 expressions."""
    drawn = draw_expressions(np.random.default_rng(0), Grammar(min_length=20, max_length=100), 60)
    rows = [(to_source(drawn[index]), int(drawn.labels[index])) for index in range(60)]
    return official.as_folder(folder, official.listops({"train": rows[:40], "val": rows[40:50], "test": rows[50:]}))


def pairs(folder: Path) -> Path:
    """30, 10 and 10 pairs of 12 papers; some pairs occur in two files."""
    rng = np.random.default_rng(0)
    papers = [bytes(rng.choice(list(b"abc de\n\xff"), 40).tolist()) for _ in range(12)]
    rows = [(int(a < b), str(a), str(b), papers[a], papers[b]) for a, b in rng.integers(0, 12, (50, 2))]
    return official.as_folder(folder, official.aan({"train": rows[:30], "eval": rows[30:40], "test": rows[40:]}))


def curves(side: int) -> Callable[[Path], Path]:
    """40 images, not of curves, one of them twice."""

    def made(folder: Path) -> Path:
        images = np.random.default_rng(0).integers(0, 256, (40, side, side), dtype=np.uint8)
        images[39] = images[0]
        files = official.pathfinder(images, [index % 2 for index in range(40)], batch_size=16)
        return official.as_folder(folder, official.under(f"pathfinder{side}/curv_contour_length_14", files))

    return made


OFFICIAL = "task.origin=official"
CASES = (
    Case("image", source=pictures),
    Case("image", ("task.inputs=tokens",), pictures),
    Case("image_rgb", source=pictures),
    Case("listops", ("task.size=tiny",)),
    Case("listops", (OFFICIAL,), expressions),
    Case("path256", (OFFICIAL,), curves(256)),
    Case("pathfinder", ("task.size=tiny",)),
    Case("pathfinder", (OFFICIAL,), curves(32)),
    Case("pathx", (OFFICIAL,), curves(128)),
    Case("retrieval", source=pairs),
    Case("text", source=reviews),
    Case("text", ("task.level=byte", "task.seq_len=64"), reviews),
)
