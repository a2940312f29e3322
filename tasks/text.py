"""Task `text`: the sentiment of IMDb reviews, read character by character or byte by byte."""

from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.settings import TaskConfig, require
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.data.datamodule import Source, Split
from lra_bench.data.documents import PAD, Documents, known_characters, read_characters, save_texts
from lra_bench.data.manifest import Description
from lra_bench.data.prepared import DocumentSource, Order, PreparedTask, Splits, fetched
from lra_bench.data.splits import carved
from lra_bench.data.store import content_hashes, save_array
from lra_bench.tasks.imdb_files import HUB, HUB_REVISION, LABELS, PARTS, read_reviews

CHECKSUMS = {"aclImdb_v1.tar.gz": "7c2ac02c03563afcf9b574c7e56c153a"}

COUNTED = 4095
"""Characters of each training text that decide the vocabulary, whatever `task.seq_len` is."""


@dataclass(frozen=True)
class TextConfig(TaskConfig):
    """How reviews become numbers.

    Attributes:
        level: char is the S4 family's (Unicode characters, most frequent first, and an end token); byte is the
            original's (byte + 1, no end token).
        seq_len: steps of the longest sequence, the end included; what is longer is cut.
        min_freq: characters that occur less often in the training texts are unknown.
        max_vocab: ids for characters, specials included; S4 provides 135, of which 134 are used.
    """

    level: Literal["char", "byte"] = "char"
    seq_len: int = 4096
    min_freq: int = 15
    max_vocab: int = 135

    def __post_init__(self) -> None:
        require(self.seq_len >= 2, "task.seq_len", "at least 2", self.seq_len)
        require(self.min_freq >= 1, "task.min_freq", "at least 1", self.min_freq)
        require(4 <= self.max_vocab <= 258, "task.max_vocab", "from 4 to 258", self.max_vocab)


