"""Task `retrieval`: whether one of two papers cites the other, read character by character or byte by byte."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lra_bench.core.batch import Batch
from lra_bench.core.errors import LraBenchError
from lra_bench.core.settings import TaskConfig, require
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.data.datamodule import Source, Split
from lra_bench.data.documents import (
    PAD,
    Documents,
    DocumentsOnDevice,
    known_characters,
    read_characters,
    save_texts,
)
from lra_bench.data.manifest import Description
from lra_bench.data.prepared import Order, PreparedTask, Splits, fetched
from lra_bench.data.splits import Indices, without_content_of
from lra_bench.data.store import content_hashes, save_array
from lra_bench.tasks.aan_files import KEPT, PARTS, Pairs, read_pairs

ARCHIVE = "https://storage.googleapis.com/long-range-arena/lra_release.gz"

SIZES = (147_086, 18_090, 17_437)
"""Training, validation and test pairs of the official files."""

COUNTED = 3999
"""Characters of each training text that decide the vocabulary, whatever `task.seq_len` is."""

README = """Document pairs in the format of Long Range Arena's AAN files, written by lra-bench.

tsv_data/new_aan_pairs.{train,eval,test}.tsv have no header; five columns between tabs: label, id1, id2, text1, text2.
Labels, texts and the order of the pairs are the official ones, but for this:
- texts are cut: at most the first 4,000 characters of each are kept, which is all that published pipelines read
- the papers' ids are not kept; numbers stand for them, the same for the same text
With task.literal=keep, texts are as published, so a bytes literal may lack its end. With task.literal=undo, texts were
cut after their literals were undone, and are printed as bytes literals again.
"""


@dataclass(frozen=True)
class RetrievalConfig(TaskConfig):
    """How pairs of documents become numbers.

    Attributes:
        level: char is the S4 family's (characters, most frequent first, and an end token); byte is the original's
            (byte + 1, no end token).
        literal: the published texts are bytes literals as Python prints them (b'...', with escapes). keep feeds them as
            they are, as LRA and S4 do; undo feeds the text that they stand for.
        seq_len: steps of the longest document, the end included; what is longer is cut.
        max_vocab: ids for characters, specials included; 98 are 95 printable characters, padding, unknown and the end.
    """

    level: Literal["char", "byte"] = "char"
    literal: Literal["keep", "undo"] = "keep"
    seq_len: int = 4000
    max_vocab: int = 98

    def __post_init__(self) -> None:
        require(2 <= self.seq_len <= KEPT, "task.seq_len", f"from 2 to {KEPT}", self.seq_len)
        require(4 <= self.max_vocab <= 258, "task.max_vocab", "from 4 to 258", self.max_vocab)


class Retrieval(PreparedTask):
    """LRA's document retrieval: pairs of papers of the ACL Anthology Network, two classes.

    clean: the official split, without training pairs that occur (the same two texts, in either order) in validation or
    test, and without validation pairs that occur in test. legacy: the official split as it is. Papers, as opposed to
    pairs, occur in several splits under both.

    Both protocols follow the S4 family (state-spaces/s4 src/dataloaders/lra.py, configs/dataset/aan.yaml): characters,
    cut to 3,999, and an end token but no token for the beginning; the vocabulary is counted on both texts of the
    official training pairs, cut in the same way, each as often as it occurs in pairs, and no character is too rare for
    it (min_freq 1). S4 leaves quote handling on; here it is off, as in the original.

    The original (google-research/long-range-arena lra_benchmarks/matching/input_pipeline.py) reads bytes (byte + 1, 257
    ids), cut to 10,000 and then to 4,000: `task.level=byte` is its input. It drops the last partial batch of validation
    and test too: of batches of 32, 18,080 of 18,090 and 17,408 of 17,437 pairs count. Under both protocols here, every
    pair counts, as in S4.

    Documents are identified by the 4,000 characters that are kept of them.
    """

    Config = RetrievalConfig
    VERSION = 1
    LICENCE = "none stated; LRA's README says that its authors could not redistribute the texts; cite Radev et al. 2013"
    PREPARED_BY = ("literal",)
    dataset = "retrieval"
    cfg: RetrievalConfig

    @property
    def spec(self) -> TaskSpec:
        """The contract. Sizes are those of the official files; clean may leave out some pairs."""
        return TaskSpec(
            name=self.cfg.name,
            version=self.VERSION,
            input=InputKind.TOKENS,
            output=OutputKind.CLASSIFY_PAIR,
            seq_len=self.cfg.seq_len,
            input_size=257 if self.cfg.level == "byte" else self.cfg.max_vocab,
            output_size=2,
            metric="accuracy",
            higher_is_better=True,
            chance=0.5,
            chance_margin=0.02,
            train_size=SIZES[0],
            val_size=SIZES[1],
            test_size=SIZES[2],
            source="pairs of the ACL Anthology Network (Radev et al. 2013) in Long Range Arena (Tay et al. 2021)",
            licence=self.LICENCE,
            pad_id=PAD,
        )

    def make(self, folder: Path, order: Order) -> Description:
        """Read the pairs from the official archive, or from a folder with its three files."""
        source = fetched(order, {})
        if source is None:
            raise LraBenchError(
                f"{self.cfg.name} needs --source: lra_release.gz (8 GB, {ARCHIVE}), or a folder with its "
                "new_aan_pairs.{train,eval,test}.tsv"
            )
        pairs = read_pairs(source, self.cfg.literal == "undo", order.show_progress)
        counted = [text[:COUNTED] for text in pairs.texts]
        training = pairs.documents[pairs.part == PARTS["train"]]
        counts = save_texts(folder, pairs.texts, [counted[number] for number in training.ravel()])
        hashes = _content(pairs)
        save_array(folder, "pairs", pairs.documents)
        save_array(folder, "labels", pairs.labels)
        save_array(folder, "part", pairs.part)
        save_array(folder, "hashes", hashes)
        return Description(
            source=source.resolve().name,
            facts={
                "distinct published texts": dict(pairs.counts),
                "distinct documents kept": len(pairs.texts),
                "distinct characters in training texts": len(counts),
                **_facts(pairs, hashes),
            },
            notes=_notes(pairs),
        )

    def splits(self) -> Splits:
        """See the class."""
        train, val, test = (np.flatnonzero(self.data.part == part) for part in PARTS.values())
        if self.protocol == "legacy":
            return Splits(train, val, test)
        hashes = self.data.hashes
        return Splits(
            without_content_of(train, np.concatenate([val, test]), hashes), without_content_of(val, test, hashes), test
        )

    @cached_property
    def documents(self) -> Documents:
        """The distinct documents as ids."""
        if self.cfg.level == "byte":
            return Documents.of_bytes(self.data, "bytes", self.cfg.seq_len)
        known = known_characters(self.data.array("character_counts"), 1, self.cfg.max_vocab)
        return Documents.of_words(self.data, "ranks", self.cfg.seq_len, known)

    def source(self, split: Split) -> Source:
        """The pairs of a split."""
        return PairSource(self.documents, np.array(self.data.array("pairs")), self.data.labels, self.rows(split))

    def words(self, ids: NDArray[Any]) -> str:
        """The text that ids stand for."""
        if self.cfg.level == "byte":
            return (ids[ids > 0] - 1).astype(np.uint8).tobytes().decode(errors="replace")
        return read_characters(ids, self.data.array("characters"))

    def export(self, folder: Path) -> None:
        """tsv_data/new_aan_pairs.{train,eval,test}.tsv, and a README.txt; texts are those kept, so they are cut."""
        target = folder / "tsv_data"
        target.mkdir(parents=True)
        (folder / "README.txt").write_text(README, encoding="utf-8")
        texts = Documents.of_bytes(self.data, "bytes", self.cfg.seq_len)
        pairs = self.data.array("pairs")
        for name, part in PARTS.items():
            with (target / f"new_aan_pairs.{name}.tsv").open("wb") as file:
                for row in np.flatnonzero(self.data.part == part):
                    first, second = pairs[row].tolist()
                    start = f"{self.data.labels[row]}.0\t{first}\t{second}".encode()
                    fields = (start, self._field(texts.row(first)), self._field(texts.row(second)))
                    file.write(b"\t".join(fields) + b"\n")

    def _field(self, row: NDArray[np.uint8]) -> bytes:
        text = row.tobytes()
        return text if self.cfg.literal == "keep" else repr(text).encode()


class PairSource(Source):
    """A split of pairs of documents.

    Args:
        documents: each distinct one once.
        pairs: (N, 2) int32, the two documents of every pair of the set.
        labels: (N,) class of every pair.
        rows: pairs of this split.
    """

    def __init__(
        self,
        documents: Documents | DocumentsOnDevice,
        pairs: NDArray[np.int32],
        labels: NDArray[Any],
        rows: Indices,
    ) -> None:
        self.documents = documents
        self.pairs = pairs
        self.labels = labels
        self.rows = rows
        self.size = len(rows)
        self.stored_bytes, self.device = len(documents.values), documents.device

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        rows = self.rows[np.asarray(indices)]
        first, second = self.pairs[rows].T
        x, mask = self.documents.gather(first)
        x2, mask2 = self.documents.gather(second)
        return Batch(x, torch.from_numpy(self.labels[rows].astype(np.int64)), mask, None, x2, mask2)

    def on(self, device: torch.device) -> Source:
        """The same pairs, their documents kept on a device."""
        return PairSource(self.documents.on(device), self.pairs, self.labels, self.rows)


def _content(pairs: Pairs) -> NDArray[np.uint64]:
    """(N,) hash of the two texts of each pair, whichever comes first."""
    single = content_hashes(text.encode() for text in pairs.texts)
    return content_hashes(row.tobytes() for row in single[np.sort(pairs.documents, axis=1)])


def _facts(pairs: Pairs, hashes: NDArray[np.uint64]) -> dict[str, Any]:
    """Counts that tell whether a copy of the data is whole, and how much its parts have in common."""
    train, val, test = (pairs.part == part for part in PARTS.values())
    facts: dict[str, Any] = {
        name: {
            "pairs": int(rows.sum()),
            "citing": int(pairs.labels[rows].sum()),
            "distinct pairs": len(np.unique(hashes[rows])),
            "distinct documents": len(np.unique(pairs.documents[rows])),
        }
        for name, rows in zip(PARTS, (train, val, test), strict=True)
    }
    return facts | {
        "training pairs that are validation or test pairs too": int(np.isin(hashes[train], hashes[val | test]).sum()),
        "validation pairs that are test pairs too": int(np.isin(hashes[val], hashes[test]).sum()),
        "test documents that are training documents too": len(
            np.intersect1d(pairs.documents[test], pairs.documents[train])
        ),
    }


def _notes(pairs: Pairs) -> list[str]:
    sizes = tuple(np.bincount(pairs.part, minlength=len(PARTS)).tolist())
    if sizes == SIZES:
        return []
    official, found = ("/".join(f"{size:,}" for size in three) for three in (SIZES, sizes))
    return [f"the official files have {official} pairs, these have {found}"]
