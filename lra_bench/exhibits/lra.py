"""A task of the Long Range Arena within a reduced budget: accuracy beside its floor, and what was spent on it."""

import math
from collections.abc import Sequence

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import RunRecord
from lra_bench.report import formatting
from lra_bench.report.aggregate import setting
from lra_bench.report.board import Board, Cell, Row
from lra_bench.report.cost import cost
from lra_bench.report.statistics import Summary
from lra_bench.report.table import Column, Entry, Group, Table
from lra_bench.report.tolerance import best_cell

NOT_LEARNED = "not learned"
"""Marks an accuracy that is not above the floor by more than its interval is long."""

SPREAD = 0.1
"""Parameters of models in one table are to lie within this share of the smallest."""


def lra_table(boards: Sequence[Board]) -> Table:
    """Accuracy at the best learning rate, floor, size and budget of every model; what is not equal is said below.

    Raises:
        LraBenchError: a board has no accuracy, or no floor.
    """
    return Table(
        title="Accuracy on a reduced budget",
        conditions="; ".join(dict.fromkeys(board.conditions for board in boards)),
        columns=(
            Column("Model", "model", wordy=True),
            Column(
                "Test accuracy (%): median [interval]", "accuracy", "at the best learning rate, selected on validation"
            ),
            Column("Floor (%)", "floor", "the best trivial predictor, on the same test set"),
            Column(
                "Learned",
                "learned",
                f"the median is above the floor by more than the interval is long; else {NOT_LEARNED}",
                wordy=True,
            ),
            Column("Best rate", "rate"),
            Column("Seeds", "n"),
            Column("Failed", "failed", "trials without a result, at all rates", wordy=True),
            Column("Parameters", "parameters"),
            Column("Examples", "examples", "seen in training, each as often as it was"),
            Column("Seconds", "seconds", "of a trial: median; depends on the machine"),
        ),
        groups=tuple(Group(_title(board, boards), tuple(_line(board, row) for row in board.rows)) for board in boards),
        remarks=tuple(remark for board in boards for remark in _fairness(board)),
    )


def floor(board: Board) -> float:
    """The accuracy of the best trivial predictor.

    Raises:
        LraBenchError: there is none in the records.
    """
    if not board.metric.higher_is_better or not board.baselines:
        raise LraBenchError(f"{board.label} has no trivial accuracy in its records, which the table `lra` needs")
    return board.baselines[_best_trivial(board)]


def learned(test: Summary, floor: float) -> bool:
    """Whether an accuracy is above the floor by more than its interval is long; so the whole interval is above it."""
    return test.median - floor > test.high - test.low


def _title(board: Board, boards: Sequence[Board]) -> str:
    return board.label if len(boards) > 1 else ""


def _best_trivial(board: Board) -> str:
    return max(board.baselines, key=lambda name: board.baselines[name])


def _line(board: Board, row: Row) -> tuple[Entry, ...]:
    best = best_cell(row.cells, board.metric)
    found = cost(row)
    seeds = 0 if best is None else best.n
    rate = Entry(formatting.FAILED, math.nan) if best is None else Entry(formatting.rate(best.rate), best.rate)
    return (
        Entry(row.label, row.label),
        *_accuracy(best, floor(board)),
        rate,
        Entry(str(seeds), seeds),
        Entry(formatting.named(row.failures), sum(row.failures.values())),
        _count(found.parameters),
        _count(_most_examples([trial.record for trial in row.trials])),
        Entry(formatting.number(found.seconds), math.nan if found.seconds is None else found.seconds),
    )


def _accuracy(best: Cell | None, floor: float) -> tuple[Entry, Entry, Entry]:
    """Accuracy, floor, and whether it was learned."""
    below = Entry(_percent(floor), floor)
    if best is None or math.isinf(best.test.median):
        return Entry(formatting.FAILED, math.nan), below, Entry(NOT_LEARNED, 0)
    test = best.test
    text = f"{_percent(test.median)} [{_percent(test.low)}, {_percent(test.high)}]"
    verdict = Entry("yes", 1) if learned(test, floor) else Entry(NOT_LEARNED, 0)
    return Entry(text, test.median), below, verdict


def _fairness(board: Board) -> list[str]:
    """Sentences about what is to be equal within a table, and is or is not."""
    records = [trial.record for row in board.rows for trial in row.trials]
    budgets = sorted({(setting(each, "train.max_steps"), setting(each, "train.global_batch_size")) for each in records})
    sizes = [size for row in board.rows if (size := cost(row).parameters) is not None]
    spread = max(sizes) / min(sizes) - 1 if sizes else 0.0
    said = [f"{steps:,} steps of {batch} examples" for steps, batch in budgets]
    budget = f"the budget of all models is {said[0]}" if len(said) == 1 else f"budgets are not equal: {'; '.join(said)}"
    within = "within" if spread <= SPREAD else "not within"
    trivial = _best_trivial(board).replace("_", " ")
    return [
        f"{board.label}: {budget}; parameters differ by at most {100 * spread:.1f} %, {within} {100 * SPREAD:.0f} %; "
        f"the floor is the {trivial}."
    ]


def _most_examples(records: Sequence[RunRecord]) -> int | None:
    """The most examples that any trial was trained on: failed ones have fewer."""
    return max((record.budget.examples for record in records if record.budget.examples is not None), default=None)


def _count(value: float | None) -> Entry:
    return Entry(formatting.count(value), math.nan if value is None else value)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if math.isfinite(value) else formatting.FAILED
