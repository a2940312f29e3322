"""Finding and reading the records that a report is made of."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import RunRecord

FILE_NAME = "record.json"


def load_records(paths: Sequence[Path]) -> list[RunRecord]:
    """Read every record at or below `paths`, sorted by study and trial id.

    Args:
        paths: each a record file, or a folder that is searched to any depth for files named `record.json`.

    Returns:
        The records. A trial that several files hold with the same outcome is kept once.

    Raises:
        LraBenchError: a path does not exist; a record cannot be read (all such files are named); the same trial
            has two different outcomes; or there is no record at all.
    """
    records, problems = [], []
    for file in _record_files(paths):
        try:
            records.append(RunRecord.read(file))
        except LraBenchError as error:
            problems.append(str(error))
    if problems:
        raise LraBenchError("\n".join(problems))
    if not records:
        places = ", ".join(str(path) for path in paths) or "nowhere"
        raise LraBenchError(f"no {FILE_NAME} found (searched: {places}). To make some: lra-bench sweep run quickstart")
    return without_repetitions(records)


def without_repetitions(records: Iterable[RunRecord]) -> list[RunRecord]:
    """The records sorted by study and trial id, one per trial id, so that no trial is counted as two seeds.

    Raises:
        LraBenchError: the same trial has two different outcomes; it is not for a report to choose.
    """
    kept: dict[str, RunRecord] = {}
    for record in sorted(records, key=_order):
        first = kept.setdefault(record.trial_id, record)
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


def _order(record: RunRecord) -> tuple[str, str, str]:
    return record.study, record.trial_id, record.model_dump_json()


def _outcome(record: RunRecord) -> tuple[object, ...]:
    return record.status, record.val, record.test
