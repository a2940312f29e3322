"""A task as Lightning takes it."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from lra_bench.core.batch import Batch
from lra_bench.data.datamodule import SequenceDataModule, Split
from lra_bench.data.residence import batch_on


class TaskFeed(LightningDataModule):
    """Loaders of a task for the trainer's step and process; batches are decoded on the device.

    Training batches come ready for the network. Evaluation batches take Lightning's way.
    """

    def __init__(self, task: SequenceDataModule) -> None:
        super().__init__()
        self.task = task

    def train_dataloader(self) -> "ReadyBatches":
        """This process's share of endless batches, from the trainer's current step on."""
        trainer = self._trainer
        device = trainer.strategy.root_device
        loader = self.task.train_loader(trainer.global_step, trainer.global_rank, trainer.world_size, device)
        return ReadyBatches(loader, self.task, device, self._dtype)

    def val_dataloader(self) -> DataLoader[Batch]:
        """This process's share of the split that selects the step."""
        return self._eval_loader(self.task.selects_on)

    def test_dataloader(self) -> DataLoader[Batch]:
        """This process's share of the test split."""
        return self._eval_loader("test")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Decode here, so that narrow numbers are what travels to the device."""
        return batch if self._trainer.training else self.task.decode(batch).in_precision(self._dtype)

    def _eval_loader(self, split: Split) -> DataLoader[Batch]:
        trainer = self._trainer
        return self.task.eval_loader(split, trainer.global_rank, trainer.world_size, trainer.strategy.root_device)

    @property
    def _trainer(self) -> Trainer:
        assert self.trainer is not None, "a feed is read by a trainer"
        return self.trainer

    @property
    def _dtype(self) -> torch.dtype:
        """Of the network's parameters."""
        dtype = self._trainer.lightning_module.dtype
        assert isinstance(dtype, torch.dtype)
        return dtype


class ReadyBatches:
    """Batches of a loader on the device, decoded, real numbers in the precision of the network.

    Args:
        loader: of batches as they are stored.
        task: that decodes them.
        device: where they go.
        dtype: of the network's parameters.
    """

    def __init__(
        self, loader: Iterable[Batch], task: SequenceDataModule, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.loader = loader
        self.task = task
        self.device = device
        self.dtype = dtype

    def __iter__(self) -> Iterator[Batch]:
        for stored in self.loader:
            yield self.task.decode(batch_on(stored, self.device)).in_precision(self.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the step is the state. This and the next one tell Lightning so."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""
