"""Runs of other code as records: a mapping says where they keep what a record needs. Nothing is guessed."""

import hashlib
import math
import re
from collections.abc import Mapping as Values
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lra_bench.core.errors import ConfigError
from lra_bench.core.record import (
    Budget,
    CurvePoint,
    Environment,
    ModelInfo,
    RunRecord,
    Selection,
    Status,
    TaskInfo,
    Tracking,
)
from lra_bench.tracking.logged import LoggedRun, NotThereError, UnusableError, look_up, number, thinned

NO_VERSION = 0
"""Version of a task that others defined, so that no version of ours has it."""

UNKNOWN = "unknown"
SECRET = re.compile(
    r"(api|access|auth|private|secret|hf|github|wandb)[_-]?(key|token)|^token$|secret|passw|credential", re.IGNORECASE
)
"""Config keys whose texts do not go into records."""


class Mapping(BaseModel):
    """Where runs keep what a record needs.

    `config.KEY` and `summary.KEY` are read from each run, `history.KEY` from its history; anything else is the value.

    Attributes:
        task: name of the task; what others call so is never taken for a version of ours.
        metric: the task's metric, which `val` and `test` are.
        higher_is_better: its direction.
        chance: what a trivial predictor reaches.
        protocol: `clean` if the step was selected on validation data that are no test data, and tested once.
        unit: `percent` where values are 0 to 100.
        model: name of the model.
        lr: learning rate.
        seed: of the run.
        steps: optimizer steps.
        val: metric on the validation data at the selected step.
        test: metric on the test data at the selected step.
        data_seed: of generated data.
        batch_size: examples per step.
        parameters: trainable real numbers.
        state_size: real numbers carried per sequence.
        selected_step: optimizer step at which `val` and `test` were taken.
        curve: metric on the validation data along the run; needs `curve_step`.
        curve_step: optimizer step of a point of the curve.
        ignore: config keys in which runs of one row may differ.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    metric: str
    higher_is_better: bool
    chance: float
    protocol: Literal["clean", "legacy"]
    unit: Literal["share", "percent"] = "share"
    model: str
    lr: str | float
    seed: str | int
    steps: str | int
    val: str
    test: str
    data_seed: str | int = 0
    batch_size: str | int | None = None
    parameters: str | int | None = None
    state_size: str | int | None = None
    selected_step: str | int | None = None
    curve: str | None = None
    curve_step: str | None = None
    ignore: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "Mapping":
        """Read a YAML file.

        Raises:
            ConfigError: it cannot be read, or something in it is missing, unknown or wrong.
        """
        try:
            mapping = cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"cannot read {path}: {' '.join(str(error).split())}") from error
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
            raise ConfigError(f"{path} is no mapping (lra-bench results import --help shows one): {wrong}") from error
        for key, place in (("curve", mapping.curve), ("curve_step", mapping.curve_step)):
            if place is not None and not place.startswith("history."):
                raise ConfigError(f"{path}: {key} must be history.KEY, not {place!r}")
        if (mapping.curve is None) != (mapping.curve_step is None):
            raise ConfigError(f"{path}: curve and curve_step belong together")
        return mapping

    def record(self, run: LoggedRun) -> RunRecord:
        """The record of a run of other code, which says in every table that it is one.

        Raises:
            UnusableError: the run is not over, or lacks something.
        """
        failed = run.state in ("failed", "crashed")
        if not failed and run.state != "finished":
            raise UnusableError(f"is not over: W&B says {run.state}" if run.state else "does not say that it finished")
        nothing_logged = failed and "_step" not in run.summary
        steps = 0 if nothing_logged else _whole(run, "steps", self.steps)
        rate, seed = _number(run, "lr", self.lr), _whole(run, "seed", self.seed)
        if not 0 < rate < math.inf:
            raise UnusableError(f"has {rate} as learning rate ({self.lr})")
        if run.seconds is None and not failed:
            raise UnusableError("does not say how long it ran (_runtime in its summary)")
        home = run.path.rpartition("/")[0]
        name = f"{_read(run, 'model', self.model)} (W&B: {home})"
        study = f"wandb-{safe(run.project)}"
        data_seed = _whole(run, "data_seed", self.data_seed)
        selected = _optional(run, "selected_step", self.selected_step)
        batch_size = _optional(run, "batch_size", self.batch_size)
        return RunRecord(
            trial_id=trial_id(run),
            study=study,
            status=Status.ERROR if failed else Status.OK,
            message=f"{f'W&B says: {run.state}; ' if failed else ''}made by other code, imported from W&B {run.path}",
            model=ModelInfo(
                name=name,
                origin=f"other code, W&B run {run.path}",
                parameters=_optional(run, "parameters", self.parameters),
                state_size=_optional(run, "state_size", self.state_size),
                backend=UNKNOWN,
            ),
            task=TaskInfo(
                name=self.task,
                version=NO_VERSION,
                metric=self.metric,
                higher_is_better=self.higher_is_better,
                chance=self.chance,
            ),
            track="recipe",
            protocol=self.protocol,
            seed=seed,
            data_seed=data_seed,
            config={
                "task": {"name": self.task},
                "model": {"name": name},
                "optim": {"lr": rate},
                "wandb": self._compared(run.config),
                "tracking": {"wandb": "disabled", "project": run.project},
                "seed": seed,
                "data_seed": data_seed,
                "track": "recipe",
                "protocol": self.protocol,
                "study": study,
                "out_dir": "runs",
            },
            budget=Budget(
                steps=steps,
                examples=None if batch_size is None else steps * batch_size,
                seconds=run.seconds or 0.0,
                examples_per_second=None,
                peak_memory_mb=None,
            ),
            learning_rates={"main": rate},
            selection=None if selected is None or failed else Selection(rule=f"as {run.path} did", step=selected),
            val={} if failed else {self.metric: self._metric(run, "val", self.val)},
            test={} if failed else {self.metric: self._metric(run, "test", self.test)},
            curve=self._points(run) if self.curve else [],
            environment=Environment(
                commit=run.commit,
                dirty=None,
                python=run.python or UNKNOWN,
                packages={},
                device=run.device or UNKNOWN,
                precision=UNKNOWN,
                threads=None,
            ),
            tracking=Tracking(backend="wandb", mode="online" if run.url else "offline", run_id=run.run_id, url=run.url),
        )

    def _metric(self, run: LoggedRun, name: str, place: str) -> float:
        return self._scaled(_number(run, name, place), f"{name} ({place})")

    def _scaled(self, value: float, name: str) -> float:
        value = value / 100 if self.unit == "percent" else value
        if self.metric == "accuracy" and (value < 0 or 1 < value < math.inf):
            hint = "" if self.unit == "percent" else "; if accuracies are 0 to 100, add `unit: percent` to the mapping"
            raise UnusableError(f"has {value:g} as {name}, which is no accuracy{hint}")
        return value

    def _points(self, run: LoggedRun) -> list[CurvePoint]:
        assert self.curve is not None
        assert self.curve_step is not None
        value_key, step_key = self.curve.partition(".")[2], self.curve_step.partition(".")[2]
        points = []
        for row in run.rows():
            value, step = number(row.get(value_key)), number(row.get(step_key))
            if value is not None and step is not None and step.is_integer():
                points.append(CurvePoint(step=int(step), val={self.metric: self._scaled(value, self.curve)}))
        return thinned(points)

    def _compared(self, config: dict[str, Any]) -> dict[str, Any]:
        """The run's config without what its row may differ in, W&B's own entries, and secrets."""
        swept = [str(place) for place in (self.lr, self.seed, self.data_seed)]
        keys = [place.partition(".")[2] for place in swept if place.startswith("config.")]
        for key in ("_wandb", *keys, *self.ignore):
            config = _without(config, key)
        cleaned = _clean(config)
        assert isinstance(cleaned, dict)
        return cleaned


def trial_id(run: LoggedRun) -> str:
    """An id made of project and run id, which is a safe name for a folder; what had to be changed is hashed."""
    names = run.project, run.run_id
    parts = [safe(name) for name in names]
    digest = hashlib.sha256("/".join(names).encode()).hexdigest()[:8]
    return "-".join(["wandb", *parts, *([digest] if parts != list(names) else [])])


def safe(name: str) -> str:
    """A name as part of a folder's name: letters, digits, `_`, `-` and inner dots, at most 40 of them."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:40].strip("-.") or "unnamed"


