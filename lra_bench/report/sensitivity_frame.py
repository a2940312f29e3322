"""How every row depends on its learning rate, as a table for other programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from lra_bench.core.record import Status
from lra_bench.report import formatting
from lra_bench.report.board import Board, Metric, Row
from lra_bench.report.cost import cost
from lra_bench.report.tolerance import Sensitivity, sensitivity, thresholds
from lra_bench.report.usable import at_chance, usable_range

if TYPE_CHECKING:
    import pandas as pd


def frame(boards: Sequence[Board]) -> "pd.DataFrame":
    """How every row of every board depends on its learning rate, and what it costs: one line each.

    Returns:
        The board's label, task and conditions; the row's label, numbers of trials and failures; rates tried, best rate,
        whether that is the last one tried; test metric there; the ends and the width in decades of the rates that meet
        the thresholds `good`, `very_good` and `own`; for the first two, `usable` over seeds: median and interval in
        decades, minus infinity standing for seeds without any usable rate, how many seeds there are, how many of their
        ranges reach an end of the rates tried, and how many have none; `area`; `at_chance` and
        `diverged`, of all trials, and `diverged_per_rate`, a text of the rates at which trials diverged with their
        share; and the fields of `Cost`. What does not exist is None.
    """
    import pandas as pd

    return pd.DataFrame([_line(board, row) for board in boards for row in board.rows], dtype=object)


def _line(board: Board, row: Row) -> dict[str, object]:
    found = sensitivity(row, board.metric)
    test = found.best.test if found.best else None
    limits = dict(zip(("good", "very_good"), thresholds(board.metric), strict=False))
    return {
        "board": board.label,
        "task": board.task,
        "task_version": board.version,
        "tier": board.tier,
        "track": board.track,
        "protocol": board.protocol,
        "origin": board.origin or "",
        "model": row.label,
        "trials": len(row.trials),
        "missing_trials": row.missing,
        "failed_trials": sum(row.failures.values()),
        "failures": formatting.named(row.failures),
        "rates_tried": len(row.cells),
        "lowest_rate": row.cells[0].rate,
        "highest_rate": row.cells[-1].rate,
        "best_rate": found.best.rate if found.best else None,
        "best_rate_at_edge": found.at_edge,
        "test_metric": board.metric.name,
        "test_n": test.n if test else None,
        "test_median": test.median if test else None,
        "test_low": test.low if test else None,
        "test_high": test.high if test else None,
        "test_mean": test.mean if test else None,
        **dict(_widths(found, limits)),
        **dict(_usable(row, board.metric, limits)),
        "area": found.area,
        "at_chance": at_chance(row) / len(row.trials),
        "diverged": row.failures.get(Status.DIVERGED, 0) / len(row.trials),
        "diverged_per_rate": "; ".join(
            f"{formatting.rate(cell.rate)}: {share:.3g}"
            for cell, share in zip(row.cells, found.diverged, strict=True)
            if share
        ),
        **asdict(cost(row)),
    }


def _widths(found: Sensitivity, limits: Mapping[str, float]) -> Iterator[tuple[str, object]]:
    widths = {**dict(zip(limits, found.widths, strict=True)), "own": found.own_width}
    for name in ("good", "very_good", "own"):
        width = widths.get(name)
        if name != "own":
            yield f"{name}_threshold", limits.get(name)
        yield f"{name}_lowest_rate", width.low if width else None
        yield f"{name}_highest_rate", width.high if width else None
        yield f"{name}_decades", width.decades if width else None
        yield f"{name}_open_ended", width.open_ended if width else None


def _usable(row: Row, metric: Metric, limits: Mapping[str, float]) -> Iterator[tuple[str, object]]:
    for name in ("good", "very_good"):
        found = usable_range(row, metric, limits[name]) if name in limits else None
        yield f"{name}_usable_median", found.decades.median if found else None
        yield f"{name}_usable_low", found.decades.low if found else None
        yield f"{name}_usable_high", found.decades.high if found else None
        yield f"{name}_usable_seeds", found.decades.n if found else None
        yield f"{name}_usable_open_ended", found.open_ended if found else None
        yield f"{name}_usable_none", found.none if found else None
