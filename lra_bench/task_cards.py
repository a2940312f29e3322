"""What a task is: read off its class and spec, with the trivial baselines that were measured on its data.

`python -m lra_bench.task_cards FOLDER` measures the baselines of all tasks whose data are ready, for a checkout.
"""

import inspect
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

from lra_bench.building import build_task
from lra_bench.config.compose import compose_task
from lra_bench.config.files import SHIPPED, shipped_configs
from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import write_atomically
from lra_bench.core.registry import TASKS
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.data.datamodule import SequenceDataModule

FLOORS = "task_floors.json"


def facts(name: str) -> list[tuple[str, str]]:
    """What the spec of a task says, and what trivial predictors reach, as (heading, text)."""
    spec = _task(name).spec
    direction = "higher" if spec.higher_is_better else "lower"
    return [
        ("input", _input(spec)),
        ("output", _output(spec)),
        ("splits", f"{_count(spec.train_size)} / {spec.val_size:,} / {spec.test_size:,}"),
        ("metric", f"{spec.metric}, {direction} is better; chance {spec.chance:g}"),
        ("baselines", _baselines(name, spec.metric)),
        ("source", spec.source),
        ("licence", spec.licence),
    ]


def description(name: str) -> str:
    """The docstring of a task's class: what it is, what published code does, and what is followed here."""
    return inspect.getdoc(TASKS.load(name, SequenceDataModule)) or "No description."


def page() -> str:
    """All shipped tasks as Markdown."""
    described = shipped_configs("task")
    parts = [
        "# Tasks\n\nSplits are training, validation and test examples under the clean protocol, before duplicates are "
        "left out. Baselines are measured on the test split. Of the prepared tasks they are the most frequent class, "
        "the most frequent class given the first token, and logistic regression on how often each token or grey level "
        "occurs.",
        "![16 images of each class of Pathfinder at 32 and at 128 pixels](pathfinder.png)",
    ]
    for name in sorted(described):
        listed = "\n".join(f"- {heading}: {text}" for heading, text in facts(name))
        parts.append(f"## {name}\n\n{described[name]}\n\n{listed}\n\n```text\n{description(name)}\n```")
    return "\n\n".join(parts) + "\n"


def measure(known: dict[str, Any]) -> dict[str, Any]:
    """The baselines of every shipped task whose data are ready, and what is known of the others."""
    measured = dict(known)
    for name in sorted(shipped_configs("task")):
        task = _task(name)
        try:
            task.require_data()
        except LraBenchError:
            continue
        measured[name] = {"origin": task.origin, "fingerprint": task.fingerprint(), "baselines": task.baselines()}
    return measured


def main(root: Path) -> None:
    """Write what was measured into a checkout."""
    path = root / "configs" / FLOORS
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_atomically(path, json.dumps(measure(known), indent=1, sort_keys=True) + "\n")


@cache
def _task(name: str) -> SequenceDataModule:
    return build_task(compose_task(name))


def _input(spec: TaskSpec) -> str:
    kind = f"{spec.input_size} token ids" if spec.input is InputKind.TOKENS else _channels(spec.input_size)
    pair = "two sequences, each " if spec.output is OutputKind.CLASSIFY_PAIR else ""
    return f"{pair}up to {spec.seq_len:,} steps, {kind}"


def _channels(count: int) -> str:
    return "one real number a step" if count == 1 else f"{count} real numbers a step"


def _output(spec: TaskSpec) -> str:
    if spec.output is OutputKind.REGRESS_SEQUENCE:
        return f"{_channels(spec.output_size)}"
    return f"one of {spec.output_size} classes{' a step' if spec.output.per_step else ''}"


def _count(size: int | None) -> str:
    return "endless" if size is None else f"{size:,}"


def _baselines(name: str, metric: str) -> str:
    measured = json.loads((SHIPPED / FLOORS).read_text(encoding="utf-8")).get(name)
    if measured is None:
        return "not measured by the authors, who do not have the data; `data prepare` measures them"
    named = ", ".join(
        f"{baseline.replace('_', ' ')} {values[metric]:.4g}" for baseline, values in measured["baselines"].items()
    )
    return f"{named} (measured, {measured['origin']} data)"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
