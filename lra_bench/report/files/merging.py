"""Putting records together into a submission: the same bytes, each trial once, and nothing half done."""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lra_bench.core.errors import FileError, LraBenchError
from lra_bench.core.files import replacing, write_atomically
from lra_bench.core.record import RunRecord
from lra_bench.report.files.records import require_same_outcome
from lra_bench.report.files.submissions import FILE_NAME, RECORDS, RecordName, Submission, file_hash
from lra_bench.report.trial import Trial

_RECORD_NAME = TypeAdapter(RecordName)


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes:
        added: trials that were not there before.
        there: trials that were.
        unfinished: trials that were left out because they are not over.
    """

    added: int
    there: int
    unfinished: int


def merge(trials: Iterable[Trial], out: Path, submission: Submission) -> Merged:
    """Make a submission of trials, or add those that it does not have to one.

    Of several files of a trial with the same outcome the submission keeps the one it has, or else that of the smallest
    hash. A kill leaves a new submission whole or not there, and an old one as it was, at most with files that it does
    not list yet; merging again goes on from there.

    Args:
        trials: read from files, those of the submission among them.
        out: folder of the submission, there or not.
        submission: its description, with the records that it has.

    Raises:
        LraBenchError: a trial has two outcomes, or an id that cannot name a file; none is over; or there is something
            else where the submission is to be.
    """
    trials = list(trials)
    chosen = _chosen([trial for trial in trials if trial.record.status.finished], out, submission)
    if not chosen:
        raise LraBenchError("none of the trials is over, so there is nothing to merge")
    hashes = {name: _hash_of(file) for name, file in sorted(chosen.items())}
    merged = submission.model_copy(update={"records": hashes})
    if (out / FILE_NAME).exists():
        _add(out, chosen, merged, have=submission.records.keys())
    else:
        _make(out, chosen, merged)
    there = len(submission.records)
    unfinished = {trial.record.trial_id for trial in trials} - {name.removesuffix(".json") for name in chosen}
    return Merged(len(chosen) - there, there, len(unfinished))


def _chosen(trials: Iterable[Trial], out: Path, submission: Submission) -> dict[str, Path]:
    """The file to keep of each trial, by its name in the submission."""
    files: dict[str, list[Trial]] = {}
    for trial in trials:
        files.setdefault(_file_name(trial.record), []).append(trial)
    for first, *others in files.values():
        for other in others:
            require_same_outcome(first, other, "Merge one of the two")
    return {
        name: out / RECORDS / name if name in submission.records else min(map(_file, alike), key=_hash_of)
        for name, alike in files.items()
    }


def _file_name(record: RunRecord) -> str:
    try:
        return _RECORD_NAME.validate_python(f"{record.trial_id}.json")
    except ValidationError as error:
        raise LraBenchError(f"the trial id {record.trial_id!r} cannot name a file") from error


def _file(trial: Trial) -> Path:
    assert trial.file is not None, "trials of a merge are read from files"
    return trial.file


def _hash_of(path: Path) -> str:
    return file_hash(path.read_bytes())


def _copy(source: Path, target: Path, expected: str) -> None:
    content = source.read_bytes()
    if file_hash(content) != expected:
        raise FileError(source, "changed while it was merged. Merge again")
    target.write_bytes(content)


def _make(out: Path, chosen: Mapping[str, Path], merged: Submission) -> None:
    """Prepare all of it beside, then rename it."""
    if out.exists() and any(out.iterdir()):
        raise LraBenchError(f"{out} is not empty and no submission. Choose another folder")
    for leftover in out.parent.glob(f".{out.name}.*.part"):
        shutil.rmtree(leftover)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        (part / RECORDS).mkdir(parents=True)
        for name, source in chosen.items():
            _copy(source, part / RECORDS / name, merged.records[name])
        (part / FILE_NAME).write_text(merged.text(), encoding="utf-8")
        os.sync()
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _add(out: Path, chosen: Mapping[str, Path], merged: Submission, have: Iterable[str]) -> None:
    """The files first, the list last."""
    for leftover in (*(out / RECORDS).glob(".*.part"), *out.glob(".*.part")):
        leftover.unlink()
    for name in chosen.keys() - set(have):
        with replacing(out / RECORDS / name) as part:
            _copy(chosen[name], part, merged.records[name])
    if merged != Submission.read(out):
        write_atomically(out / FILE_NAME, merged.text())
