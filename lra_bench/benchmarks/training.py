"""What a training step costs, beside a bare PyTorch loop over the same network, batches, optimizer and schedule.

A trial runs as it always does; at the start of every turn it stands still while the bare loop does as many steps. So
both are measured in one run, on the same machine in the same mood, and what the framework adds is their difference.
"""

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch.profiler import ProfilerActivity, profile

from lra_bench import experiment
from lra_bench.benchmarks.bare_loop import PHASES, BareLoop, Turn
from lra_bench.benchmarks.results import Benchmark, Column, Row, machine
from lra_bench.benchmarks.synthetic import Synthetic
from lra_bench.benchmarks.timing import FEWEST, Foreign, Spread, counted, now
from lra_bench.building import build_task
from lra_bench.config.schema import Config
from lra_bench.core.errors import ConfigError, LraBenchError
from lra_bench.core.record import Status
from lra_bench.data.datamodule import SequenceDataModule
from lra_bench.outcome import device_name
from lra_bench.training.guard import TrialStopped

TURN = 0.1
"""Seconds that a turn takes, about, if it is more than one step."""

WARM_UP = 5
"""Steps of each loop before the first turn."""

ENDLESS = 10**9
"""Steps of the trial, which is stopped when all is measured: no validation, no test."""

COLUMNS = (
    Column("task", "task"),
    Column("model", "model"),
    Column("shape", "B x L x D, layers"),
    Column("data_from", "examples"),
    Column("device", "device"),
    Column("threads", "threads", "{:.0f}"),
    Column("examples", "a second", "{:,.1f}", "more"),
    Column("step", "step, ms", "{:,.3f}", "less"),
    Column("bare", "bare loop, ms", "{:,.3f}", "less"),
    Column("ratio", "step / bare", "{:.3f}", "less"),
    *(Column(phase, f"{phase}, %", "{:.1f}") for phase in PHASES),
    Column("rest", "rest, %", "{:.1f}"),
    Column("idle", "device idle, %", "{:.1f}", "less"),
)


def measure(
    configs: Sequence[Config], seconds: float, synthetic: bool, say: Callable[[str], object] = lambda _: None
) -> Benchmark:
    """Time steps of whole recipes.

    Args:
        configs: each on one device, with whole batches.
        seconds: for each of the two loops of each.
        synthetic: take random examples where data are not prepared.
        say: is told what is measured next.

    Raises:
        ConfigError: a config needs several devices, or splits its batches.
        LraBenchError: its data are not prepared, or its trial failed; says why.
    """
    for config in configs:
        if config.train.devices * config.train.accumulate > 1:
            raise ConfigError("bench train measures one device and whole batches: leave out train.devices, accumulate")
    tasks = [_task(config, synthetic) for config in configs]
    rows = []
    for config, task in zip(configs, tasks, strict=True):
        say(f"{config.task.name} {config.model.name}: about {2 * seconds:.0f} s")
        rows.append(_row(config, task, seconds))
    conditions = {name: text for name, text in machine().items() if name != "threads"}
    conditions["times"] = f"medians of turns of about {TURN:g} s, of trial and bare loop one after another"
    return Benchmark("train", conditions, ("task", "model", "shape", "device"), COLUMNS, rows)


