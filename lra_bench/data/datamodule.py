"""The task contract: one kind of batch, in an order that depends on the step alone.

Free of Lightning, whose import takes seconds, so that commands that only ask about a task answer quickly;
`feed.TaskFeed` is the bridge.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain, count, islice
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from lra_bench.core.batch import Batch
from lra_bench.core.errors import LraBenchError
from lra_bench.core.settings import TaskConfig, TrainConfig
from lra_bench.core.specs import TaskSpec
from lra_bench.data.residence import CPU, belongs_on

Split = Literal["train", "val", "test"]


class Source(Dataset[Batch], ABC):
    """Random access to the examples of one split, a batch at a time.

    Attributes:
        size: examples; None for an endless stream.
        block: training examples that are best made together, for several steps ahead.
        stored_bytes: of the arrays that `on` puts on a device; 0 where there is nothing to put there.
        device: that keeps them.
    """

    size: int | None
    block: int = 1
    stored_bytes: int = 0
    device: torch.device = CPU

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> Batch:
        """Gather a batch by index, vectorised."""

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def batches(self, requests: Sequence[list[int]]) -> list[Batch]:
        """Several batches, each as `__getitems__` gives it."""
        return [self.__getitems__(request) for request in requests]

    def on(self, device: torch.device) -> "Source":
        """The same examples in the same batches, gathered on a device from arrays that are kept there."""
        return self


class SequenceDataModule(ABC):
    """A task. A subclass sets `Config` and `VERSION` and implements the three abstract members.

    The loaders have random generators of their own, so that reading data never moves the global one.

    Args:
        cfg: the task's knobs, an instance of its `Config`.
        data_seed: of generated data and carved splits; not the run's seed.
        protocol: clean or legacy.
        train: batch sizes and workers.
        seed: of the order of training examples.
    """

    Config: ClassVar[type[TaskConfig]]
    VERSION: ClassVar[int]

    def __init__(self, cfg: TaskConfig, data_seed: int, protocol: str, train: TrainConfig, seed: int) -> None:
        self.cfg = cfg
        self.data_seed = data_seed
        self.protocol = protocol
        self.train = train
        self.seed = seed

    @property
    @abstractmethod
    def spec(self) -> TaskSpec:
        """The task's declared contract."""

    def fingerprint(self) -> str:
        """Hash of everything that decides the data: of a generated stream, version, parameters and data seed."""
        content = {"version": self.VERSION, "data_seed": self.data_seed, **asdict(self.cfg)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @abstractmethod
    def source(self, split: Split) -> Source:
        """The examples of a split."""

    @abstractmethod
    def baselines(self) -> dict[str, dict[str, float]]:
        """Test metrics of trivial and of optimal predictors: {name: {metric: value}}."""

    @property
    def origin(self) -> Literal["official", "generated"]:
        """Where the data come from: files that others published, or a generator of this project."""
        return "generated"

    @property
    def content(self) -> str | None:
        """Hash of official data, which must be equal wherever results are compared; None for generated data."""
        return None

    def require_data(self) -> None:  # noqa: B027 (most tasks need nothing)
        """Do nothing, or raise `LraBenchError` with the command to run where data must be prepared first."""

    @property
    def selects_on(self) -> Split:
        """The split that chooses the step to test: validation, but where published code had none."""
        return "val"

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """(H, W) or (H, W, C) where a row of a source, not decoded, is a picture in raster order."""
        return None

    def words(self, ids: NDArray[Any]) -> str:
        """What a row of tokens says, for people."""
        return " ".join(map(str, ids.tolist()))

    def decode(self, batch: Batch) -> Batch:
        """What a model reads, from what a source gives: sources may keep numbers as narrow as they are stored."""
        return batch

    def placed(self, split: Split, device: torch.device) -> Source:
        """The examples of a split, on the device if `train.data_on_device` says so."""
        source = self.source(split)
        return source.on(device) if belongs_on(device, source.stored_bytes, self.train.data_on_device) else source

    def size(self, split: Split) -> int:
        """Examples of a validation or test split, as they are; the spec says how many the full set has."""
        size = self.source(split).size
        assert size is not None, "only training streams are endless"
        return size

    def train_loader(self, start: int = 0, rank: int = 0, ranks: int = 1, device: torch.device = CPU) -> "StepLoader":
        """Endless batches from a step on; each of several processes has its share of every batch.

        Args:
            start: first step.
            rank: which process this is.
            ranks: how many there are.
            device: may keep the examples, see `train.data_on_device`. Other batches come from the CPU.
        """
        source = self.placed("train", device)
        sampler = StepSampler(source.size, self.train.global_batch_size, self.seed, start, rank, ranks)
        return StepLoader(source, sampler, self.train.workers if source.device == CPU else 0)

    def eval_loader(self, split: Split, rank: int = 0, ranks: int = 1, device: torch.device = CPU) -> DataLoader[Batch]:
        """Every example of a split once, in order; each of several processes has its share, none is repeated.

        Args:
            split: validation or test.
            rank: which process this is.
            ranks: how many there are.
            device: as for `train_loader`.

        Raises:
            LraBenchError: fewer examples than processes.
        """
        source, size = self.placed(split, device), self.size(split)
        if size < ranks:
            raise LraBenchError(f"the {split} split has {size} examples, too few for {ranks} processes")
        first, end = size * rank // ranks, size * (rank + 1) // ranks
        step = self.train.eval_batch_size
        batches = [list(range(start, min(start + step, end))) for start in range(first, end, step)]
        return DataLoader(source, batch_sampler=batches, collate_fn=_as_it_is, generator=torch.Generator())


class StepSampler(Sampler[list[int]]):
    """Indices of the batch of every step from `start` on, without end, or of one process's share of it.

    A finite split is walked in passes, each in an order drawn from (seed, pass); a batch may span two passes.
    An endless stream is walked in order. Nothing but the step decides a batch, so resuming needs no state.
    The shares of the processes, one after the other, are the batch.

    Args:
        size: examples in the split, None for an endless stream.
        batch_size: examples per step of all processes together, a multiple of `ranks`.
        seed: of the orders.
        start: first step.
        rank: which process this is.
        ranks: how many there are.
    """

    def __init__(
        self, size: int | None, batch_size: int, seed: int, start: int = 0, rank: int = 0, ranks: int = 1
    ) -> None:
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self._share = range(batch_size * rank // ranks, batch_size * (rank + 1) // ranks)
        self.share = len(self._share)
        self._pass = -1
        self._order = np.empty(0, dtype=np.int64)

    def __iter__(self) -> Iterator[list[int]]:
        for step in count(self.start):
            first = step * self.batch_size
            positions = range(first + self._share.start, first + self._share.stop)
            yield list(positions) if self.size is None else self._examples_at(positions, self.size)

    def _examples_at(self, positions: range, size: int) -> list[int]:
        """Examples at positions of the concatenated passes."""
        found: list[int] = []
        while positions:
            number, offset = divmod(positions.start, size)
            if number != self._pass:
                self._pass = number
                self._order = np.random.default_rng([self.seed, number]).permutation(size)
            some = self._order[offset : offset + len(positions)].tolist()
            found += some
            positions = positions[len(some) :]
        return found


class StepLoader(Iterable[Batch]):
    """Endless batches of the steps that a sampler names, made some steps ahead where the source gains by it.

    Args:
        source: of the examples.
        sampler: of the examples of every step.
        workers: processes that make batches; 0 makes them in this one.
    """

    def __init__(self, source: Source, sampler: StepSampler, workers: int) -> None:
        self.source = source
        self.sampler = sampler
        self.workers = workers

    def __iter__(self) -> Iterator[Batch]:
        blocks = self._fetched() if self.workers else map(self.source.batches, self._requests())
        return chain.from_iterable(blocks)

    def _requests(self) -> Iterator[list[list[int]]]:
        """Examples of the steps of each block."""
        steps = max(1, self.source.block // self.sampler.share)
        requests = iter(self.sampler)
        while True:
            yield list(islice(requests, steps))

    def _fetched(self) -> Iterable[list[Batch]]:
        return DataLoader(
            _Blocks(self.source),
            batch_sampler=self._requests(),
            collate_fn=_as_it_is,
            generator=torch.Generator(),
            num_workers=self.workers,
        )


class _Blocks(Dataset[list[Batch]]):
    """The batches of several steps as one item of a loader with workers."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitems__(self, requests: Sequence[list[int]]) -> list[Batch]:
        return self.source.batches(requests)

    def __getitem__(self, request: list[int]) -> list[Batch]:
        return self.__getitems__([request])


def _as_it_is(batch: Any) -> Any:
    """Sources collate themselves."""
    return batch
