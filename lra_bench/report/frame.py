"""Records as a pandas table, for notebooks and for the command line alike."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lra_bench.core.errors import LraBenchError
from lra_bench.report.aggregate import aggregate
from lra_bench.report.board import Board
from lra_bench.report.content import Problem
from lra_bench.report.files.records import find_trials
from lra_bench.report.sensitivity_frame import frame as sensitivity_frame
from lra_bench.report.standings import assembly as standings
from lra_bench.report.trial import Trial

UNREADABLE = "unreadable"
"""Status of a file that should be a record and is of no use."""


def load_records(*paths: str | Path, on_file: Callable[[int, int], None] | None = None) -> pd.DataFrame:
    """Read every record at or below `paths`; see `frame_of`.

    Args:
        paths: run folders, folders of submissions, trial folders or record files.
        on_file: called with the number of files read so far and the number of all.

    Raises:
        LraBenchError: a path does not exist, or there is no record at all.
    """
    return frame_of(*find_trials([Path(path) for path in paths], on_file))


def frame_of(trials: Iterable[Trial], problems: Iterable[Problem] = ()) -> pd.DataFrame:
    """Trials as a table.

    Returns:
        A row per file: `trial_id`, `study`, `status`, `message`, `model`, `task`, `task_version`, `origin`, `track`,
        `protocol`, `tier`, `submission`, `seed`, `data_seed`, `learning_rate`, `metric`, `val`, `test` (of the primary
        metric), `step`, `steps`, `seconds`, `examples_per_second`, `peak_memory_mb`, `parameters`, `state_size`,
        `device`, `commit`, `file`, and `trial`, which holds the whole record. A file that cannot be read has the status
        `unreadable`, the reason as its message, and no trial.
    """
    return pd.DataFrame([*map(_line, trials), *map(_unreadable, problems)], columns=list(_COLUMNS))


def trials_of(frame: pd.DataFrame) -> list[Trial]:
    """The trials of a table of records, or of a part of it.

    Raises:
        LraBenchError: the table has no column `trial`.
    """
    if "trial" not in frame:
        raise LraBenchError("the table has no column `trial`: filter its rows, and keep its columns")
    return [trial for trial in frame["trial"] if isinstance(trial, Trial)]


def problems_of(frame: pd.DataFrame) -> list[Problem]:
    """The files in a table of records that could not be read."""
    lines = frame[frame["status"] == UNREADABLE]
    return [Problem(Path(place), reason) for place, reason in zip(lines["file"], lines["message"], strict=True)]


def boards(frame: pd.DataFrame, mix: bool = False) -> list[Board]:
    """The boards of a table of records: what may be compared with what. The figures are drawn of these.

    Args:
        frame: of `load_records`, or some rows of it.
        mix: different tracks and protocols share boards.

    Raises:
        LraBenchError: see `aggregate`.
    """
    return aggregate(trials_of(frame), mix)


def leaderboard(frame: pd.DataFrame, against: str | None = None, mix: bool = False) -> pd.DataFrame:
    """The leaderboards as one tidy table: a row per table, model and task or average. What `leaderboard.csv` holds.

    Args:
        frame: of `load_records`, or some rows of it.
        against: name of a published row, to which the difference is shown.
        mix: different tracks and protocols share tables.

    Raises:
        LraBenchError: see `aggregate`; or nothing of that name was published.
    """
    return standings.frame(standings.standings(boards(frame, mix), against, mix))


def sensitivity(frame: pd.DataFrame, mix: bool = False) -> pd.DataFrame:
    """How each model depends on its learning rate: a row per task and model. What `sensitivity.csv` holds.

    Args:
        frame: of `load_records`, or some rows of it.
        mix: different tracks and protocols share boards.

    Raises:
        LraBenchError: see `aggregate`.
    """
    return sensitivity_frame(boards(frame, mix))


def _line(trial: Trial) -> Sequence[Any]:
    return [read(trial) for read in _COLUMNS.values()]


def _unreadable(problem: Problem) -> Sequence[Any]:
    known = {"status": UNREADABLE, "message": problem.reason, "file": str(problem.place)}
    return [known.get(column) for column in _COLUMNS]


def _metric(trial: Trial) -> str | None:
    return trial.record.task.metric if trial.record.task else None


def _setting(trial: Trial, section: str, key: str) -> Any:
    value = trial.record.config.get(section)
    return value.get(key) if isinstance(value, dict) else None


def _measured(trial: Trial, values: Any) -> float:
    value = values.get(_metric(trial))
    return math.nan if value is None else value


_COLUMNS: dict[str, Callable[[Trial], Any]] = {
    "trial_id": lambda trial: trial.record.trial_id,
    "study": lambda trial: trial.record.study,
    "status": lambda trial: trial.record.status.value,
    "message": lambda trial: trial.record.message,
    "model": lambda trial: _setting(trial, "model", "name"),
    "task": lambda trial: _setting(trial, "task", "name"),
    "task_version": lambda trial: trial.record.task.version if trial.record.task else None,
    "origin": lambda trial: trial.record.task.origin if trial.record.task else None,
    "track": lambda trial: trial.record.track,
    "protocol": lambda trial: trial.record.protocol,
    "tier": lambda trial: trial.tier,
    "submission": lambda trial: trial.submission,
    "seed": lambda trial: trial.record.seed,
    "data_seed": lambda trial: trial.record.data_seed,
    "learning_rate": lambda trial: _setting(trial, "optim", "lr"),
    "metric": _metric,
    "val": lambda trial: _measured(trial, trial.record.val),
    "test": lambda trial: _measured(trial, trial.record.test),
    "step": lambda trial: trial.record.selection.step if trial.record.selection else None,
    "steps": lambda trial: trial.record.budget.steps,
    "seconds": lambda trial: trial.record.budget.seconds,
    "examples_per_second": lambda trial: trial.record.budget.examples_per_second,
    "peak_memory_mb": lambda trial: trial.record.budget.peak_memory_mb,
    "parameters": lambda trial: trial.record.model.parameters if trial.record.model else None,
    "state_size": lambda trial: trial.record.model.state_size if trial.record.model else None,
    "device": lambda trial: trial.record.environment.device,
    "commit": lambda trial: trial.record.environment.commit,
    "file": lambda trial: str(trial.file) if trial.file else None,
    "trial": lambda trial: trial,
}
