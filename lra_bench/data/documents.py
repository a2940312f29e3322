"""Sequences of different lengths: stored end to end, gathered into padded batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lra_bench.data.residence import CPU, sent
from lra_bench.data.store import PreparedSet, save_array

PAD, UNKNOWN, END = 0, 1, 2
"""Ids of padding, of rare characters, and of the end, in S4's order (state-spaces/s4, src/dataloaders/lra.py)."""

SPECIALS = 3
LEVELS = 256
"""Numbers that a byte can hold."""

RARE = 255
"""Rank stored for any character beyond the 255 most frequent ones."""

CODE_POINTS = 0x110000


@dataclass(frozen=True)
class Documents:
    """Rows of small numbers, and the ids a model reads for them: s + shift for the number s below cut, else `UNKNOWN`.

    Attributes:
        values: (total,) uint8, all rows end to end.
        offsets: (N + 1,) int64, where each row begins.
        limit: steps of the longest row given out, the end included.
        shift: 1 for bytes (LRA's ByteTextEncoder), `SPECIALS` for numbered words.
        cut: how many of the numbers have an id of their own.
        end: id put behind each row, or None.
    """

    values: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    limit: int
    shift: int
    cut: int = LEVELS
    end: int | None = None
    device = CPU

    @classmethod
    def of_bytes(cls, data: PreparedSet, name: str, limit: int) -> "Documents":
        """Those that `save_rows` wrote under a name, as bytes without an end."""
        return cls(data.array(name), np.array(data.array(f"{name}_offsets")), limit, shift=1)

    @classmethod
    def of_words(cls, data: PreparedSet, name: str, limit: int, cut: int) -> "Documents":
        """Those that `save_rows` wrote under a name, as numbered words with an end."""
        offsets = np.array(data.array(f"{name}_offsets"))
        return cls(data.array(name), offsets, limit, SPECIALS, cut, END)

    def on(self, device: torch.device) -> "DocumentsOnDevice":
        """The same rows, gathered on a device."""
        return DocumentsOnDevice(self, device)

    def spans(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Of each row: where it begins, how many of its numbers fit, and its length with its end."""
        starts = self.offsets[rows]
        counts = np.minimum(self.offsets[rows + 1] - starts, self._room)
        return starts, counts, counts + (self.end is not None)

    def gather(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Ids (B, L), uint8 or int16, padded on the right with 0, and the mask (B, L); L is the longest row's."""
        starts, counts, lengths = self.spans(rows)
        steps = np.arange(int(lengths.max()), dtype=np.int32)
        ids = np.zeros((len(rows), len(steps)), dtype=self.dtype)
        for row, start, count in zip(ids, starts.tolist(), counts.tolist(), strict=True):
            row[:count] = self.values[start : start + count]
        self._number(ids)
        mask = steps < lengths[:, None].astype(np.int32)
        ids *= mask
        if self.end is not None:
            ids[np.arange(len(rows)), counts] = self.end
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def row(self, index: int) -> NDArray[np.uint8]:
        """The stored numbers of one row, uncut."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def ids(self, index: int) -> NDArray[np.int64]:
        """Ids of one row, cut, with its end."""
        ids = self.row(index)[: self._room].astype(np.int64)
        self._number(ids)
        return ids if self.end is None else np.append(ids, self.end)

    @property
    def _room(self) -> int:
        """Stored numbers that fit."""
        return self.limit - (self.end is not None)

    @property
    def dtype(self) -> type[np.uint8] | type[np.int16]:
        """The smallest type that holds all ids and that torch computes with."""
        return np.uint8 if self.cut + self.shift <= LEVELS else np.int16

    def _number(self, stored: NDArray[Any]) -> None:
        """Turn stored numbers into ids, in place; by arithmetic, since a masked write takes ten times as long."""
        if self.cut == LEVELS:
            stored += self.shift
            return
        known = stored < self.cut
        stored += self.shift
        stored *= known
        stored += ~known  # UNKNOWN is 1


class DocumentsOnDevice:
    """The rows of some documents, kept on a device and gathered there; how long they are is known to the CPU.

    Args:
        documents: on the CPU.
        device: where they go.
    """

    def __init__(self, documents: Documents, device: torch.device) -> None:
        self.documents = documents
        self.device = device
        self.values = torch.from_numpy(np.array(documents.values)).to(device)

    def on(self, device: torch.device) -> "DocumentsOnDevice":
        """The same rows on another device."""
        return self.documents.on(device)

    def gather(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """What `Documents.gather` gives, on the device."""
        documents, device = self.documents, self.values.device
        spans = np.stack(documents.spans(rows))
        starts, counts, lengths = sent(torch.from_numpy(spans), device).unsqueeze(-1)
        steps = torch.arange(int(spans[2].max()), device=device)
        dtype = torch.from_numpy(np.empty(0, dtype=documents.dtype)).dtype
        stored = self.values[(starts + steps).clamp_(max=len(self.values) - 1)].to(dtype)
        ids = torch.where(stored < documents.cut, stored + documents.shift, UNKNOWN) * (steps < counts)
        if documents.end is not None:
            ids.scatter_(1, counts, documents.end)
        return ids, steps < lengths


def save_rows(folder: Path, name: str, rows: Sequence[bytes]) -> None:
    """Write rows end to end, for `Documents.of`."""
    save_array(folder, name, np.frombuffer(b"".join(rows), dtype=np.uint8))
    save_array(folder, f"{name}_offsets", np.cumsum([0, *map(len, rows)], dtype=np.int64))


def save_texts(folder: Path, texts: Sequence[str], counted: Sequence[str]) -> dict[str, int]:
    """Write texts as UTF-8 bytes (`bytes`) and as ranks of their characters by frequency (`ranks`).

    Neither these nor `characters` (code points by rank) and `character_counts` depend on a smallest frequency, which is
    chosen later, by `known_characters`.

    Args:
        folder: of the set.
        texts: all of them.
        counted: the texts, cut as they will be read, whose characters are counted.

    Returns:
        Count of each character, most frequent first, equally frequent ones by code point.
    """
    counts = np.zeros(CODE_POINTS, dtype=np.int64)
    for first in range(0, len(counted), 1000):
        counts += np.bincount(_code_points("".join(counted[first : first + 1000])), minlength=CODE_POINTS)
    by_rank = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    rank_of = np.full(CODE_POINTS, RARE, dtype=np.uint8)
    rank_of[by_rank[:RARE]] = np.arange(min(RARE, len(by_rank)))
    save_rows(folder, "bytes", [text.encode() for text in texts])
    save_rows(folder, "ranks", [rank_of[_code_points(text)].tobytes() for text in texts])
    save_array(folder, "characters", by_rank.astype(np.uint32))
    save_array(folder, "character_counts", counts[by_rank])
    return {chr(point): int(counts[point]) for point in by_rank}


def known_characters(counts: NDArray[np.int64], min_freq: int, max_vocab: int) -> int:
    """How many ranks have an id of their own, given the counts by rank, and the room for ids, specials included."""
    return min(int((counts >= min_freq).sum()), max_vocab - SPECIALS, RARE)


def read_characters(ids: NDArray[Any], characters: NDArray[np.uint32]) -> str:
    """The text of ids of ranks; what is unknown becomes a replacement character."""
    letters = ["", "\N{REPLACEMENT CHARACTER}", "", *map(chr, characters.tolist())]
    return "".join(letters[int(index)] for index in ids)


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
