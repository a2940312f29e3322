"""What a sweep will cost, from a few steps of one cell of each kind.

A trial's time is taken apart into what happens once (start, first step, test, end), its steps and its validations. All
are measured on a shortened trial in processes of its own, as many at once as there are slots, since trials that run
side by side slow each other down.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from lra_bench.config.schema import Config
from lra_bench.core.errors import LraBenchError
from lra_bench.core.settings import TrackingConfig, TrainConfig
from lra_bench.environment import package_versions
from lra_bench.trials.plan import Cell, cell_of
from lra_bench.trials.probe import Probe, run_copies
from lra_bench.trials.slots import Slot, makespan

LOOK = 4
"""Steps of a first look, which says how many a probe takes."""
PATIENCE = 3.0
"""Seconds of steps, and of evaluation, that a probe aims at."""
HOUR = 3600.0
FREE = frozenset(
    {
        *("seed", "data_seed", "study", "out_dir", "track", "recipe"),
        *("train.max_steps", "train.val_every", "train.time_limit", "train.chance_steps", "train.diverge_factor"),
    }
)
"""Settings that do not change the cost of a step."""


@dataclass(frozen=True)
class Group:
    """Cells that cost the same a step.

    Attributes:
        cells: of one task and one model.
        differs: what sets the group apart from others of the same task and model: dotted key -> value.
    """

    cells: tuple[Cell, ...]
    differs: Mapping[str, Any]


@dataclass(frozen=True)
class Estimate:
    """What a group of cells will cost.

    Attributes:
        group: the cells.
        probe: what was measured, or None where that failed.
        failure: why, or None.
    """

    group: Group
    probe: Probe | None
    failure: str | None = None

    def durations(self) -> list[float]:
        """Seconds of each cell; none where nothing was measured."""
        return [trial_seconds(self.probe, cell.config.train) for cell in self.group.cells] if self.probe else []

    def device_seconds(self) -> float:
        """Of all cells together; on a CPU every process of a trial counts as a device."""
        devices = (cell.config.train.devices for cell in self.group.cells)
        return sum(seconds * count for seconds, count in zip(self.durations(), devices, strict=False))


def estimated(group: Group, slots: Sequence[Slot]) -> Estimate:
    """Measure one cell of a group, the one with the smallest learning rate, in a temporary folder that is removed.

    Args:
        group: of a sweep.
        slots: that the sweep will run on.
    """
    gentlest = min(group.cells, key=lambda cell: cell.config.optim.lr)
    with TemporaryDirectory(prefix="lra-bench-estimate-") as folder:
        try:
            return Estimate(group, measure(gentlest.config, slots, Path(folder)))
        except LraBenchError as error:
            return Estimate(group, None, str(error))


def measure(config: Config, slots: Sequence[Slot], folder: Path) -> Probe:
    """Run a shortened trial on all slots at once.

    A first look says how many steps and evaluation batches take `PATIENCE` seconds each; what has to be computed once
    on a machine, such as filters, is computed there.

    Raises:
        LraBenchError: it failed; says how.
    """
    look = run_copies(_shortened(config, folder / "look", LOOK), slots, eval_batches=2)
    seen = look.reading
    steps = min(config.train.max_steps, math.ceil(PATIENCE / seen.step) if seen.step else LOOK)
    if steps <= LOOK:
        return look
    probe = _shortened(config, folder / "probe", steps)
    evaluation = probe.config.train.eval_batch_size * seen.example * validations(probe.config.train)
    return run_copies(probe, slots, max(2, int(PATIENCE / evaluation) if evaluation else 2))


def trial_seconds(probe: Probe, train: TrainConfig) -> float:
    """Seconds of a whole trial, from the start of its process to its end.

    An upper bound where a trial diverges, or is ended at `chance_steps`.
    """
    seen = probe.reading
    unseen = {split: seen.sizes[split] - seen.seen[split] for split in ("val", "test")}
    once = probe.seconds - seen.steps * seen.step - seen.validations * seen.validation + unseen["test"] * seen.example
    training = train.max_steps * seen.step + validations(train) * (seen.validation + unseen["val"] * seen.example)
    return once + min(training, train.time_limit or math.inf)


def validations(train: TrainConfig) -> int:
    """How often a trial is validated."""
    return train.max_steps // min(train.val_every, train.max_steps)


def summary(found: Sequence[Estimate], slots: int) -> dict[str, Any]:
    """All that is printed, in plain types: each group, the total, and the conditions of measurement."""
    measured = [each.probe for each in found if each.probe is not None]
    durations = [seconds for each in found for seconds in each.durations()]
    return {
        "groups": [_summary_of(each) for each in found],
        "total": {
            "trials": len(durations),
            "hours": makespan(durations, slots) / HOUR,
            "device_hours": sum(each.device_seconds() for each in found) / HOUR,
        },
        "conditions": {
            "devices": sorted({probe.device for probe in measured}),
            "threads": sorted({probe.threads for probe in measured}),
            "trials_at_once": slots,
            "torch": package_versions()["torch"],
        },
    }


def _summary_of(each: Estimate) -> dict[str, Any]:
    settings, durations = each.group.cells[0].config, each.durations()
    names = {"task": settings.task.name, "model": settings.model.name, "where": dict(each.group.differs)}
    if each.probe is None:
        return {**names, "trials": len(each.group.cells), "failure": each.failure}
    return {
        **names,
        "trials": len(each.group.cells),
        "seconds_per_step": each.probe.reading.step,
        "hours_per_trial": fmean(durations) / HOUR,
        "peak_memory_mb": each.probe.memory_mb,
        "device_hours": each.device_seconds() / HOUR,
    }


def grouped(cells: Sequence[Cell]) -> list[Group]:
    """Sort cells into groups of equal cost a step, in the order of their first cells."""
    found: dict[tuple[tuple[str, str], ...], list[Cell]] = {}
    for cell in cells:
        found.setdefault(tuple((k, repr(v)) for k, v in costs(cell.config).items()), []).append(cell)
    kinds = [costs(members[0].config) for members in found.values()]
    return [Group(tuple(members), _differences(costs(members[0].config), kinds)) for members in found.values()]


def costs(config: Config) -> dict[str, Any]:
    """The settings that decide what a step costs, by dotted key.

    Real numbers outside the backbone do not: they are rates, radii and noise.
    """
    return {
        key: value
        for key, value in _flat(config.to_dict())
        if key not in FREE
        and not key.startswith("tracking.")
        and (not key.startswith("optim.") or key == "optim.name")
        and (not isinstance(value, float) or key.startswith("backbone."))
    }


def _differences(own: dict[str, Any], everyone: list[dict[str, Any]]) -> dict[str, Any]:
    """What a group's settings have that others of the same task and model have not."""
    names = ("task.name", "model.name")
    kin = [other for other in everyone if all(other[name] == own[name] for name in names)]
    return {key: value for key, value in own.items() if any(other.get(key) != value for other in kin)}


def _flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shortened(config: Config, folder: Path, steps: int) -> Cell:
    """The same trial with fewer steps, validated twice if not as often as it is anyway."""
    steps = min(steps, config.train.max_steps)
    train = replace(
        config.train,
        max_steps=steps,
        val_every=min(config.train.val_every, max(1, steps // 2)),
        time_limit=None,
        chance_steps=None,
    )
    tracking = TrackingConfig(wandb="disabled")
    return cell_of(replace(config, train=train, tracking=tracking, out_dir=str(folder)))
