"""Cells of a sweep trained together against the same cells in processes of their own.

Both run as `lra-bench sweep run` runs them, one after the other, each from a runner that is started anew, in folders
that are removed. Wall-clock time includes imports, forks, tests and records.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from lra_bench.benchmarks.results import Benchmark, Column, Row, machine
from lra_bench.benchmarks.timing import in_own_process
from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import RunRecord, Status
from lra_bench.core.settings import TrackingConfig
from lra_bench.trials.grouping import Grouping, grouped
from lra_bench.trials.launchers.local import start_server
from lra_bench.trials.memory import bytes_per_slot
from lra_bench.trials.plan import Cell
from lra_bench.trials.policy import Policy
from lra_bench.trials.runner import run_cells
from lra_bench.trials.slots import Slot
from lra_bench.trials.state import finished_record

COLUMNS = (
    Column("task", "task"),
    Column("model", "model"),
    Column("cells", "cells", "{:.0f}"),
    Column("stacked", "in programs", "{:.0f}"),
    Column("alone_s", "processes, s", "{:.1f}", "less"),
    Column("together_s", "programs, s", "{:.1f}", "less"),
    Column("ratio", "ratio", "{:.2f}", "more"),
    Column("same", "same verdict", "{:.0f}", "more"),
    Column("difference", "largest difference", "{:.1e}", "less"),
    Column("median", "median difference", "{:.1e}", "less"),
    Column("alone_mb", "process, MB", "{:.0f}", "less"),
    Column("together_mb", "program, MB", "{:.0f}", "less"),
)


@dataclass(frozen=True)
class Ran:
    """What came of cells that were run one way.

    Attributes:
        seconds: from the start of the runner's work to its end.
        records: of the cells, in their order.
    """

    seconds: float
    records: list[RunRecord]


def measure(
    cells: Sequence[Cell],
    slots: Sequence[Slot],
    mode: Literal["auto", "on"],
    on_done: Callable[[str, int], None],
) -> Benchmark:
    """Run cells both ways.

    Args:
        cells: of a sweep; nothing is written to their folders.
        slots: where.
        mode: which cells are trained together, as `--vectorize` has it.
        on_done: called with which way comes next, and how many cells it has.

    Raises:
        LraBenchError: a cell was left without a record.
    """
    found: dict[str, Ran] = {}
    for way in ("processes", "programs"):
        on_done(way, len(cells))
        found[way] = in_own_process(_run, list(cells), list(slots), mode if way == "programs" else None)
    alone, together = found["processes"], found["programs"]
    kinds = list(dict.fromkeys((cell.config.task.name, cell.config.model.name) for cell in cells))
    rows = [_row(task, model, alone, together) for task, model in kinds]
    everything = _row("all", "", alone, together) | _times(alone.seconds, together.seconds)
    conditions = {
        **machine(),
        "slots": str(len(slots)),
        "seconds": "of a model: sum over its trials, each by itself or its share of its program; of all: wall-clock",
        "difference": f"of the final test metric, relative, of cells that are {Status.OK} or {Status.CHANCE} both ways",
        "MB": "most memory of a process",
    }
    return Benchmark("sweep", conditions, ("task", "model"), COLUMNS, [*rows, everything])


def _run(cells: list[Cell], slots: list[Slot], mode: Literal["auto", "on"] | None) -> Ran:
    """Run cells in a temporary folder, together where a mode is given."""
    start = time.perf_counter()
    with TemporaryDirectory(prefix="lra-bench-sweep-") as scratch:
        moved = [_moved(cell, Path(scratch)) for cell in cells]
        start_server(moved)
        grouping = grouped(moved, len(slots), bytes_per_slot(slots), mode) if mode else Grouping((), {"": tuple(moved)})
        run_cells(grouping.order, slots, lambda _: None, Policy(on_error="carry-on"), programs=grouping.programs)
        seconds = time.perf_counter() - start
        records = [record for cell in moved if (record := finished_record(cell.folder)) is not None]
    if len(records) < len(cells):
        raise LraBenchError(f"{len(cells) - len(records)} cells were left without a record; run the sweep to see why")
    return Ran(seconds, records)


def _moved(cell: Cell, scratch: Path) -> Cell:
    config = replace(cell.config, out_dir=str(scratch), tracking=TrackingConfig(wandb="disabled"))
    return Cell(config, scratch / cell.folder.parent.name / cell.folder.name)


def _row(task: str, model: str, alone: Ran, together: Ran) -> Row:
    """Compare the cells of a model on a task; of all where the task is "all"."""
    pairs = [
        (one, other)
        for one, other in zip(alone.records, together.records, strict=True)
        if task == "all" or (one.config["task"]["name"], one.config["model"]["name"]) == (task, model)
    ]
    differences = sorted(found for one, other in pairs if (found := difference(one, other)) is not None)
    seconds = [math.fsum(record.budget.seconds for record in ran) for ran in zip(*pairs, strict=True)]
    memory = [max(record.budget.peak_memory_mb or math.nan for record in ran) for ran in zip(*pairs, strict=True)]
    return {
        "task": task,
        "model": model,
        "cells": float(len(pairs)),
        "stacked": float(sum(other.engine.members > 1 for _, other in pairs)),
        **_times(*seconds),
        "same": float(sum(one.status == other.status for one, other in pairs)),
        "difference": differences[-1] if differences else None,
        "median": differences[len(differences) // 2] if differences else None,
        "alone_mb": memory[0],
        "together_mb": memory[1],
    }


def _times(alone: float, together: float) -> Row:
    return {"alone_s": alone, "together_s": together, "ratio": alone / together if together else None}


def difference(one: RunRecord, other: RunRecord) -> float | None:
    """Relative difference of the final test metric of a cell; None where it has none, or has diverged, either way."""
    if one.task is None or not {one.status, other.status} <= {Status.OK, Status.CHANCE}:
        return None
    first, second = (record.test.get(one.task.metric) for record in (one, other))
    if first is None or second is None:
        return None
    return abs(first - second) / max(abs(first), abs(second)) if first != second else 0.0
