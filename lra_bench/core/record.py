"""The record of one trial: what was run, what came of it, and under which conditions. Written whatever happens."""

import math
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import from_json

from lra_bench.core import record_versions
from lra_bench.core.errors import FileError
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

    name: str = Field(description="under which the model was asked for")
    origin: str = Field(description="distribution and version that the code came from")
    parameters: int | None = Field(description="trainable real numbers of the whole network, null where not known")
    state_size: int | None = Field(
        description="real numbers carried per sequence, all layers, at the task's length; null where not known"
    )
    backend: str = Field(default="torch", description="what computed the heavy part of the mixers")


class TaskInfo(_Part):
    """Which task, and what its numbers are compared with."""

    name: str = Field(description="under which the task was asked for")
    version: int = Field(description="of the task; numbers of two versions are not compared")
    fingerprint: str | None = Field(
        default=None, description="hash of generator version, parameters, data seed and file hashes"
    )
    metric: str = Field(description="name of the metric that selects and ranks")
    higher_is_better: bool = Field(description="which way the metric goes")
    chance: FiniteFloat = Field(description="the metric of a predictor that has learnt nothing")
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

    steps: int = Field(description="optimizer steps")
    examples: int | None = Field(description="training examples seen, each as often as it was; null where not known")
    seconds: FiniteFloat = Field(description="of training; of a program that trained several trials, the trial's share")
    examples_per_second: Number = Field(description="training examples by seconds; null before the first step")
    peak_memory_mb: Number = Field(description="of the device, or of the process on a CPU, in units of 1e6 bytes")


class Selection(_Part):
    """Which step's weights were tested, and why."""

    rule: str = Field(description="by which the step was selected, in words")
    step: int = Field(description="the optimizer step")


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class CurvePoint:
    """One point of the learning curve. There are very many, so it is less of an object than the other parts."""

    step: int = Field(description="optimizer steps done")
    train_loss: Number = Field(default=None, description="mean training loss since the last such point")
    val: Mapping[str, Number] = Field(default_factory=dict, description="validation metrics: {metric: value}")

    @classmethod
    def from_json(cls, line: str | bytes) -> "CurvePoint":
        """Read a line of a history.

        Raises:
            ValidationError: of pydantic: it is none.
        """
        return _POINT.validate_json(line)

    def to_dict(self) -> dict[str, Any]:
        """The point without what it does not have."""
        fields: dict[str, Any] = _POINT.dump_python(self, exclude_defaults=True)
        return fields


_POINT = TypeAdapter(CurvePoint)


class Environment(_Part):
    """Where the numbers come from."""

    commit: str | None = Field(description="git commit of the code, null for an installed package")
    dirty: bool | None = Field(description="whether the code was changed since that commit")
    python: str = Field(description="version of Python")
    packages: dict[str, str] = Field(description="versions of the packages that results depend on")
    device: str = Field(description="what it was trained on")
    precision: str = Field(description="of the arithmetic, as Lightning names it")
    threads: int | None = Field(description="CPU threads of torch, null where not known")


class Engine(_Part):
    """What trained the trial. Of several in one program, each has its share of the time and the peak of all memory."""

    name: Literal["alone", "stacked"] = Field(default="alone", description="a program of its own, or one with others")
    members: int = Field(default=1, description="trials that were in the program when it began")


ALONE = Engine()
"""What a record that names no engine was trained by, as all those that are older than engines."""


class Tracking(_Part):
    """Where else the trial was logged."""

    backend: Literal["wandb"] = Field(description="the service")
    mode: str = Field(description="online or offline")
    run_id: str = Field(description="of the run there")
    url: str | None = Field(description="of the run's page, null where it has none")


class RunRecord(_Part):
    """One trial, one record. Validation and test metrics are taken at the selected step; the test metrics once.

    What follows from training is empty where the trial ended before there was anything to select.
    """

    schema_version: Literal[2] = Field(default=2, description="of this layout")
    trial_id: str = Field(description="hash of what makes it this trial: the part of the config that decides results")
    study: str = Field(description="name under which trials were run together")
    status: Status = Field(description="how the trial ended")
    message: str | None = Field(default=None, description="why the trial failed, in one line")
    failed_step: int | None = Field(default=None, description="optimizer step at which it diverged")
    model: ModelInfo | None = Field(description="null where the trial failed before the model was built")
    task: TaskInfo | None = Field(description="null where the trial failed before the task was built")
    track: Literal["uniform", "recipe"] = Field(
        description="one set of settings for all models of a task, or a recipe of the model's own"
    )
    protocol: Literal["clean", "legacy"] = Field(
        description="selection on a validation split of its own, or on the split that older papers used"
    )
    seed: int = Field(description="of weights, order of examples and dropout")
    data_seed: int = Field(description="of generated data")
    config: dict[str, Any] = Field(description="the whole resolved config")
    budget: Budget = Field(description="what the trial used")
    learning_rates: dict[str, FiniteFloat] = Field(description="peak learning rate of each optimizer group")
    selection: Selection | None = Field(default=None, description="the step whose weights were tested")
    val: Mapping[str, Number] = Field(default_factory=dict, description="validation metrics: {metric: value}")
    test: Mapping[str, Number] = Field(default_factory=dict, description="test metrics: {metric: value}")
    curve: list[CurvePoint] = Field(default_factory=list, description="the learning curve, its training points thinned")
    environment: Environment = Field(description="code, packages and device")
    engine: Engine = Field(
        default=ALONE,
        exclude_if=lambda engine: engine == ALONE,
        description="what trained it; left out where it was trained alone",
    )
    tracking: Tracking | None = Field(default=None, description="where else the trial was logged")
    digest: str | None = Field(
        default=None,
        description="SHA-256 of all other fields as JSON with sorted keys, no spaces and no characters beyond ASCII; "
        "null only in memory, before a record is written and for one of version 1",
    )

    def write(self, path: Path) -> "RunRecord":
        """Write as JSON, atomically: readers see the old file or the new one, never a part.

        Returns:
            The record with its digest, as `read` gives it.
        """
        digest = record_versions.digest(from_json(self.model_dump_json()))
        record = self.model_copy(update={"digest": digest})
        write_atomically(path, record.model_dump_json(indent=2) + "\n")
        return record

    @classmethod
    def read(cls, path: Path) -> "RunRecord":
        """Read a record of any version; one of an older version is brought up to this one in memory.

        Raises:
            FileError: unreadable, not JSON, not a record of a known version, or changed since it was written; names
                the file, and the field where one is to blame.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FileError(path, f"cannot be read: {error.strerror}") from error
        return cls.parse(path, content)

    @classmethod
    def parse(cls, path: Path, content: bytes) -> "RunRecord":
        """What `read` does, with the content of the file at `path`."""
        fields = record_versions.parse(path, content)
        try:
            record = cls.model_validate(record_versions.upgraded(fields))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])).encode("unicode_escape").decode()
            raise record_versions.invalid(path, f"{where}: {first['msg']}") from error
        record_versions.check_digest(path, fields)
        return record
