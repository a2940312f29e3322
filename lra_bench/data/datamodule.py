"""The task contract: one kind of batch, in an order that depends on the step alone.

Free of Lightning, whose import takes seconds, so that commands that only ask about a task answer quickly;
`feed.TaskFeed` is the bridge.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from lra_bench.core.batch import Batch
from lra_bench.core.errors import LraBenchError
from lra_bench.core.settings import TaskConfig, TrainConfig
from lra_bench.core.specs import TaskSpec

Split = Literal["train", "val", "test"]


class Source(Dataset[Batch], ABC):
    """Random access to the examples of one split, a batch at a time. `size` is None for an endless stream."""

    size: int | None

    @abstractmethod
    def __getitems__(self, indices: list[int]) -> Batch:
        """Gather a batch by index, vectorised."""

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])


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

    def size(self, split: Split) -> int:
        """Examples of a validation or test split, as they are; the spec says how many the full set has."""
        size = self.source(split).size
        assert size is not None, "only training streams are endless"
        return size

    def train_loader(self, start: int = 0, rank: int = 0, ranks: int = 1) -> DataLoader[Batch]:
        """Endless batches from a step on; each of several processes has its share of every batch."""
        source = self.source("train")
        return ResumableLoader(
            source,
            batch_sampler=StepSampler(source.size, self.train.global_batch_size, self.seed, start, rank, ranks),
            collate_fn=_as_it_is,
            generator=torch.Generator(),
            num_workers=self.train.workers,
            persistent_workers=self.train.workers > 0,
        )

    def eval_loader(self, split: Split, rank: int = 0, ranks: int = 1) -> DataLoader[Batch]:
        """Every example of a split once, in order; each of several processes has its share, none is repeated.

        Raises:
            LraBenchError: fewer examples than processes.
        """
        source, size = self.source(split), self.size(split)
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


class ResumableLoader(DataLoader[Batch]):
    """A loader whose sampler already starts at the right step; the two methods tell Lightning so."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the step is the state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


def _as_it_is(batch: Any) -> Any:
    """Sources collate themselves."""
    return batch
