"""What W&B is told of a trial: the same whether it is told while the trial runs or afterwards."""

import hashlib
import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lra_bench.core.record import CurvePoint, RunRecord, Status
from lra_bench.core.record_versions import digest
from lra_bench.core.settings import NOT_RESULT_RELEVANT

RECORD = "trial_record"
"""Where a run's summary holds the trial's whole record, as JSON."""

FAILED = (Status.ERROR, Status.OOM)
"""Outcomes that make a run a failed one on W&B."""


@dataclass(frozen=True)
class Row:
    """All values logged at one optimizer step."""

    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class Extent:
    """How much of a history there is: the first `count` rows, and a hash of them."""

    count: int = 0
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.count}:{self.digest}"

    @classmethod
    def read(cls, text: str | None) -> "Extent":
        """From its text in a run's summary; nothing where there is none."""
        count, _, digest = (text or "0:").partition(":")
        return cls(int(count), digest)

    def after(self, row: Row) -> "Extent":
        """The extent with one row more."""
        line = json.dumps([self.digest, row.step, row.values], sort_keys=True)
        return Extent(self.count + 1, hashlib.sha256(line.encode()).hexdigest()[:16])


class HistoryFile:
    """Reads the rows of a growing `history.jsonl`, each once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0
        self._waiting: dict[int, dict[str, float]] = {}

    def rows(self, up_to: int | None = None) -> Iterator[Row]:
        """The rows that were not given before, up to a step; those beyond it are kept for the next call.

        A line that is still being written, and a point without a finite value, are left out.
        """
        for point in self._new_points():
            values = {f"val/{name}": value for name, value in point.val.items() if value is not None}
            if point.train_loss is not None:
                values["train/loss"] = point.train_loss
            if values:
                self._waiting.setdefault(point.step, {}).update(values)
        for step in sorted(self._waiting):
            if up_to is None or step <= up_to:
                yield Row(step, self._waiting.pop(step))

    def _new_points(self) -> list[CurvePoint]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._position)
            lines = [line for line in file if line.endswith(b"\n")]
        self._position += sum(map(len, lines))
        return [CurvePoint.from_json(line) for line in lines]


def run_config(config: dict[str, Any], trial_id: str) -> dict[str, Any]:
    """The run's config: fields to group by, and the trial's whole config, nested, under `config`.

    Where an agent runs a sweep, the client adds the sweep's parameters at the top, such as `model: stu` and
    `optim.lr: 0.01`. W&B finds there which cells have been run, so nothing else may stand under those names.
    """
    return {
        "trial": trial_id,
        "cell": cell_id(config),
        "task": config["task"]["name"],
        "model": config["model"]["name"],
        "lr": config["optim"]["lr"],
        **{key: config[key] for key in ("seed", "data_seed", "track", "protocol", "study")},
        "config": config,
    }


def cell_id(config: dict[str, Any]) -> str:
    """Eight hexadecimal digits, the same for trials that differ in nothing but their seeds."""
    content = deepcopy(config)
    for key in (*NOT_RESULT_RELEVANT, "seed", "data_seed"):
        section, _, name = key.rpartition(".")
        (content.get(section, {}) if section else content).pop(name, None)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def tags(config: dict[str, Any], status: Status | None = None) -> tuple[str, ...]:
    """Task, model, track, protocol and outcome; W&B takes up to 64 characters for each."""
    words = [config["task"]["name"], config["model"]["name"], config["track"], config["protocol"]]
    return tuple(word[:64] for word in [*words, *([str(status)] if status else [])])


def summary(record: RunRecord, extent: Extent) -> dict[str, Any]:
    """The outcome: validation metrics at the selected step, test metrics, what it cost, and how much history there is.

    `trial_record` is the whole record, so that it can be had back. `record` is a hash of all this, by which a run that
    is complete is known.
    """
    fields = json.loads(record.model_dump_json())
    content: dict[str, Any] = {
        "status": str(record.status),
        "message": record.message or "",
        "selected_step": record.selection.step if record.selection else None,
        **{f"val/{name}": value for name, value in record.val.items()},
        **{f"test/{name}": value for name, value in record.test.items()},
        **record.budget.model_dump(),
        "parameters": record.model.parameters if record.model else None,
        "state_size": record.model.state_size if record.model else None,
        "device": record.environment.device,
        "history": str(extent),
        RECORD: json.dumps({**fields, "digest": digest(fields)}),
    }
    return {**content, "record": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}
