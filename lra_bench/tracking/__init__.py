"""Weights & Biases, as a sink. The only room that imports wandb, and only when it is to be used.

A run of W&B follows a trial's `history.jsonl`: its rows are those of the file, in order, each step once. What is sent
while a trial runs is what a checkpoint holds, which no interruption can change; so the rows on the service are at any
moment the first rows of the file, and whoever goes on sends what is missing there: the trial itself, or `wandb push`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lra_bench.config.schema import Config
from lra_bench.core.record import RunRecord, Tracking
from lra_bench.tracking.decision import Decision, Mode, decide

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

__all__ = ["Decision", "Mode", "decide", "finish", "make_logger", "where"]


def make_logger(config: Config, trial_id: str, folder: Path) -> "Logger | None":
    """A logger for one trial, for its first rank; None where W&B is off or does not answer.

    The run's id is the trial's, or what a sweep's agent says; a trial that was logged before goes on in that run.

    Raises:
        ConfigError: W&B was asked for and is not installed.
    """
    from lra_bench.tracking import live

    return live.open_logger(config, trial_id, folder)


def where(logger: "Logger") -> Tracking:
    """Where a trial is logged, for its record."""
    from lra_bench.tracking import live

    assert isinstance(logger, live.TrialLogger)
    return logger.where


def finish(logger: "Logger", record: RunRecord) -> None:
    """Complete the run with the outcome. It may take its time, so the record is written before; raises nothing."""
    from lra_bench.tracking import live

    assert isinstance(logger, live.TrialLogger)
    logger.close(record)