class Text(PreparedTask):
    """LRA's byte-level text classification: 25,000 training and 25,000 test reviews, balanced, two classes.

    clean: a stratified tenth of the training reviews validates, exact duplicates stay on one side, and training
    reviews that occur in the test set are left out. legacy: all training reviews train, and the test set selects the
    step as well, as in both published pipelines (google-research/long-range-arena text_classification, state-spaces/s4
    src/dataloaders/lra.py with val_split 0).

    The original reads bytes (byte + 1, 257 ids), cut to 1,000 in its base config and 4,000 in the paper; the S4 family
    reads characters with an end token, cut to 4,096, where characters that occur less than 15 times are unknown. Both
    protocols follow the S4 family; `task.level=byte task.seq_len=4000` is the original's input. The vocabulary is
    counted on the official training reviews, as S4 does; labels play no part in it. HTML stays in.
    """

    Config = TextConfig
    VERSION = 1
    LICENCE = "none stated; cite Maas et al. 2011"
    dataset = "text"
    ON_HUB = True
    cfg: TextConfig

    @property
    def spec(self) -> TaskSpec:
        """The contract."""
        clean = self.protocol == "clean"
        return TaskSpec(
            name=self.cfg.name,
            version=self.VERSION,
            input=InputKind.TOKENS,
            output=OutputKind.CLASSIFY,
            seq_len=self.cfg.seq_len,
            input_size=257 if self.cfg.level == "byte" else self.cfg.max_vocab,
            output_size=2,
            metric="accuracy",
            higher_is_better=True,
            chance=0.5,
            chance_margin=0.02,
            train_size=22_500 if clean else 25_000,
            val_size=2_500 if clean else 25_000,
            test_size=25_000,
            source="IMDb large movie reviews (Maas et al. 2011)",
            licence=self.LICENCE,
            pad_id=PAD,
        )

    @property
    def selects_on(self) -> Split:
        """The test set under legacy."""
        return "val" if self.protocol == "clean" else "test"

    def make(self, folder: Path, order: Order) -> Description:
        """Read the reviews from the hub, an archive or a folder."""
        source = fetched(order, CHECKSUMS)
        reviews = read_reviews(source, order.show_progress)
        texts = [review.text for review in reviews]
        part = np.array([review.part for review in reviews], dtype=np.uint8)
        hashes = content_hashes(text.encode() for text in texts)
        train, test = part == PARTS["train"], part == PARTS["test"]
        counts = save_texts(folder, texts, [text[:COUNTED] for text in compress(texts, train)])
        save_array(folder, "labels", np.array([review.label for review in reviews], dtype=np.uint8))
        save_array(folder, "part", part)
        save_array(folder, "hashes", hashes)
        return Description(
            source=source.name if source else f"hub {HUB} at {HUB_REVISION}",
            facts={
                "vocabulary": {
                    "distinct characters": len(counts),
                    "at least 10 times": sum(count >= 10 for count in counts.values()),
                    "at least 15 times": sum(count >= 15 for count in counts.values()),
                },
                "train": _facts(list(compress(texts, train))),
                "test": _facts(list(compress(texts, test))),
                "training reviews that are test reviews too": int(np.isin(hashes[train], hashes[test]).sum()),
            },
            notes=["protocol legacy selects the step on the test set; protocol clean carves a validation split"],
        )

    def splits(self) -> Splits:
        """See the class."""
        train, test = (np.flatnonzero(self.data.part == part) for part in (PARTS["train"], PARTS["test"]))
        if self.protocol == "legacy":
            return Splits(train, test, test)
        rest, val = carved(train, test, self.data.labels, self.data.hashes, self.data_seed)
        return Splits(rest, val, test)

    @cached_property
    def documents(self) -> Documents:
        """The reviews as ids."""
        if self.cfg.level == "byte":
            return Documents.of_bytes(self.data, "bytes", self.cfg.seq_len)
        known = known_characters(self.data.array("character_counts"), self.cfg.min_freq, self.cfg.max_vocab)
        return Documents.of_words(self.data, "ranks", self.cfg.seq_len, known)

    def source(self, split: Split) -> Source:
        """The reviews of a split."""
        return DocumentSource(self.documents, self.data.labels, self.rows(split))

    def words(self, ids: NDArray[Any]) -> str:
        """The text that ids stand for."""
        if self.cfg.level == "byte":
            return (ids[ids > 0] - 1).astype(np.uint8).tobytes().decode(errors="replace")
        return read_characters(ids, self.data.array("characters"))

    def export(self, folder: Path) -> None:
        """aclImdb/{train,test}/{pos,neg}/<id>_<rating>.txt; ratings are not kept, so 1 and 10 stand for the classes."""
        texts = Documents.of_bytes(self.data, "bytes", self.cfg.seq_len)
        for part_name, part in PARTS.items():
            for label_name, label in LABELS.items():
                target = folder / "aclImdb" / part_name / label_name
                target.mkdir(parents=True)
                chosen = np.flatnonzero((self.data.part == part) & (self.data.labels == label))
                for number, row in enumerate(chosen):
                    (target / f"{number}_{1 + 9 * label}.txt").write_bytes(texts.row(int(row)).tobytes())


def _facts(texts: list[str]) -> dict[str, float]:
    """Counts that tell whether a copy of the data is whole."""
    characters = np.array([len(text) for text in texts])
    n_bytes = np.array([len(text.encode()) for text in texts])
    return {
        "reviews": len(texts),
        "distinct": len(set(texts)),
        "characters, mean": round(float(characters.mean()), 2),
        "characters, most": int(characters.max()),
        "more than 4,095 characters": int((characters > 4095).sum()),
        "more than 4,000 bytes": int((n_bytes > 4000).sum()),
        "at most 1,000 bytes": int((n_bytes <= 1000).sum()),
        "not plain ASCII": int((characters != n_bytes).sum()),
    }
