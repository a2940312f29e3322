"""A shortened trial with a stopwatch: how long a step, a validation and an evaluated example take."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing import connection
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import write_atomically
from lra_bench.core.record import Status
from lra_bench.training.module import LitSequenceModel
from lra_bench.trials import deaths
from lra_bench.trials.deaths import KernelKills
from lra_bench.trials.launchers.local import LocalLauncher
from lra_bench.trials.plan import Cell, freeze
from lra_bench.trials.policy import Policy
from lra_bench.trials.slots import Slot
from lra_bench.trials.state import finished_record, log_file
from lra_bench.trials.supervision import Job

READING = "stopwatch.json"
POLL = 0.25
"""Seconds between looks at running copies."""
POLICY = Policy()
WARM_UP = 1
"""Steps that are not counted: the first one allocates and compiles."""


@dataclass(frozen=True)
class Reading:
    """What a stopwatch says of one shortened trial. All times are in seconds.

    Attributes:
        steps: optimizer steps done.
        step: one of them, its batch and its share of what is done every few steps included.
        validations: how many.
        validation: one of them, of `seen` examples, its checkpoint included.
        example: evaluating one example more.
        seen: examples of each evaluation on "val" and "test".
        sizes: examples there are.
    """

    steps: int
    step: float
    validations: int
    validation: float
    example: float
    seen: Mapping[str, int]
    sizes: Mapping[str, int]

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_atomically(path, json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "Reading":
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Probe:
    """A shortened trial, the mean of as many copies as ran at once.

    Attributes:
        reading: of its stopwatch.
        seconds: from the start of its process to its end.
        memory_mb: the most that it used, as records have it.
        device: it ran on.
        threads: of its process on the CPU.
    """

    reading: Reading
    seconds: float
    memory_mb: float | None
    device: str
    threads: int


class Stopwatch(Callback):
    """Times the parts of a trial, and has each evaluation see only its first batches.

    When the trial has been tested it leaves `stopwatch.json` in the trial's folder.

    Args:
        batch_size: examples of an evaluation batch.
        batches: of an evaluation, at most; two or more, so that there is a time between two.
    """

    def __init__(self, batch_size: int, batches: int) -> None:
        self.batch_size = batch_size
        self.batches = batches
        self._sizes: dict[str, int] = {}
        self._seen: dict[str, int] = {}
        self._steps = _Sum()
        self._validations = _Sum()
        self._examples = _Sum()
        self._last_step = 0
        self._stepping_since: tuple[int, float] | None = None
        self._validating_since: float | None = None
        self._evaluating_since: float | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Shorten the evaluations, and tell the module that counts them."""
        assert isinstance(pl_module, LitSequenceModel)
        if not self._sizes:
            self._sizes = dict(pl_module.eval_sizes)
            most = self.batches * self.batch_size
            self._seen = {name: _seen(size, trainer.world_size, most) for name, size in self._sizes.items()}
            pl_module.eval_sizes = self._seen
        trainer.limit_val_batches = trainer.limit_test_batches = self.batches

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A validation before this step is over now, with its checkpoint."""
        self._end_validation(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Start to time steps at the end of one."""
        done, self._last_step = trainer.global_step > self._last_step, trainer.global_step
        if done and self._stepping_since is None and self._last_step >= WARM_UP:
            self._stepping_since = self._last_step, _now(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Steps pause here."""
        self._end_steps(trainer)
        self._validating_since = _now(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Time every batch but the first, which pays for the loader."""
        now = _now(trainer)
        if self._evaluating_since is not None:
            self._examples.add(now - self._evaluating_since, len(batch.y) * trainer.world_size)
        self._evaluating_since = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The next batch will be a first one."""
        self._evaluating_since = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close what is open."""
        self._end_steps(trainer)
        self._end_validation(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave what was measured."""
        if trainer.is_global_zero:
            self.reading().write(Path(trainer.default_root_dir) / READING)

    def reading(self) -> Reading:
        """The means so far."""
        return Reading(
            steps=self._last_step,
            step=self._steps.mean(),
            validations=self._validations.count,
            validation=self._validations.mean(),
            example=self._examples.mean(),
            seen=self._seen,
            sizes=self._sizes,
        )

    def _end_steps(self, trainer: Trainer) -> None:
        if self._stepping_since is not None:
            step, since = self._stepping_since
            self._steps.add(_now(trainer) - since, self._last_step - step)
            self._stepping_since = None

    def _end_validation(self, trainer: Trainer) -> None:
        if self._validating_since is not None:
            self._validations.add(_now(trainer) - self._validating_since, 1)
            self._validating_since = None


@dataclass
class _Sum:
    """Seconds of a number of equal things."""

    seconds: float = 0.0
    count: int = 0

    def add(self, seconds: float, count: int) -> None:
        self.seconds += seconds
        self.count += count

    def mean(self) -> float:
        """Seconds of one; 0 where there was none."""
        return self.seconds / self.count if self.count else 0.0


def _seen(size: int, ranks: int, most: int) -> int:
    """Examples that `ranks` processes evaluate of `size` if each stops after `most` of its share."""
    return sum(min(size * (rank + 1) // ranks - size * rank // ranks, most) for rank in range(ranks))


def _now(trainer: Trainer) -> float:
    """Seconds, once the device has done what was asked of it."""
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.synchronize(trainer.strategy.root_device)
    return time.perf_counter()


def run_copies(cell: Cell, slots: Sequence[Slot], eval_batches: int) -> Probe:
    """Run a short trial on every slot at once.

    Args:
        cell: its folder will hold one folder for each copy.
        slots: where.
        eval_batches: of each evaluation, at most; two or more.

    Raises:
        LraBenchError: a copy failed; says how.
    """
    copies = [Cell(cell.config, cell.folder / str(index)) for index in range(len(slots))]
    for copy in copies:
        freeze(copy)
    watch = Stopwatch(cell.config.train.eval_batch_size, eval_batches)
    return mean(_run_side_by_side(copies, slots, watch))


def mean(probes: Sequence[Probe]) -> Probe:
    """Of copies: the mean times, and the most memory."""
    readings = [probe.reading for probe in probes]
    return replace(
        probes[0],
        reading=replace(
            readings[0],
            step=fmean(reading.step for reading in readings),
            validation=fmean(reading.validation for reading in readings),
            example=fmean(reading.example for reading in readings),
        ),
        seconds=fmean(probe.seconds for probe in probes),
        memory_mb=max((probe.memory_mb for probe in probes if probe.memory_mb is not None), default=None),
    )


def _run_side_by_side(copies: Sequence[Cell], slots: Sequence[Slot], watch: Stopwatch) -> list[Probe]:
    """Each copy as it was measured, in the order of their ends."""
    launcher = LocalLauncher(copies, observers=(watch,))
    kernel_kills = KernelKills()
    began: dict[Path, float] = {}
    running: list[Job] = []
    probes: list[Probe] = []
    try:
        for copy, slot in zip(copies, slots, strict=True):
            began[copy.folder] = time.perf_counter()
            running.append(Job([copy], slot, launcher.start([copy], slot), POLICY.stall_limit))
        while running:
            connection.wait([sentinel for job in running for sentinel in job.sentinels], timeout=POLL)
            kernel_kills.look()
            for job in running:
                job.watch()
                if job.over:
                    seconds = time.perf_counter() - began[job.cells[0].folder]
                    probes.append(_probe_of(job, seconds, kernel_kills))
            running = [job for job in running if not job.over]
    finally:
        for job in running:
            job.kill()
            while not job.over:
                connection.wait(job.sentinels, timeout=POLL)
                job.watch()
        launcher.close()
    return probes


def _probe_of(job: Job, seconds: float, kernel_kills: KernelKills) -> Probe:
    folder = job.cells[0].folder
    record = finished_record(folder)
    if record is None:
        raise LraBenchError(_why_it_died(job, kernel_kills))
    if record.status not in (Status.OK, Status.CHANCE):
        raise LraBenchError(f"{record.status}: {record.message}")
    assert record.environment.threads is not None
    return Probe(
        Reading.read(folder / READING),
        seconds,
        record.budget.peak_memory_mb,
        record.environment.device,
        record.environment.threads,
    )


def _why_it_died(job: Job, kernel_kills: KernelKills) -> str:
    """With the last line of a log that will be gone."""
    death = deaths.cause(job, POLICY.stall_limit, kernel_kills)
    if job.stalled:
        return death.message
    lines = log_file(job.cells[0].folder, 0).read_text(encoding="utf-8", errors="replace").splitlines()
    return f"{death.status}: {death.message}; last line: {lines[-1] if lines else 'none'}"