def _read(run: LoggedRun, name: str, place: Any) -> Any:
    """What a run has at a place; a place that is none is the value itself."""
    scope, dot, key = place.partition(".") if isinstance(place, str) else ("", "", "")
    if not dot or scope not in ("config", "summary"):
        return place
    try:
        return look_up(run.config if scope == "config" else run.summary, key)
    except NotThereError as error:
        raise UnusableError(f"has no {place} ({name} of the mapping)") from error


def _number(run: LoggedRun, name: str, place: Any) -> float:
    value = _read(run, name, place)
    found = number(value)
    if found is None and value is place:  # YAML takes 1e-3 for a text
        try:
            found = float(value)
        except ValueError:
            found = None
    if found is None:
        raise UnusableError(f"has no number as {name} ({place})")
    return found


def _whole(run: LoggedRun, name: str, place: Any) -> int:
    value = _number(run, name, place)
    if not value.is_integer() or value < 0:
        raise UnusableError(f"has {value:g} as {name} ({place}), which must be a whole number, zero or more")
    return int(value)


def _optional(run: LoggedRun, name: str, place: Any) -> int | None:
    return None if place is None else _whole(run, name, place)


def _without(config: Values[str, Any], key: str) -> dict[str, Any]:
    """The config without a key, which may be dotted where values are nested."""
    if key in config:
        return {name: value for name, value in config.items() if name != key}
    section, _, rest = key.partition(".")
    inner = config.get(section)
    return {**config, section: _without(inner, rest)} if rest and isinstance(inner, Values) else dict(config)


def _clean(value: Any) -> Any:
    """Without secrets, and without numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {
            key: _clean(inner) for key, inner in value.items() if not (isinstance(inner, str) and SECRET.search(key))
        }
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
