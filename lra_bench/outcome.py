"""What came of a trial, and the record that is made of it."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from lra_bench.config.identity import trial_id
from lra_bench.config.schema import Config
from lra_bench.core.record import (
    Budget,
    Environment,
    ModelInfo,
    RunRecord,
    Selection,
    Status,
    TaskInfo,
    Tracking,
)
from lra_bench.core.registry import TASKS
from lra_bench.data.datamodule import SequenceDataModule
from lra_bench.environment import code_version, package_versions, python_version
from lra_bench.training.history import read_history, thinned


@dataclass
class Outcome:
    """What is known of a trial so far; a record can be made of it at any moment."""

    status: Status = Status.ERROR
    message: str | None = None
    failed_step: int | None = None
    model: ModelInfo | None = None
    task: TaskInfo | None = None
    steps: int = 0
    seconds: float = 0.0
    learning_rates: dict[str, float] = field(default_factory=dict)
    selection: Selection | None = None
    val: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    device: str = "unknown"
    peak_memory_mb: float | None = None
    tracking: Tracking | None = None


def identity(config: Config) -> str:
    """The trial's id."""
    return trial_id(config, TASKS.load(config.task.name, SequenceDataModule).VERSION)


def write_record(config: Config, folder: Path, outcome: Outcome, rank: int = 0, ranks: int = 1) -> RunRecord:
    """Write `record.json` into the trial's folder, with the learning curve that is there.

    Of several processes the first one writes. Another writes only that it failed, and a failure or an interruption does
    not replace the record of a trial that is over: the first process to fail knows why.

    Args:
        config: of the trial.
        folder: the trial's.
        outcome: as this process sees it.
        rank: which process this is.
        ranks: how many train together.

    Returns:
        What is the trial's record now; or, from a process that does not write it, would be.
    """
    failed = outcome.status in (Status.ERROR, Status.OOM)
    if ranks > 1 and (failed or outcome.status is Status.PREEMPTED):
        earlier = _finished_record(folder / "record.json")
        if earlier is not None:
            return earlier
    if failed and rank > 0:
        outcome.message = f"rank {rank}: {outcome.message}"
    record = _record(config, folder, outcome)
    if failed or rank == 0:
        return record.write(folder / "record.json")
    return record


def _finished_record(path: Path) -> RunRecord | None:
    record = RunRecord.read(path) if path.exists() else None
    return record if record is not None and record.status.finished else None


def _record(config: Config, folder: Path, outcome: Outcome) -> RunRecord:
    commit, dirty = code_version()
    examples = outcome.steps * config.train.global_batch_size
    return RunRecord(
        trial_id=identity(config),
        study=config.study,
        status=outcome.status,
        message=outcome.message,
        failed_step=outcome.failed_step,
        model=outcome.model,
        task=outcome.task,
        track=config.track,
        protocol=config.protocol,
        seed=config.seed,
        data_seed=config.data_seed,
        config=config.to_dict(),
        budget=Budget(
            steps=outcome.steps,
            examples=examples,
            seconds=outcome.seconds,
            examples_per_second=examples / outcome.seconds if outcome.seconds else None,
            peak_memory_mb=outcome.peak_memory_mb,
        ),
        learning_rates=outcome.learning_rates,
        selection=outcome.selection,
        val=outcome.val,
        test=outcome.test,
        curve=thinned(read_history(folder / "history.jsonl")),
        environment=Environment(
            commit=commit,
            dirty=dirty,
            python=python_version(),
            packages=package_versions(),
            device=outcome.device,
            precision=config.train.precision,
            threads=torch.get_num_threads(),
        ),
        tracking=outcome.tracking,
    )
