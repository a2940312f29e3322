"""The parts of a trial, built from its config. Free of Lightning."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lra_bench.config.schema import Config
from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.registry import MODELS, TASKS
from lra_bench.core.specs import TaskSpec
from lra_bench.data.datamodule import SequenceDataModule
from lra_bench.nn.backbone import Backbone


def build_task(config: Config) -> SequenceDataModule:
    """The task of a config."""
    task_class = TASKS.load(config.task.name, SequenceDataModule)
    task: SequenceDataModule = task_class(config.task, config.data_seed, config.protocol, config.train, config.seed)
    return task


def build_net(config: Config, spec: TaskSpec) -> Backbone:
    """The network for a task, with weights drawn from the run's seed.

    Raises:
        ConfigError: the parts do not fit each other.
    """
    mixer_class = MODELS.load(config.model.name, SequenceMixer)
    torch.manual_seed(config.seed)
    with default_precision(config):
        return Backbone(config.backbone, spec, lambda ctx: mixer_class(config.model, ctx), mixer_class.mixes_channels)


def real_dtype(config: Config) -> torch.dtype:
    """Of the trial's parameters, and of what its network reads."""
    return torch.float64 if config.train.precision == "64-true" else torch.float32


@contextmanager
def default_precision(config: Config) -> Iterator[None]:
    """Real numbers that are made within have the precision of the trial's parameters."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(real_dtype(config))
    try:
        yield
    finally:
        torch.set_default_dtype(default)
