"""Records from runs of W&B that were made elsewhere: of trials of ours, or by a mapping of other code."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lra_bench.core.errors import FileError, LraBenchError
from lra_bench.core.record import RunRecord
from lra_bench.tracking.content import FAILED, RECORD
from lra_bench.tracking.logged import FoundRun, LoggedRun, UnusableError
from lra_bench.tracking.mapping import Mapping
from lra_bench.tracking.rebuilding import Identify, rebuilt
from lra_bench.tracking.run_files import read_run, run_files

FILE_NAME = "record.json"
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")
"""Trial ids that may name a folder."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        run: for people: where it was found.
        verdict: made a record, found it made, or did not make one.
        reason: why not.
    """

    run: str
    verdict: Literal["imported", "there already", "left out"]
    reason: str | None = None


def local_runs(folder: Path) -> Iterator[FoundRun]:
    """The runs in the files of W&B's client at any depth below a folder.

    Raises:
        LraBenchError: there are none.
    """
    files = run_files(folder)
    if not files:
        raise LraBenchError(
            f"no run-ID.wandb in {folder}: name the folder `wandb` that W&B's client wrote, or one above it"
        )
    for same_id in _grouped(files, lambda file: file.name):
        runs: list[LoggedRun] = []
        problems: list[str] = []
        names = [file.relative_to(folder).as_posix() for file in same_id]
        for file, name in zip(same_id, names, strict=True):
            try:
                runs.append(read_run(file, name))
            except LraBenchError as error:
                problems.append(str(error))
        in_order = sorted(runs, key=lambda run: (run.started, run.name))
        for same_run in list(_grouped(in_order, lambda run: run.project)) or [[]]:
            yield FoundRun(same_run[-1].name if same_run else names[-1], same_run, problems)


def import_runs(
    found: Iterable[FoundRun], out: Path, mapping: Mapping | None, identify: Identify, on_done: Callable[[], None]
) -> list[Outcome]:
    """Write `out/TRIAL_ID/record.json` for each run that gives a record.

    Args:
        found: the runs.
        out: the folder of the trials' folders.
        mapping: of runs of other code.
        identify: for runs of a lra-bench that did not send the whole record.
        on_done: called for each run.

    Returns:
        What became of each.
    """
    outcomes = []
    for run in found:
        outcomes.append(_imported(run, out, mapping, identify))
        on_done()
    return outcomes


def _imported(found: FoundRun, out: Path, mapping: Mapping | None, identify: Identify) -> Outcome:
    """Write the record of a run; what was not its end, or could not be read, matters only where it gives none."""
    records: list[RunRecord] = []
    reasons = list(found.problems)
    for run in found.runs:
        try:
            record = _record(run, mapping, identify)
            record.model_dump_json()
            records.append(record)
        except UnusableError as error:
            reasons.append(str(error))
        except (ValueError, RecursionError) as error:
            reasons.append(f"holds what no record can: {type(error).__name__}")
    if not records:
        return Outcome(found.name, "left out", "; another file of it ".join(dict.fromkeys(reasons)))
    last = records[-1]
    if any(_result(other) != _result(last) for other in records if other.status not in FAILED):
        reason = "has files of two executions with different outcomes: import one of them alone"
        return Outcome(found.name, "left out", reason)
    return _written(found.name, last, out)


def _written(name: str, record: RunRecord, out: Path) -> Outcome:
    if not FOLDER_NAME.fullmatch(record.trial_id):
        return Outcome(name, "left out", "its trial id cannot name a folder")
    path = out / record.trial_id / FILE_NAME
    if path.exists():
        try:
            there = RunRecord.read(path)
        except LraBenchError as error:
            return Outcome(name, "left out", f"{error}; remove that file to import the run")
        if there.model_copy(update={"digest": None}) == record.model_copy(update={"digest": None}):
            return Outcome(name, "there already")
        if _result(there) != _result(record):
            return Outcome(
                name, "left out", f"{path} has another outcome ({there.status}); remove that file to import the run"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    record.write(path)
    return Outcome(name, "imported")


def _result(record: RunRecord) -> tuple[object, ...]:
    return record.status, record.val, record.test


def _record(run: LoggedRun, mapping: Mapping | None, identify: Identify) -> RunRecord:
    """The record that a run gives.

    Raises:
        UnusableError: it gives none.
    """
    if run.state in ("running", "pending"):
        raise UnusableError("is still running")
    if isinstance(run.summary.get(RECORD), str):
        return _sent(run)
    if run.damage:
        raise UnusableError(f"{run.damage}; the outcome is not in what can be read")
    if run.job_type == "report" and run.run_id.startswith("report-"):
        raise UnusableError("is a report by lra-bench, not a trial")
    if isinstance(run.config.get("config"), dict) and isinstance(run.config.get("trial"), str):
        return rebuilt(run, identify)
    if mapping is None:
        raise UnusableError(
            "was not made by lra-bench: give --mapping FILE (lra-bench results import --help shows one)"
        )
    return mapping.record(run)


def _sent(run: LoggedRun) -> RunRecord:
    """The record in a run's summary."""
    try:
        record = RunRecord.parse(Path(run.name), run.summary[RECORD].encode())
    except FileError as error:
        raise UnusableError(f"holds a record that {error.reason}") from error
    if not record.status.finished:
        raise UnusableError(f"is not over: the trial was {record.status}")
    return record


def _grouped(items: Iterable[Any], key: Callable[[Any], str]) -> Iterator[list[Any]]:
    """Items that have the same key, in the order of first appearance."""
    groups: dict[str, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    yield from groups.values()