class Race(Callback):
    """Looks on at a trial, lets the bare loop run in between, and stops the trial when both have had their time.

    Args:
        config: of the trial.
        task: with the data.
        seconds: for each of the two.

    Attributes:
        trial: its turns.
        bare: those of the bare loop.
        busy: seconds of a step of the trial in which a GPU worked; None on a CPU.
        loop: the bare loop, once the trial has started.
    """

    def __init__(self, config: Config, task: SequenceDataModule, seconds: float) -> None:
        self.config = config
        self.task = task
        self.seconds = seconds
        self.trial: list[Turn] = []
        self.bare: list[Turn] = []
        self.busy: float | None = None
        self.loop: BareLoop | None = None
        self._steps = 1
        self._running: tuple[Foreign, float] | None = None
        self._profile: profile | None = None

    @property
    def enough(self) -> bool:
        """Whether both have had their time."""
        spent = self._steps * sum(turn.seconds for turn in self.trial)
        return len(self.trial) >= FEWEST and spent >= self.seconds

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warm the bare loop up, and see how many steps make a turn."""
        self.loop = BareLoop(self.config, self.task, trainer.strategy.root_device)
        self.loop.turn(WARM_UP)
        self._steps = turn_steps(self.loop.turn(2).seconds, self.config.train.log_every)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """At the end of a turn of the trial comes one of the bare loop, then the next of the trial."""
        if trainer.global_step < WARM_UP or (trainer.global_step - WARM_UP) % self._steps:
            return
        assert self.loop is not None
        device = self.loop.device
        if self._profile is not None:
            self._profile.stop()
            self.busy = covered(_spans(self._profile)) / self._steps
            raise TrialStopped(Status.PREEMPTED, "measured")
        if self._running is not None:
            foreign, start = self._running
            self.trial.append(Turn((now(device) - start) / self._steps, foreign.ran()))
        if not self.enough:
            self.bare.append(self.loop.turn(self._steps))
            self._running = Foreign(), now(device)
        elif device.type == "cuda":
            self._profile = profile(activities=[ProfilerActivity.CUDA])
            self._profile.start()
        else:
            raise TrialStopped(Status.PREEMPTED, "measured")


def turn_steps(step: float, log_every: int) -> int:
    """Steps of a turn of about `TURN` seconds; whole periods of logging where that is several."""
    steps = max(1, math.ceil(TURN / step))
    return steps if steps < log_every else log_every * math.ceil(steps / log_every)


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals (start, end)."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _row(config: Config, task: SequenceDataModule, seconds: float) -> Row:
    race = Race(config, task, seconds)
    endless = replace(config, train=replace(config.train, max_steps=ENDLESS, val_every=ENDLESS, time_limit=None))
    with tempfile.TemporaryDirectory() as folder:
        record = experiment.run(endless, Path(folder), observers=[race], task=task)
    if record.status is not Status.PREEMPTED or not race.enough or race.loop is None:
        raise LraBenchError(f"{config.task.name} {config.model.name}: {record.status}: {record.message}")
    trial, bare = (Spread.of([turn.seconds for turn in counted(turns)]) for turns in (race.trial, race.bare))
    spent = _by_phase(race)
    batch, spec = config.train.global_batch_size, task.spec
    return {
        "task": config.task.name,
        "model": config.model.name,
        "shape": f"{batch} x {spec.seq_len} x {race.loop.width}, {config.backbone.depth}",
        "data_from": "synthetic" if isinstance(task, Synthetic) else task.origin,
        "device": device_name(race.loop.device),
        "threads": float(torch.get_num_threads()),
        "examples": batch / trial.median,
        "step": 1000 * trial.median,
        "step_lower": 1000 * trial.lower,
        "step_upper": 1000 * trial.upper,
        "bare": 1000 * bare.median,
        "bare_lower": 1000 * bare.lower,
        "bare_upper": 1000 * bare.upper,
        "ratio": trial.median / bare.median,
        **{phase: 100 * took / trial.median for phase, took in spent.items()},
        "rest": 100 * (1 - sum(spent.values()) / trial.median),
        "idle": None if race.busy is None else 100 * (1 - race.busy / trial.median),
        "turns": float(len(race.trial)),
        "backend": record.model.backend if record.model else None,
    }


def _by_phase(race: Race) -> dict[str, float]:
    """Seconds of a step of the bare loop by phase; on a GPU in the proportions that it has when it is waited for."""
    assert race.loop is not None
    if race.loop.device.type == "cpu":
        spent = np.median([turn.spent for turn in counted(race.bare)], axis=0)
    else:
        shares = np.array(race.loop.phases(WARM_UP))
        spent = shares / shares.sum() * np.median([turn.seconds for turn in counted(race.bare)])
    return dict(zip(PHASES, spent.tolist(), strict=True))


def _task(config: Config, synthetic: bool) -> SequenceDataModule:
    """The task, or what stands in for it.

    Raises:
        LraBenchError: its data are not there, and nothing may stand in for them.
    """
    task = build_task(config)
    try:
        task.require_data()
    except LraBenchError as error:
        if synthetic:
            return Synthetic(task)
        raise LraBenchError(f"{error}; or add --synthetic, for random examples of the same shape") from error
    return task


def _spans(found: profile) -> list[tuple[float, float]]:
    """When the GPU worked, in seconds."""
    events = [event for event in found.events() if event.device_type == torch.autograd.DeviceType.CUDA]  # type: ignore[attr-defined,no-untyped-call]
    return [(event.time_range.start / 1e6, event.time_range.end / 1e6) for event in events]
