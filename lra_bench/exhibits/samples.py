"""How many training steps one model needs for an error that another one has earlier."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lra_bench.report import formatting
from lra_bench.report.aggregate import setting
from lra_bench.report.board import Board, Cell, Metric, Row
from lra_bench.report.statistics import Summary, summarise
from lra_bench.report.table import Column, Entry, Group, Table
from lra_bench.report.tolerance import best_cell

LEVELS = (0.5, 0.1, 0.01, 0.001)
"""Errors to be reached, as shares of the trivial predictor's."""

Curve = tuple[tuple[int, float], ...]
"""Step and validation error, by ascending step."""


@dataclass(frozen=True)
class Reached:
    """When two models first have an error, over the seeds that both have.

    Attributes:
        level: the error in words.
        reference: step of the reference, infinite where a seed does not get there.
        model: step of the model, likewise.
        ratio: model's steps by the reference's, over the seeds in which the reference gets there; a model that does
            not counts with the last step of its curve, so that its ratio is a lower bound. None where there are none.
        bounds: number of seeds whose ratio is such a bound.
    """

    level: str
    reference: Summary
    model: Summary
    ratio: Summary | None
    bounds: int


def first_reach(curve: Curve, error: float) -> float:
    """The first step at which a curve is at or below an error; infinite if there is none."""
    return next((float(step) for step, value in curve if value <= error), math.inf)


def reached(model: Sequence[Curve], reference: Sequence[Curve], chance: float) -> list[Reached]:
    """When both first have each of `LEVELS`, and when the reference has the model's lowest error.

    Args:
        model: a curve per seed, none empty.
        reference: curves of the same seeds in the same order.
        chance: error of the trivial predictor.
    """
    lowest = [min(value for _, value in curve) for curve in model]
    wanted = {formatting.number(share * chance): [share * chance] * len(model) for share in LEVELS}
    return [_reached(name, errors, model, reference) for name, errors in {**wanted, "its lowest": lowest}.items()]


def _reached(level: str, errors: Sequence[float], model: Sequence[Curve], reference: Sequence[Curve]) -> Reached:
    steps = [first_reach(curve, error) for curve, error in zip(model, errors, strict=True)]
    earlier = [first_reach(curve, error) for curve, error in zip(reference, errors, strict=True)]
    ratios = [
        min(own, curve[-1][0]) / other
        for own, other, curve in zip(steps, earlier, model, strict=True)
        if math.isfinite(other)
    ]
    bounds = sum(math.isinf(own) and math.isfinite(other) for own, other in zip(steps, earlier, strict=True))
    return Reached(level, summarise(earlier), summarise(steps), summarise(ratios) if ratios else None, bounds)


def samples_table(boards: Sequence[Board], model: str, reference: str) -> Table:
    """Steps of both models to the same errors, for each pair of rows that differ in nothing but the model.

    Each is at its best learning rate.

    Args:
        boards: of errors.
        model: name of the one.
        reference: name of the other.
    """
    return Table(
        title=f"Training steps until the validation error is first as low: {model} and {reference}",
        conditions="each at its best learning rate, by the mean validation error over seeds",
        columns=(
            Column("Error", "error", wordy=True),
            Column(f"{reference}: steps", reference),
            Column(f"{model}: steps", model),
            Column(
                f"Steps of {model} by those of {reference}",
                "ratio",
                f"median [interval] of each seed's own ratio, over the seeds in which {reference} gets there. ≥: in "
                f"some {model} never does, and counts with all the steps that it had",
            ),
            Column("Seeds", "n", f"in which {model} gets there, of those in which {reference} does"),
        ),
        groups=tuple(
            Group(
                _title(board, first),
                tuple(_line(each, _last(curves)) for each in reached(*curves, board.metric.chance)),
            )
            for board in boards
            for first, second in _pairs(board, model, reference)
            if (curves := _curves(board.metric, first, second))
        ),
        remarks=(
            f"Errors are measured every {_listed(boards)} steps; one reached by the first may have come earlier.",
        ),
    )


def _line(found: Reached, last: int) -> tuple[Entry, ...]:
    ratio, seeds = found.ratio, 0 if found.ratio is None else found.ratio.n
    return (
        Entry(found.level, found.level),
        _steps(found.reference, last),
        _steps(found.model, last),
        Entry(formatting.NOTHING, math.nan) if ratio is None else Entry(_ratio(ratio, found.bounds), ratio.median),
        Entry(f"{seeds - found.bounds} of {seeds}", seeds - found.bounds),
    )


def _steps(summary: Summary, last: int) -> Entry:
    middle, low, high = (
        formatting.count(value) if math.isfinite(value) else f"> {formatting.count(last)}"
        for value in (summary.median, summary.low, summary.high)
    )
    return Entry(f"{middle} [{low}, {high}]", summary.median)


def _ratio(ratio: Summary, bounds: int) -> str:
    ends = f"{ratio.median:.3g} [{ratio.low:.3g}, {ratio.high:.3g}]"
    return f"≥ {ends}" if bounds else ends


def _pairs(board: Board, model: str, reference: str) -> list[tuple[Row, Row]]:
    """Rows of the two models whose other settings are the same."""
    others = {_rest(row): row for row in board.rows if row.model == reference}
    return [(row, others[_rest(row)]) for row in board.rows if row.model == model and _rest(row) in others]


def _rest(row: Row) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value) for key, value in row.settings.items() if not key.startswith("model.")))


def _title(board: Board, row: Row) -> str:
    """The board, and what sets the row apart from others of its model."""
    own = row.label.removeprefix(row.model).strip()
    return f"{board.label}, {own}" if own else board.label


def _curves(metric: Metric, model: Row, reference: Row) -> tuple[list[Curve], list[Curve]] | None:
    """Curves of the seeds that have one on both sides; None if there are none."""
    cells = best_cell(model.cells, metric), best_cell(reference.cells, metric)
    if cells[0] is None or cells[1] is None:
        return None
    first, second = (_by_seed(cell, metric) for cell in cells if cell is not None)
    seeds = [seed for seed in first if seed in second]
    return ([first[seed] for seed in seeds], [second[seed] for seed in seeds]) if seeds else None


def _by_seed(cell: Cell, metric: Metric) -> dict[tuple[int, int], Curve]:
    curves = {
        trial.seeds: tuple(
            (point.step, value) for point in trial.record.curve if (value := point.val.get(metric.name)) is not None
        )
        for trial in cell.trials
    }
    return {seeds: curve for seeds, curve in curves.items() if curve}


def _listed(boards: Sequence[Board]) -> str:
    """Between how many steps errors were measured."""
    return " or ".join(map(str, sorted({setting(t.record, "train.val_every") for b in boards for t in b.trials})))


def _last(curves: tuple[list[Curve], list[Curve]]) -> int:
    return max(curve[-1][0] for side in curves for curve in side)
