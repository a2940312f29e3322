"""What a record, and a set of records, must have to stand on a leaderboard; and what a reader of it should know."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import RunRecord, Status
from lra_bench.report.aggregate import aggregate, learning_rate, setting
from lra_bench.report.board import RAN_TO_THE_END, Row
from lra_bench.report.formatting import rate
from lra_bench.report.trial import Trial

ENOUGH_SEEDS = 3
"""With fewer, an interval says next to nothing."""


@dataclass(frozen=True, order=True)
class Finding:
    """Something about a file or a row.

    Attributes:
        error: it must be mended; else it is a warning.
        text: what it is, in one line.
        place: the file, or the row.
    """

    error: bool
    text: str
    place: str


Remark = tuple[bool, str]
"""A finding without its place."""


def of_other_code(record: RunRecord) -> bool:
    """Whether the trial was not run by lra-bench, but made a record from what is known of it."""
    return record.task is not None and record.task.version < 1


def check_trial(trial: Trial) -> Iterator[Finding]:
    """All there is to say of a trial by itself."""
    record = trial.record
    remarks = [*_outcome(record), *_agreement(record), *_selection(record)]
    if of_other_code(record):
        remarks.append((False, "was made by other code, so its conditions cannot be checked"))
    elif record.model is not None and record.task is not None:
        remarks += [*_provenance(record), *_data(record)]
    if trial.submission is not None and trial.file is not None and trial.file.stem != record.trial_id:
        remarks.append((True, "its name is not the id of its trial"))
    return (Finding(error, text, str(trial.file or record.trial_id)) for error, text in remarks)


def check_rows(trials: Iterable[Trial]) -> Iterator[Finding]:
    """Whether rows are complete: every seed of a row at every one of its learning rates."""
    usable = []
    for trial in trials:
        try:
            learning_rate(trial.record)
            usable.append(trial)
        except LraBenchError:
            yield Finding(True, "its config has no positive optim.lr", str(trial.file or trial.record.trial_id))
    try:
        boards = aggregate(usable) if usable else []
    except LraBenchError as error:
        yield Finding(True, str(error), "all records")
        return
    for board in boards:
        for row in board.rows:
            place = f"{board.label}, {row.label}"
            yield from (Finding(True, text, place) for text in _missing(row))
            seeds = len({trial.seeds for trial in row.trials})
            if seeds < ENOUGH_SEEDS:
                yield Finding(False, f"has fewer than {ENOUGH_SEEDS} seeds", place)


def _outcome(record: RunRecord) -> Iterator[Remark]:
    status = record.status
    if status is Status.PREEMPTED:
        yield True, "is not over: run its sweep again"
    elif status is not Status.OK and not record.message:
        yield True, f"has status {status} and no message that says why"
    if status in RAN_TO_THE_END:
        for name in ("model", "task", "selection", "learning_rates"):
            if not getattr(record, name):
                yield True, f"has status {status} and no {name}"
        if record.task is not None:
            for split, values in (("val", record.val), ("test", record.test)):
                if values.get(record.task.metric) is None:
                    yield True, f"has status {status} and no {split} metric"
    tested = any(value is not None for value in record.test.values())
    if tested and record.selection is None and not of_other_code(record):
        yield True, "was tested without a selected step"


def _agreement(record: RunRecord) -> Iterator[Remark]:
    """What a record says twice."""
    said: dict[str, Any] = {key: getattr(record, key) for key in ("seed", "data_seed", "track", "protocol")}
    if record.model is not None:
        said["model.name"] = record.model.name
    for key, value in said.items():
        try:
            if setting(record, key) != value:
                yield True, f"{key} is not that of its config"
        except LraBenchError:
            yield True, f"its config has no {key}"


def _selection(record: RunRecord) -> Iterator[Remark]:
    """Whether the step was selected as the protocol wants; the curve has every validation."""
    chosen, task = record.selection, record.task
    if chosen is None or task is None or not chosen.rule.startswith("best "):
        return
    if record.protocol == "clean" and not chosen.rule.startswith("best validation "):
        yield True, "has protocol clean and was not selected on validation data"
    curve = {point.step: point for point in record.curve if point.val.get(task.metric) is not None}
    if not curve:
        return
    values = {step: point.val[task.metric] or 0.0 for step, point in curve.items()}
    best = min(values, key=lambda step: (-values[step] if task.higher_is_better else values[step], step))
    if chosen.step != best:
        yield True, "its selected step is not the best of its curve"
    elif dict(curve[best].val) != dict(record.val):
        yield True, "its validation metrics are not those of its curve at the selected step"


def _provenance(record: RunRecord) -> Iterator[Remark]:
    where = record.environment
    if record.digest is None:
        yield False, "has no checksum: it is of record version 1"
    if where.commit is None:
        yield False, "names no commit: its code was an installed package"
    elif where.dirty is not False:
        yield False, "its code had local changes"
    if not where.packages:
        yield True, "names no versions of packages"
    if where.device in ("", "unknown") and record.status in RAN_TO_THE_END:
        yield True, "names no device"


def _data(record: RunRecord) -> Iterator[Remark]:
    task = record.task
    assert task is not None
    if task.fingerprint is None:
        yield True, "has no fingerprint of its task"
    if task.origin is None:
        yield False, "does not say whether its data are official or generated"
    elif task.origin == "official" and task.content is None:
        yield True, "has official data and no hash of their content"


def _missing(row: Row) -> list[str]:
    """The trials that a row lacks."""
    everywhere = sorted({trial.seeds for trial in row.trials})
    return [
        f"has no trial at learning rate {rate(cell.rate)} with {_named(seeds, everywhere)}"
        for cell in row.cells
        for seeds in everywhere
        if seeds not in {trial.seeds for trial in cell.trials}
    ]


def _named(seeds: tuple[int, int], everywhere: Sequence[tuple[int, int]]) -> str:
    """The data seed is named where the seed does not say it."""
    alone = len({seed for seed, _ in everywhere}) == len(everywhere)
    return f"seed {seeds[0]}" if alone else f"seed {seeds[0]}, data seed {seeds[1]}"
