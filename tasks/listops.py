"""Task `listops`: the value of a nested expression of MIN, MAX, MED and SM, from 0 to 9."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.errors import LraBenchError
from lra_bench.core.settings import require
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.data.datamodule import Source, Split
from lra_bench.data.documents import PAD, SPECIALS, Documents
from lra_bench.data.manifest import Description
from lra_bench.data.members import read_members
from lra_bench.data.prepared import SIZES, DocumentSource, GeneratedConfig, Order, PreparedTask, Splits, fetched
from lra_bench.data.progress import track
from lra_bench.data.shards import Arrays, ensure_shards, read_shard
from lra_bench.data.splits import made_disjoint
from lra_bench.data.store import SHARDS, content_hashes, save_array
from lra_bench.tasks.listops_language import WORDS, Expressions, concatenate, evaluate, read_tsv, write_tsv
from lra_bench.tasks.listops_trees import Grammar, draw_expressions

FULL = (96_000, 2_000, 2_000)
FILES = ("basic_train.tsv", "basic_val.tsv", "basic_test.tsv")
IN_ARCHIVE = re.compile(r"(?:^|/)basic_(train|val|test)\.tsv$")
SHARD = 1000
CHECKED = 500
"""Rows of each official file whose labels are computed again."""


@dataclass(frozen=True)
class ListOpsConfig(GeneratedConfig):
    """The grammar; the defaults are LRA's (google-research/long-range-arena, lra_benchmarks/data/listops.py).

    Attributes:
        max_depth: of nested operators and digits.
        max_args: of an operator; at least 2 are drawn.
        min_length: expressions have more tokens than this.
        max_length: and fewer than this; parentheses of the official form do not count.
        seq_len: steps of the longest sequence, the end included.
    """

    max_depth: int = 10
    max_args: int = 10
    min_length: int = 500
    max_length: int = 2000
    seq_len: int = 2048

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.max_depth >= 2, "task.max_depth", "at least 2", self.max_depth)
        require(self.max_args >= 2, "task.max_args", "at least 2", self.max_args)
        require(self.min_length >= 0, "task.min_length", "zero or more", self.min_length)
        require(self.max_length > self.min_length + 1, "task.max_length", "above task.min_length + 1", self.max_length)
        require(self.seq_len >= self.max_length, "task.seq_len", "at least task.max_length", self.seq_len)


class ListOps(PreparedTask):
    """LRA's ListOps: 96,000 training, 2,000 validation and 2,000 test expressions, ten classes.

    The official files cannot be made again bit for bit (no seed, and an order that varies), so by default the project's
    own generator follows the same procedure from a seed; `task.origin=official` reads the files of the release.
    The most frequent class makes up 17 %, and the first token alone, the root operator, predicts 36 to 37 %.

    Ids follow the S4 family (state-spaces/s4, src/dataloaders/lra.py): padding, unknown, end, then the 15 words; each
    expression is followed by the end. The original has 17 ids and no end (lra_benchmarks/listops/input_pipeline.py).
    Neither cuts an expression. Both protocols use the given splits; clean makes sure that they are disjoint.
    """

    Config = ListOpsConfig
    VERSION = 1
    LICENCE = "none needed for generated data; Apache-2.0 for the official release"
    dataset = "listops"
    GENERATED_BY = ("max_depth", "max_args", "min_length", "max_length")
    cfg: ListOpsConfig

    @property
    def spec(self) -> TaskSpec:
        """The contract; chance is what the most frequent class reaches."""
        train, val, test = self.sizes
        return TaskSpec(
            name=self.cfg.name,
            version=self.VERSION,
            input=InputKind.TOKENS,
            output=OutputKind.CLASSIFY,
            seq_len=self.cfg.seq_len,
            input_size=len(WORDS) + SPECIALS,
            output_size=10,
            metric="accuracy",
            higher_is_better=True,
            chance=0.17,
            chance_margin=0.02,
            train_size=train,
            val_size=val,
            test_size=test,
            source="ListOps (Nangia and Bowman 2018) with the settings of LRA (arXiv 2011.04006)",
            licence=self.LICENCE,
            pad_id=PAD,
        )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Training, validation and test expressions."""
        return SIZES.get(self.cfg.size, FULL)

    def make(self, folder: Path, order: Order) -> Description:
        """Generate the expressions, or read the official files."""
        if self.origin == "generated":
            expressions = self._generated(folder / SHARDS, order)
            sizes, source = self.sizes, f"generator of lra-bench, version {self.VERSION}, data seed {self.data_seed}"
        else:
            parts, source = _official(order)
            expressions, sizes = concatenate(parts), tuple(len(part) for part in parts)
        save_array(folder, "tokens", expressions.tokens)
        save_array(folder, "tokens_offsets", expressions.offsets)
        save_array(folder, "labels", expressions.labels)
        save_array(folder, "part", np.repeat(np.arange(3, dtype=np.uint8), sizes))
        save_array(folder, "hashes", content_hashes(expressions[i].tobytes() for i in range(len(expressions))))
        return Description(source=source, facts=_facts(expressions))

    def splits(self) -> Splits:
        """The given ones."""
        train, val, test = (np.flatnonzero(self.data.part == part) for part in range(3))
        if self.protocol == "legacy":
            return Splits(train, val, test)
        return Splits(*made_disjoint(train, val, test, self.data.hashes))

    @cached_property
    def documents(self) -> Documents:
        """The expressions as ids."""
        return Documents.of_words(self.data, "tokens", self.cfg.seq_len, len(WORDS))

    def source(self, split: Split) -> Source:
        """The expressions of a split."""
        return DocumentSource(self.documents, self.data.labels, self.rows(split))

    def words(self, ids: NDArray[Any]) -> str:
        """The expression without the parentheses of the official form."""
        return " ".join(WORDS[index - SPECIALS] for index in ids.tolist() if index >= SPECIALS)

    def export(self, folder: Path) -> None:
        """listops-1000/basic_{train,val,test}.tsv, fully parenthesised."""
        target = folder / "listops-1000"
        target.mkdir()
        offsets = self.data.array("tokens_offsets")
        for part, name in enumerate(FILES):
            rows = np.flatnonzero(self.data.part == part)
            first, end = int(rows[0]), int(rows[-1]) + 1
            tokens = self.data.array("tokens")[offsets[first] : offsets[end]]
            labels = self.data.labels[first:end]
            write_tsv(target / name, Expressions(tokens, offsets[first : end + 1] - offsets[first], labels))

    def _generated(self, shards: Path, order: Order) -> Expressions:
        """As many different expressions as the set has, in the order in which they were drawn."""
        cfg, total = self.cfg, sum(self.sizes)
        grammar = Grammar(cfg.max_depth, cfg.max_args, cfg.min_length, cfg.max_length)
        make = partial(_shard, [self.data_seed, self.VERSION], grammar)
        kept: dict[bytes, int] = {}
        first = 0
        while len(kept) < total:
            before, count = len(kept), -(-(total - len(kept)) // SHARD)
            made = ensure_shards(shards, range(first, first + count), make, order.jobs)
            for path in track(made, "ListOps", count, f"x {SHARD} expressions", order.show_progress):
                for key, label in _rows(read_shard(path)):
                    kept.setdefault(key, label)
            first += count
            if len(kept) - before < count * SHARD // 100:
                raise LraBenchError(
                    f"this grammar has too few expressions for {total:,} different ones; allow longer ones, "
                    "or ask for --size small"
                )
        rows = list(islice(kept.items(), total))
        return Expressions(
            np.frombuffer(b"".join(key for key, _ in rows), dtype=np.uint8),
            np.cumsum([0, *(len(key) for key, _ in rows)], dtype=np.int64),
            np.array([label for _, label in rows], dtype=np.uint8),
        )


def _shard(seed: list[int], grammar: Grammar, number: int) -> Arrays:
    """Draw the expressions of a shard."""
    drawn = draw_expressions(np.random.default_rng([*seed, number]), grammar, SHARD)
    return {"tokens": drawn.tokens, "offsets": drawn.offsets, "labels": drawn.labels}


def _rows(shard: Arrays) -> Iterator[tuple[bytes, int]]:
    expressions = Expressions(shard["tokens"], shard["offsets"], shard["labels"])
    for index, label in enumerate(expressions.labels.tolist()):
        yield expressions[index].tobytes(), label


def _official(order: Order) -> tuple[list[Expressions], str]:
    """The three files of the release, from a folder or archive, and where they are from."""
    source = fetched(order, {})
    if source is None:
        raise LraBenchError(
            "say where the official files are: --source FOLDER_OR_ARCHIVE with basic_train.tsv and others"
        )
    found = {}
    for name, file in read_members(source, lambda name: bool(IN_ARCHIVE.search(name)), order.show_progress):
        file_name = name.rpartition("/")[2]
        try:
            found[file_name] = read_tsv(file)
        except LraBenchError as error:
            raise LraBenchError(f"{source}, {name}, {error}") from error
        _check_labels(found[file_name], f"{source}, {name}")
    if missing := [name for name in FILES if name not in found]:
        raise LraBenchError(
            f"{source} does not hold {', '.join(missing)}; the official release has all of {', '.join(FILES)}"
        )
    return [found[name] for name in FILES], source.name


def _check_labels(expressions: Expressions, where: str) -> None:
    for index in range(min(CHECKED, len(expressions))):
        value, label = evaluate(expressions[index]), int(expressions.labels[index])
        if value != label:
            raise LraBenchError(f"{where}, line {index + 2}: the label is {label}, the expression's value {value}")


def _facts(expressions: Expressions) -> dict[str, Any]:
    lengths = np.diff(expressions.offsets)
    return {
        "expressions": len(expressions),
        "tokens, mean": round(float(lengths.mean()), 1),
        "tokens, least and most": [int(lengths.min()), int(lengths.max())],
        "labels 0 to 9, per cent": np.round(
            100 * np.bincount(expressions.labels, minlength=10) / len(lengths), 1
        ).tolist(),
    }
