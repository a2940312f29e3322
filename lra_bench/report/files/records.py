"""Reading the records that a report is made of."""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from lra_bench.core.errors import FileError, LraBenchError
from lra_bench.core.record import RunRecord
from lra_bench.report.content import Problem
from lra_bench.report.files.search import FILE_NAME, Search
from lra_bench.report.trial import Trial


def find_trials(
    paths: Sequence[Path], on_file: Callable[[int, int], None] | None = None
) -> tuple[list[Trial], list[Problem]]:
    """Read every record at or below some paths.

    Args:
        paths: each a record file; a submission, or a folder of some; or any other folder, which is searched to any
            depth for files named `record.json`.
        on_file: called after each file with how many are read, and how many there are.

    Returns:
        The trials by submission, study, id and file; and what was found and is of no use: files that cannot be read,
        are not JSON, no records, of a newer version, changed since they were written, or not as a submission lists
        them, each with its reason.

    Raises:
        LraBenchError: a path does not exist, or there is nothing at all.
    """
    search = Search()
    for path in paths:
        search.below(path)
    if not search.files and not search.problems:
        places = ", ".join(str(path) for path in paths) or "nowhere"
        raise LraBenchError(f"no {FILE_NAME} found (searched: {places}). To make some: lra-bench sweep run quickstart")
    trials, problems = [], search.problems
    with _without_collections():
        for number, file in enumerate(search.files, start=1):
            try:
                trials.append(file.read())
            except FileError as error:
                problems.append(Problem(error.path, error.reason))
            if on_file is not None:
                on_file(number, len(search.files))
    return sorted(trials, key=lambda trial: (*_kind(trial), str(trial.file))), sorted(problems, key=_problem_order)


def without_repetitions(trials: Iterable[Trial]) -> list[Trial]:
    """The trials sorted by submission, study and id, one per submission and id, so that none is counted as two seeds.

    Raises:
        LraBenchError: the same trial has two different outcomes; it is not for a report to choose.
    """
    kept: dict[tuple[str | None, str], Trial] = {}
    for _, same in groupby(sorted(trials, key=_kind), key=_kind):
        alike = list(same)
        for trial in sorted(alike, key=_content) if len(alike) > 1 else alike:
            first = kept.setdefault((trial.submission, trial.record.trial_id), trial)
            require_same_outcome(first, trial, "Report on one of the two")
    return list(kept.values())


def require_same_outcome(first: Trial, other: Trial, advice: str) -> None:
    """Raise an `LraBenchError` that ends with the advice where two records of a trial do not say the same of it."""
    if outcome(first.record) != outcome(other.record):
        raise LraBenchError(
            f"trial {first.record.trial_id} has two different outcomes: {first.record.status} in {_origin(first)}, "
            f"{other.record.status} in {_origin(other)}. {advice}"
        )


def outcome(record: RunRecord) -> tuple[object, ...]:
    """What came of a trial: equal for records that say the same."""
    return record.status, record.val, record.test


@contextmanager
def _without_collections() -> Iterator[None]:
    """Millions of small objects are made and all are kept: looking for garbage would be two thirds of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _kind(trial: Trial) -> tuple[str, str, str]:
    return trial.submission or "", trial.record.study, trial.record.trial_id


def _content(trial: Trial) -> tuple[str, str]:
    return trial.record.model_dump_json(), str(trial.file or "")


def _origin(trial: Trial) -> str:
    return str(trial.file or f"study {trial.record.study}")


def _problem_order(problem: Problem) -> tuple[str, str]:
    return str(problem.place), problem.reason
