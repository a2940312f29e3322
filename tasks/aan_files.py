"""AAN document pairs: the official TSV files, read as a stream out of the LRA archive or a folder."""

import ast
import re
from array import array
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.errors import LraBenchError
from lra_bench.data.members import read_members

FILE = re.compile(r"(?:^|/)new_aan_pairs\.(?P<part>train|eval|test)\.tsv$")
PARTS = {"train": 0, "eval": 1, "test": 2}
LABELS = {b"0.0": 0, b"0": 0, b"1.0": 1, b"1": 1}
COLUMNS = "label, id1, id2, text1, text2"

KEPT = 4000
"""Characters kept of each document; every published pipeline reads at most 4,000 characters or bytes."""

_ESCAPE = r"""\\(?:[\\'"nrt]|x[0-9a-f]{2})"""
PRINTED = re.compile(rf"""b(?:'(?:[ -&(-\[\]-~]++|{_ESCAPE})*+'|"(?:[ !#-\[\]-~]++|{_ESCAPE})*+")""")
"""A bytes object as Python prints it."""


@dataclass(frozen=True)
class Pairs:
    """All pairs, by part and then in the order of the files.

    Attributes:
        texts: each distinct document once, cut to `KEPT` characters, sorted.
        documents: (N, 2) int32, places in `texts`.
        labels: (N,) uint8, 1 where one paper cites the other.
        part: (N,) uint8, values of `PARTS`.
        counts: what was seen of the texts, each distinct one counted once.
    """

    texts: list[str]
    documents: NDArray[np.int32]
    labels: NDArray[np.uint8]
    part: NDArray[np.uint8]
    counts: Mapping[str, int]


def read_pairs(source: Path, undo: bool, show_progress: bool) -> Pairs:
    """Read the three files line by line; only distinct documents, cut, are held in memory.

    A file has no header and five columns between tabs: label ("0.0" or "1.0"), two paper ids, two texts. Quotes mean
    nothing, as in google-research/long-range-arena lra_benchmarks/matching/input_pipeline.py. The texts are bytes
    literals as Python prints them, with `b'` and escapes.

    Args:
        source: lra_release.gz, or a folder with `new_aan_pairs.{train,eval,test}.tsv` anywhere in it.
        undo: replace a literal by the UTF-8 text that it stands for. What cannot be undone, or stands for nothing, is
            kept as published.
        show_progress: draw a progress bar.

    Raises:
        LraBenchError: unreadable source, a file missing, there twice or without pairs, or a row that is not UTF-8, has
            not five columns, has another label or an empty text.
    """
    library = _Library(undo)
    found: dict[str, tuple[NDArray[np.int32], NDArray[np.uint8]]] = {}
    for name, file in read_members(source, lambda name: bool(FILE.search(name)), show_progress):
        match = FILE.search(name)
        assert match is not None
        if match["part"] in found:
            raise LraBenchError(f"{source} holds new_aan_pairs.{match['part']}.tsv twice; leave one of them")
        found[match["part"]] = _read_rows(file, f"{source}: {name}", library)
    if missing := [f"new_aan_pairs.{part}.tsv" for part in PARTS if part not in found]:
        raise LraBenchError(f"{source} lacks {', '.join(missing)}; they are in tsv_data of lra_release.gz")
    texts, places = library.sorted()
    return Pairs(
        texts,
        places[np.concatenate([found[part][0] for part in PARTS])],
        np.concatenate([found[part][1] for part in PARTS]),
        np.repeat(np.array(list(PARTS.values()), dtype=np.uint8), [len(found[part][1]) for part in PARTS]),
        library.counts,
    )


def undone(text: str) -> str | None:
    """The text that a printed bytes literal stands for; None where it is no whole literal, not UTF-8, or empty."""
    if PRINTED.fullmatch(text):
        with suppress(UnicodeDecodeError):
            return ast.literal_eval(text).decode() or None
    return None


class _Library:
    """The distinct documents met so far, numbered in the order of meeting them."""

    def __init__(self, undo: bool) -> None:
        self.undo = undo
        self.counts = Counter(dict.fromkeys(("distinct", "longer than kept", "literals", "literals not undone"), 0))
        self._by_digest: dict[bytes, int] = {}
        self._by_text: dict[str, int] = {}

    def number(self, field: bytes) -> int:
        """The number of a published text."""
        digest = blake2b(field, digest_size=16).digest()
        number = self._by_digest.get(digest)
        if number is None:
            text = self._content(field.decode())
            number = self._by_text.setdefault(text[:KEPT], len(self._by_text))
            self._by_digest[digest] = number
        return number

    def sorted(self) -> tuple[list[str], NDArray[np.int32]]:
        """The documents in an order that does not depend on how they were met, and the place of each number in it."""
        texts = sorted(self._by_text)
        places = np.empty(len(texts), dtype=np.int32)
        places[[self._by_text[text] for text in texts]] = np.arange(len(texts))
        return texts, places

    def _content(self, published: str) -> str:
        text = published
        if published.startswith(("b'", 'b"')):
            content = undone(published)
            self.counts["literals"] += 1
            self.counts["literals not undone"] += content is None
            if self.undo and content is not None:
                text = content
        self.counts["distinct"] += 1
        self.counts["longer than kept"] += len(text) > KEPT
        return text


def _read_rows(file: BinaryIO, where: str, library: _Library) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Numbers of the two documents (N, 2), and labels (N,)."""
    numbers, labels = array("i"), bytearray()
    for row, line in enumerate(file, start=1):
        columns = line.rstrip(b"\r\n").split(b"\t")
        if len(columns) != 5:
            raise LraBenchError(f"{where}, row {row}: {len(columns)} columns; expected five between tabs: {COLUMNS}")
        label, _, _, *texts = columns
        if label not in LABELS:
            raise LraBenchError(f"{where}, row {row}: the label is {_shown(label)}; expected 0.0 or 1.0")
        if not all(texts):
            raise LraBenchError(f"{where}, row {row}: a text is empty; get the file again")
        try:
            numbers.extend(map(library.number, texts))
        except UnicodeDecodeError as error:
            raise LraBenchError(f"{where}, row {row}: not UTF-8 text; get the file again") from error
        labels.append(LABELS[label])
    if not labels:
        raise LraBenchError(f"{where} holds no pairs; get the file again")
    return np.array(numbers, dtype=np.int32).reshape(-1, 2), np.frombuffer(labels, dtype=np.uint8)


def _shown(label: bytes) -> str:
    return repr(label[:20].decode(errors="replace"))
