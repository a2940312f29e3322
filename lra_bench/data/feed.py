"""A task as Lightning takes it."""

from lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from lra_bench.core.batch import Batch
from lra_bench.data.datamodule import SequenceDataModule


class TaskFeed(LightningDataModule):
    """Loaders of a task for the trainer's step and process; batches are decoded on the device."""

    def __init__(self, task: SequenceDataModule) -> None:
        super().__init__()
        self.task = task

    def train_dataloader(self) -> DataLoader[Batch]:
        """This process's share of endless batches, from the trainer's current step on."""
        trainer = self._trainer
        return self.task.train_loader(trainer.global_step, trainer.global_rank, trainer.world_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """This process's share of the split that selects the step."""
        return self.task.eval_loader(self.task.selects_on, self._trainer.global_rank, self._trainer.world_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        """This process's share of the test split."""
        return self.task.eval_loader("test", self._trainer.global_rank, self._trainer.world_size)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Decode here, so that narrow numbers are what travels to the device."""
        return self.task.decode(batch)

    @property
    def _trainer(self) -> Trainer:
        assert self.trainer is not None, "a feed is read by a trainer"
        return self.trainer
