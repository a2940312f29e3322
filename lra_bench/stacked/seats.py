"""One trial among those that train together: what it is made of, what it has shown, and its files.

Its folder is that of a trial that trains alone: the same history, checkpoints and record.
"""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from lra_bench.building import build_net
from lra_bench.config.schema import Config
from lra_bench.core.files import write_atomically
from lra_bench.core.record import CurvePoint
from lra_bench.data.datamodule import SequenceDataModule
from lra_bench.nn.backbone import Backbone
from lra_bench.outcome import Outcome, device_name, model_info, note_selection, task_info, write_record
from lra_bench.stacked.optimizer import Recipe
from lra_bench.stacked.streams import Stream, Streams
from lra_bench.training.history import read_history
from lra_bench.training.optimizers import make_optimizer, parameter_groups
from lra_bench.training.watch import Ending, Watch


@dataclass(frozen=True)
class Member:
    """A trial that is to be one of several.

    Attributes:
        config: the composed config.
        folder: the trial's own.
    """

    config: Config
    folder: Path


@dataclass
class Seat:
    """A member while it trains.

    Attributes:
        member: the trial.
        stream: its data, which it may share with others.
        recipe: how it is optimised.
        watch: what its losses have shown.
        outcome: what its record will say.
        optimizer_state: `state_dict` of its optimizer before the first step.
        schedule_state: likewise of its schedule.
        rng: state of the CPU's random generator after its weights were drawn.
        best_step: the selected step.
        best_metrics: of that step.
        waiting: losses that no point of the history has, their sum and their number.
    """

    member: Member
    stream: Stream
    recipe: Recipe
    watch: Watch
    outcome: Outcome
    optimizer_state: dict[str, Any]
    schedule_state: dict[str, Any]
    rng: Tensor
    best_step: int | None = None
    best_metrics: dict[str, float] = field(default_factory=dict)
    waiting: tuple[float, int] = (0.0, 0)

    @property
    def task(self) -> SequenceDataModule:
        """Its task."""
        return self.stream.task

    @property
    def history(self) -> Path:
        """Its learning curve."""
        return self.member.folder / "history.jsonl"

    @property
    def parameter_names(self) -> list[str]:
        """As its optimizer counts them."""
        return [name for group in self.recipe.groups for name in group.parameters]

    def add(self, losses: list[tuple[int, float]]) -> None:
        """Count in the losses of further steps."""
        self.watch.look(losses)
        total, count = self.waiting
        for _, loss in losses:
            total += loss
        self.waiting = total, count + len(losses)

    def write_losses(self, step: int) -> None:
        """Write a point of the mean loss since the last one."""
        total, count = self.waiting
        self._append(CurvePoint(step=step, train_loss=total / count))
        self.waiting = 0.0, 0

    def write_validation(self, step: int, metrics: dict[str, float]) -> bool:
        """Write a validation point, and say whether this step is the one to select so far."""
        self.watch.validated(step, metrics[self.task.spec.metric])
        self._append(CurvePoint(step=step, val=metrics))
        name = self.task.spec.metric
        if not self.task.spec.better(metrics[name], self.best_metrics.get(name)):
            return False
        self.best_step, self.best_metrics = step, metrics
        return True

    def cut_history(self, step: int) -> None:
        """Cut off what lies beyond the step at which training goes on."""
        kept = [point for point in read_history(self.history) if point.step <= step]
        write_atomically(self.history, "".join(_line(point) for point in kept))

    def note_end(self, ending: Ending, step: int) -> None:
        """Note why and when training ended."""
        outcome = self.outcome
        outcome.status, outcome.message, outcome.failed_step = ending.status, ending.message, ending.failed_step
        outcome.steps, outcome.seconds = step, self.watch.seconds
        note_selection(outcome, self.task, self.best_step, self.best_metrics)

    def write_record(self, peak_memory: float | None) -> None:
        """Write what there is to say, with the program's peak of memory in units of 1e6 bytes."""
        self.outcome.peak_memory_mb = peak_memory
        record = write_record(self.member.config, self.member.folder, self.outcome)
        logging.getLogger(__name__).info("%s: %s", record.trial_id, record.status)

    def _append(self, point: CurvePoint) -> None:
        with self.history.open("a", encoding="utf-8") as file:
            file.write(_line(point))


def take_seat(member: Member, streams: Streams, outcome: Outcome, device: torch.device) -> tuple[Seat, Backbone]:
    """Build what one member needs, as a trial alone does, and its network with weights drawn from its seed.

    Args:
        member: the trial.
        streams: where its data are found.
        outcome: filled in as things become known.
        device: that will train it.
    """
    config = member.config
    outcome.device = device_name(device)
    stream = streams.of(config)
    spec = stream.task.spec
    outcome.task = task_info(stream.task)
    net = build_net(config, spec)
    rng = torch.get_rng_state()
    groups = parameter_groups(net, net.mixers, config.optim, allow_absolute=config.track == "recipe")
    outcome.learning_rates = {group.name: group.lr for group in groups}
    outcome.model = model_info(config, net, config.train.global_batch_size, spec.seq_len, device)
    outcome.task = stream.info
    optimizer = make_optimizer(groups, config.optim)
    recipe = Recipe(config.optim, groups, config.train.max_steps)
    schedule = LambdaLR(optimizer, recipe.schedule)
    watch = Watch(config.train, spec)
    seat = Seat(member, stream, recipe, watch, outcome, optimizer.state_dict(), schedule.state_dict(), rng)
    return seat, net


def _line(point: CurvePoint) -> str:
    return json.dumps(point.to_dict(), allow_nan=False) + "\n"
