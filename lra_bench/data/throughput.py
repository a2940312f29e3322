"""How fast batches come, beside what an ordinary item-by-item data set over the same arrays would do."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lra_bench.core.specs import InputKind
from lra_bench.data.datamodule import SequenceDataModule, Source
from lra_bench.data.documents import Documents
from lra_bench.data.pictures import PictureSource, PictureTask
from lra_bench.data.prepared import DocumentSource

WARM_UP = 3
"""Batches read before the clock starts."""


@dataclass(frozen=True)
class Throughput:
    """Training examples per second, one process, no workers.

    Attributes:
        loader: batches as they leave the loader.
        decoded: the same, made what a model reads on the CPU; on a GPU that happens there.
        item_by_item: a data set that makes what a model reads of one example at a time, collated by torch's default.
    """

    loader: float
    decoded: float
    item_by_item: float

    @property
    def ratio(self) -> float:
        """How many times faster the loader is than item by item."""
        return self.loader / self.item_by_item


class ItemByItem(Dataset[tuple[Tensor, ...]]):
    """One example at a time, as a model reads it, sequences padded to the task's length so that they can be stacked."""

    def __init__(self, task: SequenceDataModule, source: Source) -> None:
        self.task = task
        self.source = source
        self.length = task.spec.seq_len

    def __len__(self) -> int:
        assert self.source.size is not None
        return self.source.size

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        source = self.source
        if isinstance(source, PictureSource) and isinstance(self.task, PictureTask):
            row = source.rows[index]
            pixels = torch.from_numpy(source.pixels[row].astype(np.int64))
            if self.task.spec.input is InputKind.TOKENS:
                return pixels, torch.tensor(int(source.labels[row]))
            shift, scale = (torch.from_numpy(values) for values in self.task.scaling)
            return (pixels.reshape(self.length, -1) - shift) / scale, torch.tensor(int(source.labels[row]))
        if isinstance(source, DocumentSource) and isinstance(source.documents, Documents):
            row = source.rows[index]
            return *self._padded(source.documents, int(row)), torch.tensor(int(source.labels[row]))
        single = self.task.decode(source[index])
        return tuple(self._whole(part[0]) for part in single if part is not None)

    def _padded(self, documents: Documents, row: int) -> tuple[Tensor, Tensor]:
        ids = documents.ids(row)
        x = torch.zeros(self.length, dtype=torch.int64)
        x[: len(ids)] = torch.from_numpy(ids)
        return x, torch.arange(self.length) < len(ids)

    def _whole(self, part: Tensor) -> Tensor:
        if part.ndim == 0 or len(part) == self.length:
            return part
        return torch.nn.functional.pad(part, (0, 0) * (part.ndim - 1) + (0, self.length - len(part)))


def measure(task: SequenceDataModule, seconds: float) -> Throughput:
    """Time the training batches of a task, of its configured size.

    Args:
        task: with its data ready.
        seconds: spent on each of the three.
    """
    source = task.source("train")
    size = task.train.global_batch_size
    items: Any = ItemByItem(task, source)
    shuffled = source.size is not None
    indices = list(range(size * 64)) if source.size is None else None
    one_by_one: DataLoader[Any] = DataLoader(
        items, batch_size=size, shuffle=shuffled, sampler=indices, generator=torch.Generator()
    )
    return Throughput(
        loader=size / _seconds_each(task.train_loader(), seconds, lambda batch: batch),
        decoded=size / _seconds_each(task.train_loader(), seconds, task.decode),
        item_by_item=size / _seconds_each(_endless(one_by_one), seconds, lambda batch: batch),
    )


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


def _seconds_each(batches: Iterable[Any], seconds: float, use: Callable[[Any], Any]) -> float:
    stream = iter(batches)
    for batch in islice(stream, WARM_UP):
        use(batch)
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds or count == 0:
        use(next(stream))
        count += 1
    return spent / count
