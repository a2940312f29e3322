"""The tables that only the page has: every cell, every trial, every failure, every file left out."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from lra_bench.report import formatting
from lra_bench.report.board import Board, Cell, Row
from lra_bench.report.content import Problem
from lra_bench.report.files.search import FILE_NAME
from lra_bench.report.formats.links import relative_address, relative_place, web_address
from lra_bench.report.rate_table import interval
from lra_bench.report.statistics import Summary
from lra_bench.report.table import Column, Entry, Group, Table
from lra_bench.report.trial import Trial

STATUS = "Status"
"""Header of the column by which a reader narrows tables of trials."""

NOTHING = Entry(formatting.NOTHING, math.nan)


def cells_table(board: Board) -> Table:
    """Every row of a board at every learning rate."""
    name = board.metric.name
    columns = (
        _words("Model"),
        _numbers("Learning rate"),
        _numbers("n"),
        _numbers(f"Validation {name}: median [interval]"),
        _numbers("Validation: mean"),
        _numbers(f"Test {name}: median [interval]"),
        _numbers("Test: mean"),
        _words("Failed"),
    )
    rows = tuple(_cell_entries(row, cell) for row in board.rows for cell in row.cells)
    return Table(f"{board.label}: every model at every learning rate", board.conditions, columns, (Group("", rows),))


def trials_table(board: Board, folder: Path) -> Table:
    """Every trial of a board, with links to its folder and to where it was tracked.

    Args:
        board: of the trials.
        folder: of the page.
    """
    name = board.metric.name
    tracked = any(trial.record.tracking and trial.record.tracking.url for trial in board.trials)
    columns = (
        _words("Trial"),
        _words("Study"),
        _words("Model"),
        _numbers("Learning rate"),
        _numbers("Seed"),
        _numbers("Data seed"),
        _words(STATUS),
        _numbers(f"Validation {name}"),
        _numbers(f"Test {name}"),
        _numbers("Selected step"),
        _numbers("Steps"),
        _numbers("Seconds"),
        *([_words("W&B")] if tracked else []),
    )

    rows = tuple(_trial_entries(row, cell, trial, name, folder, tracked) for row, cell, trial in _every_trial(board))
    return Table(f"{board.label}: all {len(rows)} trials", board.conditions, columns, (Group("", rows),))


def failed_table(boards: Sequence[Board], folder: Path) -> Table:
    """Every failed trial of every board, and why it failed."""
    columns = (
        _words("Trial"),
        _words("Task"),
        _words("Model"),
        _numbers("Learning rate"),
        _numbers("Seed"),
        _words(STATUS),
        _numbers("Step"),
        _words("Message"),
    )
    rows = tuple(
        (
            _trial(trial, folder),
            _text(board.label),
            _text(row.label),
            _rate(cell),
            _whole(trial.record.seed),
            _text(failure),
            _whole(trial.record.budget.steps if trial.record.failed_step is None else trial.record.failed_step),
            _text(trial.record.message or ""),
        )
        for board in boards
        for row, cell, trial in _every_trial(board)
        if (failure := board.metric.failure(trial.record))
    )
    return Table("Failed trials", "", columns, (Group("", rows),))


def problems_table(problems: Sequence[Problem], folder: Path) -> Table:
    """Files that could not be used, in order of place."""
    lines = sorted((relative_place(problem.place, folder), problem.reason) for problem in problems)
    rows = tuple((_text(place), _text(reason)) for place, reason in lines)
    return Table("Files left out", "", (_words("File"), _words("Reason")), (Group("", rows),))


def _every_trial(board: Board) -> Iterator[tuple[Row, Cell, Trial]]:
    return ((row, cell, trial) for row in board.rows for cell in row.cells for trial in cell.trials)


def _trial_entries(row: Row, cell: Cell, trial: Trial, metric: str, folder: Path, tracked: bool) -> tuple[Entry, ...]:
    record = trial.record
    return (
        _trial(trial, folder),
        _text(record.study),
        _text(row.label),
        _rate(cell),
        _whole(record.seed),
        _whole(record.data_seed),
        _text(record.status.value),
        _real(record.val.get(metric)),
        _real(record.test.get(metric)),
        _whole(record.selection.step if record.selection else None),
        _whole(record.budget.steps),
        _real(record.budget.seconds),
        *([_tracking(trial)] if tracked else []),
    )


def _cell_entries(row: Row, cell: Cell) -> tuple[Entry, ...]:
    return (
        _text(row.label),
        _rate(cell),
        _whole(cell.n),
        _interval(cell.val),
        _real(cell.val.mean),
        _interval(cell.test),
        _real(cell.test.mean),
        Entry(formatting.named(cell.failures), cell.failed),
    )


def _words(header: str) -> Column:
    return Column(header, None, wordy=True)


def _numbers(header: str) -> Column:
    return Column(header, None)


def _text(text: str) -> Entry:
    return Entry(text, text) if text.strip() else NOTHING


def _whole(value: int | None) -> Entry:
    return NOTHING if value is None else Entry(str(value), value)


def _real(value: float | None) -> Entry:
    return NOTHING if value is None else Entry(formatting.number(value), value)


def _rate(cell: Cell) -> Entry:
    return Entry(formatting.rate(cell.rate), cell.rate)


def _interval(summary: Summary) -> Entry:
    return Entry(interval(summary), summary.median)


def _trial(trial: Trial, folder: Path) -> Entry:
    """Its id, with a link to its folder, or to its record in a submission, where it was read from a file."""
    name = trial.record.trial_id
    return Entry(name if name.strip() else formatting.NOTHING, name, link=_address(trial.file, folder))


def _address(file: Path | None, folder: Path) -> str | None:
    if file is None:
        return None
    own = file.name == FILE_NAME
    return f"{relative_address(file.parent, folder)}/" if own else relative_address(file, folder)


def _tracking(trial: Trial) -> Entry:
    """The run's id with a link to it; an address that is none of the web is shown, and leads nowhere."""
    tracking = trial.record.tracking
    if tracking is None or tracking.url is None:
        return NOTHING
    if web_address(tracking.url) is None:
        return _text(tracking.url)
    name = tracking.run_id if tracking.run_id.strip() else tracking.backend
    return Entry(name, name, link=tracking.url)
