"""Finding and reading the records that a report is made of."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import RunRecord
from lra_bench.report.trial import Trial

FILE_NAME = "record.json"


def load_trials(paths: Sequence[Path]) -> list[Trial]:
    """Read every record at or below `paths`, sorted by study and trial id.

    Args:
        paths: each a record file, or a folder that is searched to any depth for files named `record.json`.

    Returns:
        The trials. One that several files hold with the same outcome is kept once.

    Raises:
        LraBenchError: a path does not exist; a record cannot be read (all such files are named); the same trial
            has two different outcomes; or there is no record at all.
    """
    trials, problems = [], []
    for file in _record_files(paths):
        try:
            trials.append(Trial(RunRecord.read(file), file))
        except LraBenchError as error:
            problems.append(str(error))
    if problems:
        raise LraBenchError("\n".join(problems))
    if not trials:
        places = ", ".join(str(path) for path in paths) or "nowhere"
        raise LraBenchError(f"no {FILE_NAME} found (searched: {places}). To make some: lra-bench sweep run quickstart")
    return without_repetitions(trials)


def without_repetitions(trials: Iterable[Trial]) -> list[Trial]:
    """The trials sorted by submission, study and id, one per submission and id, so that none is counted as two seeds.

    Raises:
        LraBenchError: the same trial has two different outcomes; it is not for a report to choose.
    """
    kept: dict[tuple[str | None, str], Trial] = {}
    for trial in sorted(trials, key=_order):
        record = trial.record
        first = kept.setdefault((trial.submission, record.trial_id), trial).record
        if _outcome(first) != _outcome(record):
            raise LraBenchError(
                f"trial {record.trial_id} has two different outcomes: {first.status} in study {first.study}, "
                f"{record.status} in study {record.study}. Report on one of the two"
            )
    return list(kept.values())


def _record_files(paths: Iterable[Path]) -> list[Path]:
    files: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise LraBenchError(f"there is no {path}")
        found = sorted(path.rglob(FILE_NAME)) if path.is_dir() else [path]
        files.update((file.resolve(), file) for file in found)
    return list(files.values())


def _order(trial: Trial) -> tuple[str, ...]:
    record = trial.record
    return trial.submission or "", record.study, record.trial_id, record.model_dump_json(), str(trial.file or "")


def _outcome(record: RunRecord) -> tuple[object, ...]:
    return record.status, record.val, record.test
