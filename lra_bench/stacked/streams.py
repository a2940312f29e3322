"""The data of several trials: each distinct stream is made once, whoever reads it."""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from lra_bench.building import build_task, real_dtype
from lra_bench.config.schema import Config
from lra_bench.core.batch import Batch
from lra_bench.core.record import TaskInfo
from lra_bench.data.datamodule import SequenceDataModule, Split
from lra_bench.data.feed import ReadyBatches
from lra_bench.outcome import task_info


class Stream:
    """A task and its batches, for all trials with the same data in the same order.

    Args:
        task: built for one of them.
        device: where batches go.
        dtype: of real numbers.
    """

    def __init__(self, task: SequenceDataModule, device: torch.device, dtype: torch.dtype) -> None:
        self.task = task
        self._device, self._dtype = device, dtype
        self._kept: dict[Split, list[Batch]] = {}

    @cached_property
    def info(self) -> TaskInfo:
        """What a record says of the task."""
        found = {"fingerprint": self.task.fingerprint(), "baselines": self.task.baselines()}
        return task_info(self.task).model_copy(update=found)

    def training(self, start: int) -> Iterator[Batch]:
        """Endless batches from a step on."""
        loader = self.task.train_loader(start, device=self._device)
        return iter(ReadyBatches(loader, self.task, self._device, self._dtype))

    def evaluation(self, split: Split) -> list[Batch]:
        """All examples of a split; made once and kept."""
        if split not in self._kept:
            loader = self.task.eval_loader(split, device=self._device)
            self._kept[split] = list(ReadyBatches(loader, self.task, self._device, self._dtype))
        return self._kept[split]


class Streams:
    """The streams of all members, by what decides them: the data seed, and the seed where it orders the examples."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._found: dict[tuple[int, int | None], Stream] = {}

    def of(self, config: Config) -> Stream:
        """The stream that a trial reads."""
        for key in ((config.data_seed, None), (config.data_seed, config.seed)):
            if key in self._found:
                return self._found[key]
        stream = Stream(build_task(config), self._device, real_dtype(config))
        endless = stream.task.spec.train_size is None
        return self._found.setdefault((config.data_seed, None if endless else config.seed), stream)


def joined(batches: list[Batch], readers: Tensor) -> Batch:
    """What each member reads, with a leading dimension M, from a batch of each stream.

    Where streams give sequences of different lengths, the shorter ones are padded and masked.

    Args:
        batches: of equal sizes.
        readers: (M,) index of each member's stream.
    """
    if any(len({part.shape for part in parts if part is not None}) > 1 for parts in zip(*batches, strict=True)):
        batches = _padded(batches)
    return Batch._make(
        None if parts[0] is None else torch.stack(parts)[readers] for parts in zip(*batches, strict=True)
    )


def _padded(batches: list[Batch]) -> list[Batch]:
    """The same batches, all with masks, in the shape of the longest."""
    masked = [
        batch._replace(
            mask=_real(batch.x, batch.mask),
            y_mask=_real(batch.y, batch.y_mask) if batch.y.ndim > 1 else None,
            mask2=None if batch.x2 is None else _real(batch.x2, batch.mask2),
        )
        for batch in batches
    ]
    columns = [_lengthened(parts) for parts in zip(*masked, strict=True)]
    return [Batch._make(parts) for parts in zip(*columns, strict=True)]


def _real(values: Tensor, mask: Tensor | None) -> Tensor:
    """(B, L) mask of `values` (B, L, ...), all True where there is none."""
    return torch.ones(values.shape[:2], dtype=torch.bool, device=values.device) if mask is None else mask


def _lengthened(parts: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    """(B, L, ...) tensors with zeros behind, up to the longest; (B,) tensors as they are."""
    longest = max((part.shape[1] for part in parts if part is not None and part.ndim > 1), default=0)

    def lengthened(part: Tensor | None) -> Tensor | None:
        if part is None or part.ndim == 1:
            return part
        return pad(part, (0, 0) * (part.ndim - 2) + (0, longest - part.shape[1]))

    return [lengthened(part) for part in parts]
