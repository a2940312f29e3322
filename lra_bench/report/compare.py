"""Two models, recipes or commits on the tasks that both were measured on: what differs, and whether chance would do."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from lra_bench.core.errors import LraBenchError
from lra_bench.report.aggregate import aggregate
from lra_bench.report.board import Board, Cell, Row
from lra_bench.report.comparison import Difference, difference, sample
from lra_bench.report.formatting import printable
from lra_bench.report.selectors import Side
from lra_bench.report.tolerance import best_cell

_Key = tuple[object, ...]

NAMED = 6
"""Boards of a side that an error names."""


@dataclass(frozen=True)
class Contestant:
    """A side on one board.

    Attributes:
        name: of the side.
        row: the only one that it has there.
        cell: at the best learning rate, by the validation metric; None if a trial failed at every rate.
    """

    name: str
    row: Row
    cell: Cell | None


@dataclass(frozen=True)
class Comparison:
    """Two sides on one board.

    Attributes:
        board: of the first side.
        first: one of them.
        second: the other.
        difference: first minus second; None where there are too few seeds or no result.
    """

    board: Board
    first: Contestant
    second: Contestant
    difference: Difference | None


def compare(first: Side, second: Side) -> list[Comparison]:
    """Compare two sides on every board that both have, each at its best learning rate there.

    Each side is aggregated by itself, so both may hold the same trial with different outcomes. Measured and submitted
    trials may be compared.

    Raises:
        LraBenchError: both sides are the same trials; they have no board in common; a side has several rows on a board
            that both have; or its trials cannot be aggregated.
    """
    if list(first.trials) == list(second.trials):
        raise LraBenchError(f"{first.name} and {second.name} are the same {len(first.trials)} trials")
    boards, others = _boards(first), _boards(second)
    common = [key for key in boards if key in others]
    if not common:
        raise LraBenchError(
            f"{first.name} and {second.name} have no task under the same conditions: the first has {_listed(boards)}; "
            f"the second has {_listed(others)}"
        )
    return [_comparison(first, boards[key], second, others[key]) for key in common]


def _boards(side: Side) -> dict[_Key, list[Board]]:
    """The boards of a side by what has to be the same on the other. Of two tiers there are two alike."""
    boards = defaultdict(list)
    try:
        for board in aggregate(side.trials):
            boards[_key(board)].append(board)
    except LraBenchError as error:
        raise LraBenchError(printable(f"{side.name}: {error} (to narrow it: {side.name},commit=HASH)")) from error
    return boards


def _key(board: Board) -> _Key:
    task = tuple((key, value) for key, value in board.shared.items() if key.startswith("task."))
    content = {trial.record.task.content for trial in board.trials if trial.record.task is not None}
    same = board.task, board.version, board.origin, board.metric.name, board.track, board.protocol
    return *same, task, *sorted(map(str, content))


def _comparison(first: Side, boards: list[Board], second: Side, others: list[Board]) -> Comparison:
    board = boards[0]
    one, other = _contestant(first, boards), _contestant(second, others)
    values, other_values = (None if each.cell is None else sample(each.cell, board.metric) for each in (one, other))
    found = None
    if values is not None and other_values is not None:
        found = difference([values], [other_values], log=not board.metric.higher_is_better)
    return Comparison(board, one, other, found)


def _contestant(side: Side, boards: list[Board]) -> Contestant:
    rows = [row for board in boards for row in board.rows]
    if len(rows) > 1:
        names = printable(", ".join(row.label for row in rows))
        raise LraBenchError(
            f"{side.name} is {len(rows)} rows on {boards[0].label}: {names}. Choose one, such as {side.name},KEY=VALUE"
        )
    return Contestant(side.name, rows[0], best_cell(rows[0].cells, boards[0].metric))


def _listed(boards: Mapping[_Key, list[Board]]) -> str:
    names = [f"{board.label} ({board.conditions})" for alike in boards.values() for board in alike]
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return printable(", ".join([*names[:NAMED], *more]))
