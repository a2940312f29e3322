"""Sequences of different lengths: stored end to end, gathered into padded batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lra_bench.data.store import PreparedSet, save_array

PAD, UNKNOWN, END = 0, 1, 2
"""Ids of padding, of rare characters, and of the end, in S4's order (state-spaces/s4, src/dataloaders/lra.py)."""

RARE = 255
"""Rank stored for any character beyond the 255 most frequent ones."""

CODE_POINTS = 0x110000


@dataclass(frozen=True)
class Documents:
    """Rows of small numbers, and the ids a model reads for them.

    Attributes:
        values: (total,) uint8, all rows end to end.
        offsets: (N + 1,) int64, where each row begins.
        table: (256,) id of each stored number.
        limit: steps of the longest row given out, the end included.
        end: id put behind each row, or None.
    """

    values: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    table: NDArray[Any]
    limit: int
    end: int | None = None

    @classmethod
    def of(cls, data: PreparedSet, name: str, table: NDArray[Any], limit: int, end: int | None = None) -> "Documents":
        """Those that `save_rows` wrote under a name."""
        return cls(data.array(name), np.array(data.array(f"{name}_offsets")), narrow(table), limit, end)

    def gather(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Ids (B, L) of the table's type, padded on the right with 0, and the mask (B, L); L is the longest row's."""
        starts = self.offsets[rows]
        room = self.limit - (self.end is not None)
        counts = np.minimum(self.offsets[rows + 1] - starts, room)
        lengths = counts + (self.end is not None)
        ids = np.zeros((len(rows), int(lengths.max())), dtype=self.table.dtype)
        for row, start, count in zip(ids, starts.tolist(), counts.tolist(), strict=True):
            self.table.take(self.values[start : start + count], out=row[:count], mode="clip")
        if self.end is not None:
            ids[np.arange(len(rows)), counts] = self.end
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def row(self, index: int) -> NDArray[np.uint8]:
        """The stored numbers of one row, uncut."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]


def narrow(table: NDArray[Any]) -> NDArray[Any]:
    """The table in the smallest type that torch computes with."""
    return table.astype(np.uint8 if table.max() <= 255 else np.int16)


def save_rows(folder: Path, name: str, rows: Sequence[bytes]) -> None:
    """Write rows end to end, for `Documents.of`."""
    save_array(folder, name, np.frombuffer(b"".join(rows), dtype=np.uint8))
    save_array(folder, f"{name}_offsets", np.cumsum([0, *map(len, rows)], dtype=np.int64))


def save_texts(folder: Path, texts: Sequence[str], counted: Sequence[str]) -> dict[str, int]:
    """Write texts as UTF-8 bytes (`bytes`) and as ranks of their characters by frequency (`ranks`).

    Neither these nor `characters` (code points by rank) and `character_counts` depend on a smallest frequency, which is
    chosen later, by `character_table`.

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


def byte_table() -> NDArray[Any]:
    """Id of each byte, as in LRA's ByteTextEncoder: byte + 1, so that 0 is padding."""
    return np.arange(1, 257)


def character_table(counts: NDArray[np.int64], min_freq: int, max_vocab: int) -> NDArray[Any]:
    """Id of each rank: specials first, then characters by frequency; rarer ones are `UNKNOWN`."""
    kept = min(int((counts >= min_freq).sum()), max_vocab - 3, RARE)
    ranks = np.arange(256)
    return np.where(ranks < kept, ranks + 3, UNKNOWN)


def read_characters(ids: NDArray[Any], characters: NDArray[np.uint32]) -> str:
    """The text of ids made with a `character_table`; what is unknown becomes a replacement character."""
    letters = ["", "\N{REPLACEMENT CHARACTER}", "", *map(chr, characters.tolist())]
    return "".join(letters[int(index)] for index in ids)


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
