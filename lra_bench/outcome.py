"""What came of a trial, and the record that is made of it."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from lra_bench.config.identity import trial_id
from lra_bench.config.schema import Config
from lra_bench.core.record import (
    ALONE,
    Budget,
    Engine,
    Environment,
    ModelInfo,
    RunRecord,
    Selection,
    Status,
    TaskInfo,
    Tracking,
)
from lra_bench.core.registry import MODELS, TASKS
from lra_bench.data.datamodule import SequenceDataModule
from lra_bench.environment import code_version, package_versions, python_version
from lra_bench.nn.backbone import Backbone
from lra_bench.training.history import read_history, thinned

SELECTION_RULE = "best {split} {metric}, earliest step on ties"
ALLOCATION_FAILED = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What torch says in plain RuntimeErrors when there is no memory: of the CPU, of the driver, of cuBLAS."""


@dataclass
class Outcome:
    """What is known of a trial so far; a record can be made of it at any moment.

    `members` is the number of trials that train as one program, None where each has a program of its own.
    """

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
    members: int | None = None


def task_info(task: SequenceDataModule) -> TaskInfo:
    """What a record says of a task before its data have been looked at."""
    spec = task.spec
    return TaskInfo(
        name=spec.name,
        version=spec.version,
        metric=spec.metric,
        higher_is_better=spec.higher_is_better,
        chance=spec.chance,
        origin=task.origin,
        content=task.content,
    )


def model_info(config: Config, net: Backbone, batch_size: int, seq_len: int, device: torch.device) -> ModelInfo:
    """What a record says of a network that trains on batches of this size."""
    mixers = net.mixers.values()
    return ModelInfo(
        name=config.model.name,
        origin=MODELS.find(config.model.name).origin,
        parameters=sum(p.numel() for p in net.parameters() if p.requires_grad),
        state_size=sum(mixer.state_size(seq_len) for mixer in mixers),
        backend=", ".join(sorted({mixer.backend(device, batch_size, seq_len) for mixer in mixers})),
    )


def note_selection(outcome: Outcome, task: SequenceDataModule, step: int | None, metrics: dict[str, float]) -> None:
    """Note the selected step, if there is one, its validation metrics, and whether anything was learnt."""
    if step is None:
        return
    spec = task.spec
    split = "validation" if task.selects_on == "val" else "test"
    outcome.selection = Selection(rule=SELECTION_RULE.format(split=split, metric=spec.metric), step=step)
    outcome.val = metrics
    value = metrics[spec.metric]
    if outcome.status is Status.OK and spec.at_chance(value):
        outcome.status = Status.CHANCE
        outcome.message = f"{split} {spec.metric} {value:.4g} is no better than chance"


def note_failure(outcome: Outcome, error: BaseException) -> None:
    """Note an exception: its kind and its words in one line."""
    outcome.status = Status.OOM if lacks_memory(error) else Status.ERROR
    outcome.message = " ".join(f"{type(error).__name__}: {error}".split())


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, as torch does in several ways."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in ALLOCATION_FAILED)


def device_name(device: torch.device) -> str:
    """What a record calls a device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


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
        engine=Engine(name="stacked", members=outcome.members) if outcome.members else ALONE,
        tracking=outcome.tracking,
    )
