"""The committed records, as an exhibit chooses them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from lra_bench.core.errors import FileError
from lra_bench.exhibits.spec import Exhibit, Selection
from lra_bench.report.files.records import find_trials
from lra_bench.report.selectors import Selector
from lra_bench.report.trial import Trial

RESULTS = "results"
"""Folder of the studies' records in a checkout."""

Studies = Mapping[str, list[Trial]]


def read_studies(root: Path, names: Iterable[str]) -> dict[str, list[Trial]]:
    """The trials of each study that there is, measured by those who make the report.

    Raises:
        FileError: a record cannot be used.
    """
    return {name: trials_in(root / RESULTS / name) for name in names if (root / RESULTS / name).exists()}


def trials_in(folder: Path) -> list[Trial]:
    """The trials of a folder of runs or a submission, as measured here.

    Raises:
        FileError: a record cannot be used.
        LraBenchError: there is none.
    """
    trials, problems = find_trials([folder])
    if problems:
        raise FileError(problems[0].place, problems[0].reason)
    return [replace(trial, submission=None) for trial in trials]


def chosen(exhibit: Exhibit, studies: Studies) -> list[Trial]:
    """The trials of an exhibit, of those studies that there are.

    Raises:
        LraBenchError: a selection chooses nothing.
    """
    return [
        trial
        for selection in exhibit.records
        if selection.study in studies
        for trial in select(selection, studies[selection.study])
    ]


def select(selection: Selection, trials: list[Trial]) -> list[Trial]:
    """Those of a study's trials that a selection chooses.

    Raises:
        LraBenchError: there are none.
    """
    text = ",".join([selection.study, *selection.where])
    return Selector(text=text, paths=(), parts=selection.where).select(trials)
