"""How far the cells of a sweep are: thousands of folders looked at in a moment, again and again."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import Status
from lra_bench.trials.plan import Cell
from lra_bench.trials.state import Progress, last_program, progress

UNREADABLE = "unreadable"
STATUSES = (
    *(Progress.WAITING, Progress.INTERRUPTED, Progress.RUNNING),
    *(status for status in Status if status.finished),
    UNREADABLE,
)
"""All that can be said of a cell, in the order of its life."""
MEASURES = {Status.OK, Status.CHANCE, Status.DIVERGED, Status.TIMEOUT}
"""Endings that say how long trials of a kind take; the others are accidents."""
TAIL = 4096
"""Bytes from the end of a history that hold its last line."""
STATUS = re.compile(rb'^  "status": "(\w+)"', re.MULTILINE)
SECONDS = re.compile(rb'^  "budget": \{[^}]*?"seconds": ([^,}\s]+)', re.MULTILINE)
MEMBERS = re.compile(rb'^  "engine": \{[^}]*?"members": (\d+)', re.MULTILINE)
"""What is needed of a record as `RunRecord.write` lays it out, at a twentieth of the time of reading it whole."""


@dataclass(frozen=True)
class CellState:
    """What the disk says about a cell.

    Attributes:
        cell: the cell.
        status: one of `STATUSES`.
        step: of its last log line, for a trial that runs or was interrupted.
        seconds: that the trial took, from its first step to its record, where it is over; of a program that trained
            several, its share.
        problem: why its record cannot be read, in one line.
    """

    cell: Cell
    status: str
    step: int = 0
    seconds: float | None = None
    problem: str | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is left to be run."""
        return self.status not in tuple(Progress)


class Overview:
    """Looks at cells; a record that has not changed since the last look is not read again."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self._known: dict[Path, tuple[int, CellState]] = {}

    def look(self) -> list[CellState]:
        """The state of every cell, in their order."""
        return [self._state(cell) for cell in self.cells]

    def _state(self, cell: Cell) -> CellState:
        try:
            written = os.stat(f"{cell.folder}/record.json").st_mtime_ns  # noqa: PTH116 (a third of the time)
        except OSError:
            return _unfinished(cell)
        stamp, state = self._known.get(cell.folder, (None, None))
        if state is None or stamp != written:
            state = _recorded(cell, written / 1e9)
            self._known[cell.folder] = written, state
        return _unfinished(cell) if state.status == Status.PREEMPTED else state


def seconds_left(states: Iterable[CellState]) -> float | None:
    """Seconds that one trial after the other would still take, or None where no trial is over that tells.

    A cell takes as long a step as finished ones of its model and task on average, or else of its task, or else of all.
    """
    states = list(states)
    rates: dict[tuple[str, ...], list[float]] = {}
    for state in states:
        if state.seconds is not None and state.status in MEASURES:
            for kind in _kinds(state.cell):
                rates.setdefault(kind, []).append(state.seconds / state.cell.config.train.max_steps)
    if not rates:
        return None
    left = 0.0
    for state in states:
        if not state.done:
            known = next(rates[kind] for kind in _kinds(state.cell) if kind in rates)
            left += sum(known) / len(known) * max(0, state.cell.config.train.max_steps - state.step)
    return left


def at_once(states: Iterable[CellState]) -> int:
    """How many processes the running trials have: those of one program have one between them."""
    running = [state.cell.folder for state in states if state.status == Progress.RUNNING]
    return len({last_program(folder) or folder for folder in running})


def _kinds(cell: Cell) -> tuple[tuple[str, ...], ...]:
    """From what is most alike to what is least."""
    task, model = cell.config.task.name, cell.config.model.name
    return (task, model), (task,), ()


def _recorded(cell: Cell, written: float) -> CellState:
    """The state that a record, written at a time in seconds, gives to its cell."""
    path = cell.folder / "record.json"
    try:
        status, training, members = _outcome(path.read_bytes())
    except OSError as error:
        return CellState(cell, UNREADABLE, problem=f"{path}: {error.strerror}")
    except (ValueError, KeyError, TypeError) as error:
        return CellState(cell, UNREADABLE, problem=f"{path}: {type(error).__name__}: {' '.join(str(error).split())}")
    seconds = training + _after_training(cell, written) / members if training else None
    return CellState(cell, status, seconds=seconds)


def _outcome(content: bytes) -> tuple[Status, float, int]:
    """Status, seconds of training, and members of the program, of a record."""
    status, seconds, members = STATUS.search(content), SECONDS.search(content), MEMBERS.search(content)
    if status and seconds and content.startswith(b"{\n") and content.endswith(b"\n}\n"):
        return Status(status[1].decode()), float(seconds[1]), int(members[1]) if members else 1
    record = json.loads(content)
    status_of, seconds_of = Status(record["status"]), float(record["budget"]["seconds"])
    return status_of, seconds_of, int(record.get("engine", {"members": 1})["members"])


def _after_training(cell: Cell, written: float) -> float:
    """Seconds from the last point of the learning curve to the record: testing, and saving."""
    try:
        return max(0.0, written - os.stat(f"{cell.folder}/history.jsonl").st_mtime)  # noqa: PTH116
    except OSError:
        return 0.0


def _unfinished(cell: Cell) -> CellState:
    try:
        status = progress(cell.folder)
    except LraBenchError as error:
        return CellState(cell, UNREADABLE, problem=str(error))
    if status is Progress.DONE:  # since the last look
        return _recorded(cell, (cell.folder / "record.json").stat().st_mtime)
    return CellState(cell, status, 0 if status is Progress.WAITING else last_step(cell.folder))


def last_step(folder: Path) -> int:
    """The step of the last whole line of a trial's history; 0 before there is one."""
    try:
        with (folder / "history.jsonl").open("rb") as file:
            file.seek(-min(TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
            lines = file.read().split(b"\n")
            return int(json.loads(lines[-2])["step"])
    except (OSError, IndexError, ValueError, KeyError, TypeError):
        return 0
