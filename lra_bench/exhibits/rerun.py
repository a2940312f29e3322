"""`python -m lra_bench.exhibits.rerun FOLDER ID [MODEL]` measures an exhibit again and compares it with its records."""

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from lra_bench.core.errors import ConfigError, LraBenchError
from lra_bench.core.files import write_atomically
from lra_bench.exhibits.records import RESULTS, read_studies, trials_in
from lra_bench.exhibits.spec import named, read
from lra_bench.report import formatting
from lra_bench.report.aggregate import aggregate
from lra_bench.report.board import Cell, Row
from lra_bench.report.formats.terminal import terminal_text
from lra_bench.report.rate_table import interval
from lra_bench.report.table import Column, Entry, Group, Table
from lra_bench.report.tolerance import best_cell
from lra_bench.report.trial import Trial

RUNS = Path("runs")
"""Folder that sweeps are run in."""


def rerun(root: Path, name: str, model: str | None = None) -> list[Table]:
    """Measure an exhibit again, or go on with it, and compare each of its studies with the committed records.

    Args:
        root: the checkout.
        name: id of the exhibit.
        model: measure this one's cells at their recorded best learning rates alone, instead of all sweeps.

    Raises:
        ConfigError: there is no such exhibit; nothing of it is measured; or it has no results, or none of the model.
        LraBenchError: a sweep or a trial cannot be run, or records cannot be read.
    """
    exhibit = named(read(root), name)
    recorded = read_studies(root, exhibit.studies)
    if not recorded:
        raise ConfigError(f"there is nothing to measure again: {name} has no records in {root / RESULTS}")
    if model is None:
        for command in exhibit.commands:
            _run(command)
    else:
        recorded = {study: of for study, trials in recorded.items() if (of := _of(model, trials))}
        if not recorded:
            raise ConfigError(f"{name} has no results of the model {model!r}")
        for study, trials in recorded.items():
            _run_best(study, trials)
    return [repetition(study, trials, trials_in(RUNS / study)) for study, trials in recorded.items()]


def repetition(study: str, recorded: Sequence[Trial], again: Sequence[Trial]) -> Table:
    """Every recorded row at its best learning rate, beside what a repetition came to at the same rate."""
    rows = {_key(row): row for board in aggregate(again) for row in board.rows}
    lines = []
    for board in aggregate(recorded):
        for row in board.rows:
            best = best_cell(row.cells, board.metric)
            if best is not None:
                now = _at(rows.get(_key(row)), best.rate)
                lines.append(
                    (_text(board.label), _text(row.label), _text(formatting.rate(best.rate)), *_both(best, now))
                )
    inside = sum(line[-1].text == "inside" for line in lines)
    return Table(
        title=f"{study}: {inside} of {len(lines)} medians lie inside the recorded interval",
        conditions="test metric at the recorded best learning rate",
        columns=tuple(
            Column(name, name) for name in ("Task", "Model", "Rate", "Recorded: median [interval]", "Now", "")
        ),
        groups=(Group("", tuple(lines)),),
    )


def _of(model: str, trials: Sequence[Trial]) -> list[Trial]:
    return [trial for board in aggregate(trials) for row in board.rows if row.model == model for trial in row.trials]


def _run_best(study: str, trials: Sequence[Trial]) -> None:
    """Run the trials at each row's best learning rate as they were recorded."""
    cells = [best_cell(row.cells, board.metric) for board in aggregate(trials) for row in board.rows]
    for record in (trial.record for cell in cells if cell is not None for trial in cell.trials):
        folder = RUNS / study / record.trial_id
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "config.yaml", yaml.safe_dump(record.config))
        _run(("train", "--resume", str(folder)))


def _run(words: Sequence[str]) -> None:
    program = Path(sys.executable).with_name("lra-bench")
    done = subprocess.run([program, *words], check=False)  # noqa: S603 (our own program)
    if done.returncode:
        raise LraBenchError(f"`lra-bench {' '.join(words)}` ended with exit code {done.returncode}")


def _key(row: Row) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(row.settings.items()))


def _at(row: Row | None, rate: float) -> Cell | None:
    return None if row is None else next((cell for cell in row.cells if cell.rate == rate), None)


def _both(recorded: Cell, now: Cell | None) -> tuple[Entry, Entry, Entry]:
    was = Entry(interval(recorded.test), recorded.test.median)
    if now is None:
        return was, Entry(formatting.NOTHING, math.nan), _text("not run")
    median = now.test.median
    inside = recorded.test.low <= median <= recorded.test.high
    return was, Entry(formatting.number(median), median), _text("inside" if inside else "outside")


def _text(text: str) -> Entry:
    return Entry(text, text)


if __name__ == "__main__":
    try:
        for table in rerun(Path(sys.argv[1]), *sys.argv[2:4]):
            sys.stdout.write(terminal_text(table) + "\n\n")
    except LraBenchError as error:
        sys.exit(f"error: {error}")
