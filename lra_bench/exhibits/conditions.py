"""Under which conditions the trials of an exhibit were measured, read off their records."""

import math
from collections.abc import Callable, Sequence

from lra_bench.core.record import RunRecord
from lra_bench.report import formatting
from lra_bench.report.aggregate import setting
from lra_bench.report.board import Board, total
from lra_bench.report.trial import Trial
from lra_bench.report.usable import at_chance

FEW = 6
"""More values than these are given by their ends."""


def conditions(boards: Sequence[Board]) -> dict[str, str]:
    """What was run, where, and how it ended: words by what they are about."""
    trials = [trial for board in boards for trial in board.trials]
    rates = sorted({cell.rate for board in boards for row in board.rows for cell in row.cells})
    seconds = math.fsum(trial.record.budget.seconds for trial in trials)
    return {
        "Trials": formatting.count(len(trials)),
        "Failed": formatting.named(total(board.failures for board in boards)),
        "No better than chance": formatting.count(sum(at_chance(row) for board in boards for row in board.rows)),
        "Tasks": ", ".join(board.label for board in boards),
        "Track, protocol": "; ".join(dict.fromkeys(f"{board.track}, {board.protocol}" for board in boards)),
        "Steps": _settings(trials, "train.max_steps", _whole),
        "Examples per step": _settings(trials, "train.global_batch_size", _whole),
        "Optimizer": _settings(trials, "optim.name", str),
        "Schedule": _settings(trials, "optim.schedule", str),
        "Learning rates": _listed([formatting.rate(rate) for rate in rates]),
        "Seeds": _listed([str(seed) for seed in sorted({trial.record.seed for trial in trials})]),
        "Precision": _settings(trials, "train.precision", str),
        "Device": _recorded(trials, lambda record: record.environment.device),
        "Training time": f"{formatting.number(seconds / 60)} minutes, all trials together",
        "Commit": _recorded(trials, _commit),
        "Python, torch": _recorded(
            trials, lambda record: f"{record.environment.python}, {record.environment.packages.get('torch', 'unknown')}"
        ),
    }


def _settings(trials: Sequence[Trial], key: str, shown: Callable[[int], str] | type[str]) -> str:
    return _listed([shown(value) for value in sorted({setting(trial.record, key) for trial in trials})])


def _whole(value: int) -> str:
    return formatting.count(value)


def _recorded(trials: Sequence[Trial], read: Callable[[RunRecord], str]) -> str:
    return "; ".join(sorted({read(trial.record) for trial in trials}))


def _commit(record: RunRecord) -> str:
    where = record.environment
    return "a release" if where.commit is None else where.commit[:12] + (" with local changes" if where.dirty else "")


def _listed(texts: Sequence[str]) -> str:
    """All of them, or how many there are between the first and the last."""
    return ", ".join(texts) if len(texts) <= FEW else f"{texts[0]} to {texts[-1]} ({len(texts)})"
