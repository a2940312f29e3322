"""Small tasks with prepared data, for tests; used as `tests.toy_prepared:Name`."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lra_bench.core.errors import LraBenchError
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.data.datamodule import Source, Split
from lra_bench.data.documents import Documents, save_rows
from lra_bench.data.manifest import Description
from lra_bench.data.pictures import PictureSource
from lra_bench.data.prepared import DocumentSource, GeneratedConfig, Order, PreparedTask, Splits
from lra_bench.data.shards import ensure_shards, read_shard
from lra_bench.data.store import SHARDS, content_hashes, save_array
from tests import toy_shards

SHARES = {"full": 8, "small": 6, "tiny": 4}
"""Shards of each size."""


@dataclass(frozen=True)
class ToyConfig(GeneratedConfig):
    """Nothing but what every generated task has."""


class Toy(PreparedTask):
    """Rows of small numbers, generated or read from a file `rows.npy`."""

    Config = ToyConfig
    VERSION = 1
    LICENCE = "none"
    dataset = "toy"
    cfg: ToyConfig

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec(
            name=self.cfg.name,
            version=self.VERSION,
            input=InputKind.TOKENS,
            output=OutputKind.CLASSIFY,
            seq_len=toy_shards.LENGTH,
            input_size=257,
            output_size=2,
            metric="accuracy",
            higher_is_better=True,
            chance=0.5,
            chance_margin=0.02,
            train_size=20,
            val_size=10,
            test_size=10,
            source="made up",
            licence=self.LICENCE,
            pad_id=0,
        )

    def make(self, folder: Path, order: Order) -> Description:
        rows = self._read(order) if self.origin == "official" else self._generate(folder, order.jobs)
        labels = (rows[:, 0] > 125).astype(np.uint8)
        save_rows(folder, "rows", [row.tobytes() for row in rows])
        save_array(folder, "pixels", rows)
        save_array(folder, "labels", labels)
        save_array(folder, "part", np.arange(len(rows), dtype=np.uint8) % 4 // 2 * (1 + np.arange(len(rows)) % 2))
        save_array(folder, "hashes", content_hashes(row.tobytes() for row in rows))
        return Description(
            source=Path(order.source).name if order.source else "toy generator",
            facts={"rows": len(rows), "[labels]": {"zero": int((labels == 0).sum()), "mean": float(labels.mean())}},
            skipped={"rows of zeros": 1234},
            notes=["this is a toy"],
        )

    def _generate(self, folder: Path, jobs: int) -> np.ndarray:
        make = partial(toy_shards.draw, self.data_seed)
        paths = ensure_shards(folder / SHARDS, range(SHARES[self.cfg.size]), make, jobs)
        return np.concatenate([read_shard(path)["rows"] for path in paths])

    def _read(self, order: Order) -> np.ndarray:
        if order.source is None:
            raise LraBenchError("toy needs a file of rows; give it with --source PATH")
        return np.load(order.source)

    def splits(self) -> Splits:
        train, val, test = (np.flatnonzero(self.data.part == part) for part in range(3))
        return Splits(train, test if self.protocol == "legacy" else val, test)

    def source(self, split: Split) -> Source:
        documents = Documents.of_bytes(self.data, "rows", toy_shards.LENGTH)
        return DocumentSource(documents, self.data.labels, self.rows(split))

    def words(self, ids: np.ndarray) -> str:
        return " ".join(f"w{index - 1}" for index in ids.tolist())

    def export(self, folder: Path) -> None:
        np.save(folder / "rows.npy", self.data.array("pixels"))


class ToyPictures(Toy):
    """The same rows as pictures of 4 x 4 pixels."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        return 4, 4

    def source(self, split: Split) -> Source:
        return PictureSource(self.data.array("pixels"), self.data.labels, self.rows(split))
