"""What the store holds for each task, for people and as JSON."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import click
from rich.markup import escape

from lra_bench.building import build_task
from lra_bench.cli.show import print_table
from lra_bench.config.compose import compose_task
from lra_bench.config.schema import Config
from lra_bench.core.errors import ConfigError, LraBenchError
from lra_bench.core.registry import TASKS
from lra_bench.data.datamodule import SequenceDataModule, Split
from lra_bench.data.floors import BAG
from lra_bench.data.prepared import PreparedTask
from lra_bench.data.store import State, folder_of, open_folder, state_of, store_folder, stored_sets

STREAMED = "generated while training"
"""State of a task that keeps nothing in the store."""

WIDTH = 100
"""Columns of what is printed."""

WEAKER_FLOORS = (
    "the bag of tokens, often the best of these, is measured where scikit-learn is: pip install 'lra-bench[floors]' "
    "(in a checkout: pip install -c constraints.txt -e '.[floors]')"
)

Protocol = Literal["clean", "legacy"]


@dataclass(frozen=True)
class TaskState:
    """Whether a task can be trained on.

    Attributes:
        task: its name.
        state: ready, missing, wrong, or `STREAMED`.
        why: what is wrong.
        folder: of the set that the task reads by default, "<dataset>/<variant>"; empty where it reads none.
        bytes: on disk.
        command: that prepares it, where that is needed.
    """

    task: str
    state: str
    why: str = ""
    folder: str = ""
    bytes: int = 0
    command: str = ""


@dataclass(frozen=True)
class OtherSet:
    """A set in the store that no task reads by default: of another size, data seed or version.

    Attributes:
        folder: "<dataset>/<variant>".
        state: ready or wrong.
        why: what is wrong.
        bytes: on disk.
        options: what was asked for when it was made.
    """

    folder: str
    state: str
    why: str
    bytes: int
    options: dict[str, Any]


def task_state(name: str) -> TaskState:
    """The state of a task with its default settings."""
    try:
        task = build_task(compose_task(name))
    except ConfigError as error:
        return TaskState(name, State.WRONG, str(error))
    if not isinstance(task, PreparedTask):
        return TaskState(name, STREAMED)
    state, why = state_of(task.key())
    folder = folder_of(task.key())
    command = "" if state is State.READY else task.prepare_command()
    return TaskState(name, state, why, _name(folder), size_on_disk(folder), command)


def other_sets(states: Sequence[TaskState], of_these_only: bool) -> list[OtherSet]:
    """The sets in the store that are none of the states'.

    Args:
        states: of tasks.
        of_these_only: leave out the data of other tasks.
    """
    known = {state.folder for state in states}
    datasets = {state.folder.partition("/")[0] for state in states}
    return [
        _other(folder)
        for folder in stored_sets()
        if _name(folder) not in known and (folder.parent.name in datasets or not of_these_only)
    ]


def require_sets(names: Sequence[str]) -> list[Path]:
    """Folders of all sets in the store, or of those that belong to some tasks, of which each has at least one.

    Raises:
        LraBenchError: a task has none; says which command to run.
    """
    folders = list(stored_sets())
    wanted = {_prepared_class(name).dataset: name for name in names}
    for dataset in wanted.keys() - {folder.parent.name for folder in folders}:
        raise LraBenchError(f"{wanted[dataset]} is not prepared. Run: {task_state(wanted[dataset]).command}")
    return [folder for folder in folders if not names or folder.parent.name in wanted]


def summary(config: Config) -> list[list[str]]:
    """(what, found) of the prepared set of a config, for `print_table`."""
    task = build_task(config)
    assert isinstance(task, PreparedTask)
    manifest = task.data.manifest
    floors = {name: values["accuracy"] for name, values in task.baselines().items() if "accuracy" in values}
    rows = [
        ["source", manifest.source],
        ["licence", manifest.licence],
        *([f"examples, {protocol}", _examples(config, protocol)] for protocol in get_args(Protocol)),
        *([name, _said(value)] for name, value in manifest.facts.items()),
        *([f"skipped, {name}", f"{count:,}"] for name, count in manifest.skipped.items()),
        *(["note", note] for note in manifest.notes),
        [f"test accuracy of trivial predictors, {task.protocol}", _said(floors)],
        *([] if BAG in floors else [["note", WEAKER_FLOORS]]),
        ["folder", str(task.data.folder)],
        ["size", megabytes(size_on_disk(task.data.folder))],
    ]
    return [[escape(cell) for cell in row] for row in rows]


def print_status(states: Sequence[TaskState], others: Sequence[OtherSet]) -> None:
    """Tables of tasks and other sets, and the commands that prepare what is not ready."""
    print_table(
        ["task", "state", "size", "set"],
        [[s.task, styled(s.state), megabytes(s.bytes) if s.bytes else "", s.folder] for s in states],
    )
    for state in states:
        if state.why:
            click.echo("\n" + click.wrap_text(f"{state.task}: {state.why}", WIDTH))
    commands = [f"  {state.command}" for state in states if state.command]
    if commands:
        click.echo("\n".join(["", "To prepare:", *commands]))
    if others:
        click.echo("\nOther sets in the store:")
        rows = [[o.folder, styled(o.state), megabytes(o.bytes), escape(o.why or _said(o.options))] for o in others]
        print_table(["set", "state", "size", "made with"], rows)
    click.echo(f"\nStore: {store_folder()}")


def styled(state: str) -> str:
    """A state in its colour, for tables."""
    colours = {State.READY: "green", State.MISSING: "yellow", State.WRONG: "red"}
    colour = colours.get(State(state)) if state in list(State) else None
    return f"[{colour}]{state}[/{colour}]" if colour else state


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def size_on_disk(folder: Path) -> int:
    """Bytes of the files in a folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def megabytes(size: int) -> str:
    """A size as people read it."""
    return f"{size / 1e6:,.1f} MB"


def _prepared_class(name: str) -> type[PreparedTask]:
    cls = TASKS.load(name, SequenceDataModule)
    if not issubclass(cls, PreparedTask):
        raise ConfigError(f"{name} is {STREAMED}; it keeps nothing in the store")
    prepared: type[PreparedTask] = cls
    return prepared


def _other(folder: Path) -> OtherSet:
    state, why, options = State.READY, "", {}
    try:
        options = open_folder(folder).manifest.options
    except LraBenchError as error:
        state, why = State.WRONG, str(error)
    return OtherSet(_name(folder), state, why, size_on_disk(folder), options)


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _examples(config: Config, protocol: Protocol) -> str:
    task = build_task(replace(config, protocol=protocol))
    return ", ".join(f"{split} {task.source(split).size:,}" for split in get_args(Split))


def _said(value: Any) -> str:
    """A fact in words: numbers with thousands apart, mappings and lists one after the other."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
