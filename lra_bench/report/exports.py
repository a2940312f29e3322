"""The leaderboard as Markdown and CSV.

Text in records comes from strangers, and is written so that no reader of these formats acts on it.
"""

import csv
import io
import re
from dataclasses import asdict

from lra_bench.report import formatting
from lra_bench.report.board import Board, Row
from lra_bench.report.cost import cost
from lra_bench.report.rate_table import rate_table
from lra_bench.report.sensitivity import Sensitivity, Width, sensitivity, thresholds


def markdown(boards: list[Board]) -> str:
    """One table per board."""
    return "# Leaderboard\n\n" + "\n".join(_markdown_board(board) for board in boards)


def markdown_safe(text: str) -> str:
    """One line in which no character means anything to Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$])", r"\\\1", formatting.printable(text))


def csv_safe(text: str) -> str:
    """One line that no spreadsheet takes for a formula."""
    line = formatting.printable(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def comma_separated(boards: list[Board]) -> str:
    """One line per row of every board, numbers in full."""
    file = io.StringIO()
    lines = [_csv_line(board, row) for board in boards for row in board.rows]
    writer = csv.DictWriter(file, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def _markdown_board(board: Board) -> str:
    table = rate_table(board)
    lines = [
        [column.header for column in table.columns],
        *([entry.text for entry in row] for row in table.rows),
    ]
    header, *rows = ("| " + " | ".join(markdown_safe(text) for text in line) + " |" for line in lines)
    rule = "|" + " --- |" * len(table.columns)
    trials = f"{len(board.trials)} trials. Failed: {markdown_safe(formatting.named(board.failures))}."
    return "\n".join(
        [
            f"## {markdown_safe(board.label)}",
            "",
            board.conditions.capitalize() + ".",
            "",
            header,
            rule,
            *rows,
            "",
            trials,
            "",
        ]
    )


def _csv_line(board: Board, row: Row) -> dict[str, object]:
    found = sensitivity(row, board.metric)
    test = found.best.test if found.best else None
    return {
        "task": csv_safe(board.task),
        "task_version": board.version,
        "track": board.track,
        "protocol": board.protocol,
        "origin": board.origin or "",
        "model": csv_safe(row.label),
        "trials": len(row.trials),
        "missing_trials": row.missing,
        "failed_trials": sum(row.failures.values()),
        "failures": csv_safe(formatting.named(row.failures)),
        "rates_tried": len(row.cells),
        "lowest_rate": row.cells[0].rate,
        "highest_rate": row.cells[-1].rate,
        "best_rate": found.best.rate if found.best else None,
        "best_rate_at_edge": found.at_edge,
        "test_metric": csv_safe(board.metric.name),
        "test_n": test.n if test else None,
        "test_median": test.median if test else None,
        "test_low": test.low if test else None,
        "test_high": test.high if test else None,
        "test_mean": test.mean if test else None,
        **_csv_widths(found, thresholds(board.metric)),
        **asdict(cost(row)),
    }


def _csv_widths(found: Sensitivity, limits: tuple[float, ...]) -> dict[str, object]:
    widths = dict(zip(("good", "very_good"), zip(limits, found.widths, strict=True), strict=False))
    columns: dict[str, object] = {}
    for name in ("good", "very_good"):
        limit, width = widths.get(name, (None, None))
        columns[f"{name}_threshold"] = limit
        columns |= _csv_width(name, width)
    return columns | _csv_width("own", found.own_width)


def _csv_width(name: str, width: Width | None) -> dict[str, object]:
    return {
        f"{name}_lowest_rate": width.low if width else None,
        f"{name}_highest_rate": width.high if width else None,
        f"{name}_decades": width.decades if width else None,
        f"{name}_open_ended": width.open_ended if width else None,
    }
