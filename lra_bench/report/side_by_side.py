"""Rows of several boards that are the same but for the task."""

from collections.abc import Sequence

from lra_bench.report.board import Board, Row
from lra_bench.report.labels import labels


def side_by_side(boards: Sequence[Board]) -> list[tuple[str, tuple[Row | None, ...]]]:
    """Rows of all boards in order of their labels, each with its row on every board, or None where it has none.

    Rows are the same on two boards if all their settings but those of the task are.
    """
    rows: dict[tuple[tuple[str, str], ...], dict[int, Row]] = {}
    for place, board in enumerate(boards):
        for row in board.rows:
            own = tuple(sorted((key, value) for key, value in row.settings.items() if not key.startswith("task.")))
            rows.setdefault(own, {})[place] = row
    names = labels([(next(iter(on.values())).model, dict(own)) for own, on in rows.items()])
    found = [tuple(on.get(place) for place in range(len(boards))) for on in rows.values()]
    return sorted(zip(names, found, strict=True), key=lambda line: line[0])
