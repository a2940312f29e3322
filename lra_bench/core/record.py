"""The record of one trial: what was run, what came of it, and under which conditions. Written whatever happens."""

import math
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import write_atomically


class Status(StrEnum):
    """How a trial ended. Only PREEMPTED is to be continued; every other one is a result."""

    OK = "ok"
    CHANCE = "chance"
    DIVERGED = "diverged"
    OOM = "oom"
    TIMEOUT = "timeout"
    ERROR = "error"
    PREEMPTED = "preempted"

    @property
    def finished(self) -> bool:
        """Whether running the same trial again would be a repetition."""
        return self is not Status.PREEMPTED


def _finite_or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


Number = Annotated[float | None, AfterValidator(_finite_or_none)]
"""A measured number; None stands for NaN and infinity, which JSON cannot hold."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelInfo(_Part):
    """Which model, whose code, how large."""

    name: str
    origin: str = Field(description="distribution and version that the code came from")
    parameters: int = Field(description="trainable real numbers of the whole network")
    state_size: int = Field(description="real numbers carried per sequence, all layers, at the task's length")
    backend: str = Field(default="torch", description="what computed the heavy part of the mixers")


class TaskInfo(_Part):
    """Which task, and what its numbers are compared with."""

    name: str
    version: int
    fingerprint: str | None = Field(
        default=None, description="hash of generator version, parameters, data seed and file hashes"
    )
    metric: str
    higher_is_better: bool
    chance: float
    origin: Literal["official", "generated"] | None = Field(
        default=None, description="files that others published, or a generator of this project"
    )
    content: str | None = Field(default=None, description="hash of the arrays of official data")
    baselines: Mapping[str, Mapping[str, Number]] = Field(
        default_factory=dict,
        description="test metrics of trivial and of optimal predictors: {baseline: {metric: value}}",
    )


class Budget(_Part):
    """What the trial used, over all its interruptions."""

    steps: int
    examples: int
    seconds: float
    examples_per_second: Number
    peak_memory_mb: Number = Field(description="of the device, or of the process on a CPU")


class Selection(_Part):
    """Which step's weights were tested, and why."""

    rule: str
    step: int


class CurvePoint(_Part):
    """One point of the learning curve."""

    step: int
    train_loss: Number = None
    val: Mapping[str, Number] = Field(default_factory=dict)


class Environment(_Part):
    """Where the numbers come from."""

    commit: str | None = Field(description="git commit of the code, None for an installed package")
    dirty: bool | None
    python: str
    packages: dict[str, str]
    device: str
    precision: str
    threads: int


class Tracking(_Part):
    """Where else the trial was logged."""

    backend: Literal["wandb"]
    mode: str
    run_id: str
    url: str | None


class RunRecord(_Part):
    """One trial, one record.

    `config` is the whole resolved config. `learning_rates` gives each optimizer group's peak rate.
    `val` and `test` are taken at `selection.step`; `test` is evaluated once. All are empty where the trial
    ended before there was anything to select.
    """

    schema_version: Literal[1] = 1
    trial_id: str
    study: str
    status: Status
    message: str | None = Field(default=None, description="why the trial failed, in one line")
    failed_step: int | None = Field(default=None, description="optimizer step at which it diverged")
    model: ModelInfo | None = Field(description="None where the trial failed before the model was built")
    task: TaskInfo | None = Field(description="None where the trial failed before the task was built")
    track: Literal["uniform", "recipe"]
    protocol: Literal["clean", "legacy"]
    seed: int
    data_seed: int
    config: dict[str, Any]
    budget: Budget
    learning_rates: dict[str, float]
    selection: Selection | None = None
    val: Mapping[str, Number] = Field(default_factory=dict)
    test: Mapping[str, Number] = Field(default_factory=dict)
    curve: list[CurvePoint] = Field(default_factory=list)
    environment: Environment
    tracking: Tracking | None = None

    def write(self, path: Path) -> None:
        """Write as JSON, atomically: readers see the old file or the new one, never a part."""
        write_atomically(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """Read a record.

        Raises:
            LraBenchError: unreadable, not JSON, or not a record of a known schema; names the file and the field.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise LraBenchError(f"cannot read the record {path}: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise LraBenchError(f"{path} is not a valid run record: {where}: {first['msg']}") from error
