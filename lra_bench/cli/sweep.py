"""`lra-bench sweep`: many trials."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lra_bench.core.record import RunRecord
    from lra_bench.report.board import Cell as RateCell
    from lra_bench.trials.plan import Cell


SWEEP_FILE = click.argument("sweep_file", metavar="FILE_OR_NAME")
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
SHARD = click.option(
    "--shard", metavar="I/N", default="1/1", help="Only part I of N, to share the cells among machines."
)


@click.group()
def sweep() -> None:
    """Run the cells of a sweep file, and see how far they are."""


@sweep.command(
    epilog="""\b
Examples:
  lra-bench sweep plan quickstart
  lra-bench sweep plan my_sweep.yaml --cells --shard 2/4
"""
)
@SWEEP_FILE
@OVERRIDES
@SHARD
@click.option("--cells", "list_cells", is_flag=True, help="List every cell with its id.")
def plan(sweep_file: str, overrides: tuple[str, ...], shard: str, list_cells: bool) -> None:
    """Show what a sweep consists of, and check every cell, without running anything."""
    from lra_bench.cli.show import print_table

    cells = _cells(sweep_file, overrides, shard)
    if list_cells:
        for cell in cells:
            settings = cell.config
            words = f"{settings.task.name} {settings.model.name} lr={settings.optim.lr:g} seed={settings.seed}"
            click.echo(f"{cell.folder.name}  {words}")
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.config.task.name, cell.config.model.name), []).append(cell)
    rows = [
        [*key, str(len(group)), _count(c.config.optim.lr for c in group), _count(c.config.seed for c in group)]
        for key, group in groups.items()
    ]
    print_table(["task", "model", "cells", "rates", "seeds"], rows)
    click.echo(f"{len(cells)} cells, all different, in {cells[0].folder.parent}")
    click.echo(f"next: lra-bench sweep run {sweep_file}")


@sweep.command(
    epilog="""\b
Examples:
  lra-bench sweep run quickstart
  lra-bench sweep run my_sweep.yaml --slots 4
  lra-bench sweep run lds_lr_sensitivity task=lds_noisy study=noisy
  lra-bench sweep run lds_lr_sensitivity --shard 1/2
"""
)
@SWEEP_FILE
@OVERRIDES
@SHARD
@click.option("--slots", type=click.IntRange(min=1), help="Trials at a time. Default: one per device.")
def run(sweep_file: str, overrides: tuple[str, ...], shard: str, slots: int | None) -> None:
    """Run every cell that is not done yet.

    FILE_OR_NAME is a W&B sweep file or the name of a shipped one. Finished cells are passed over and interrupted ones
    go on from their last checkpoint, so after any interruption the same command continues.
    """
    from lra_bench import tracking
    from lra_bench.core.record import Status
    from lra_bench.trials.launchers.local import make_slots
    from lra_bench.trials.plan import require_data
    from lra_bench.trials.runner import run_cells
    from lra_bench.trials.state import finished_record

    cells = _cells(sweep_file, overrides, shard)
    require_data(cells)
    study = cells[0].folder.parent
    done = sum(finished_record(cell.folder) is not None for cell in cells)
    places = make_slots(cells, slots)
    decision = tracking.decide(cells[0].config.tracking.wandb)
    click.echo(f"{study}: {len(cells)} cells, {done} done, {len(cells) - done} to run on {len(places)} slots")
    click.echo(f"W&B: {decision.mode} ({decision.reason})")
    try:
        with _progress_bar(len(cells)) as count:
            run_cells(cells, places, lambda cell: count(finished_record(cell.folder)))
    except KeyboardInterrupt:
        click.echo("Interrupted; running trials have saved themselves. The same command goes on.", err=True)
        sys.exit(130)
    records = [finished_record(cell.folder) for cell in cells]
    counts = Counter(str(record.status) if record else "preempted" for record in records)
    click.echo("Ended: " + ", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    click.echo(f"Next: lra-bench report {study}")
    sys.exit(1 if counts[Status.ERROR] + counts[Status.OOM] + counts[Status.PREEMPTED] else 0)


@sweep.command(
    epilog="""\b
Examples:
  lra-bench sweep status quickstart
"""
)
@SWEEP_FILE
@OVERRIDES
@SHARD
def status(sweep_file: str, overrides: tuple[str, ...], shard: str) -> None:
    """Show how many cells are done, running and to do, per model and task."""
    from lra_bench.cli.show import print_table
    from lra_bench.trials.state import finished_record, progress

    rows: dict[tuple[str, str], Counter[str]] = {}
    for cell in _cells(sweep_file, overrides, shard):
        record = finished_record(cell.folder)
        counts = rows.setdefault((cell.config.task.name, cell.config.model.name), Counter())
        counts[str(record.status) if record else str(progress(cell.folder))] += 1
    columns = sorted({column for counts in rows.values() for column in counts})
    print_table(
        ["task", "model", "cells", *columns],
        [[*key, str(counts.total()), *(str(counts[c]) for c in columns)] for key, counts in rows.items()],
    )


@sweep.command(
    epilog="""\b
Examples:
  lra-bench sweep best quickstart
"""
)
@SWEEP_FILE
@OVERRIDES
@SHARD
def best(sweep_file: str, overrides: tuple[str, ...], shard: str) -> None:
    """Show each model's best learning rate: by the mean over seeds of the validation metric, failures being the worst.

    The same rule as in reports. Nothing is selected on test data, and none is shown.
    """
    from lra_bench.cli.show import print_table
    from lra_bench.core.errors import LraBenchError
    from lra_bench.report import formatting
    from lra_bench.report.aggregate import aggregate
    from lra_bench.report.sensitivity import best_cell
    from lra_bench.trials.state import finished_record

    cells = _cells(sweep_file, overrides, shard)
    records = [record for cell in cells if (record := finished_record(cell.folder)) is not None]
    if not records:
        raise LraBenchError(f"no cell is done yet; run them: lra-bench sweep run {sweep_file}")
    for board in aggregate(records):
        rows = []
        for row in board.rows:
            found = best_cell(row.cells, board.metric)
            rate, value, n = ("none", formatting.FAILED, "") if found is None else _best(found)
            rows.append([row.label, rate, value, n])
        print_table(["model", "best optim.lr", f"validation {board.metric.name}, mean", "n"], rows, title=board.label)
    click.echo(f"{len(records)} of {len(cells)} cells are done")
    click.echo(f"next: lra-bench report {cells[0].folder.parent}")


@sweep.command(
    epilog="""\b
Examples:
  lra-bench sweep retry quickstart --failed
  lra-bench sweep retry quickstart --status timeout train.time_limit=7200
"""
)
@SWEEP_FILE
@OVERRIDES
@SHARD
@click.option("--failed", is_flag=True, help="All that ended in oom, error or timeout.")
@click.option("--status", "statuses", multiple=True, help="Those that ended so, such as oom; may be given again.")
def retry(sweep_file: str, overrides: tuple[str, ...], shard: str, failed: bool, statuses: tuple[str, ...]) -> None:
    """Let failed cells be run again by the next `sweep run`, from their last checkpoint where there is one.

    Their records are kept under another name. A result, such as diverged, can be repeated by naming its status.
    """
    from lra_bench.core.record import Status
    from lra_bench.trials.state import TrialBusyError, finished_record, set_aside

    if unknown := set(statuses) - {status.value for status in Status}:
        raise click.UsageError(f"no such status: {', '.join(sorted(unknown))}; known: {', '.join(Status)}")
    wanted = {*statuses, *([Status.OOM, Status.ERROR, Status.TIMEOUT] if failed else [])}
    if not wanted:
        raise click.UsageError("say which: --failed, or --status STATUS")
    counts: Counter[str] = Counter()
    for cell in _cells(sweep_file, overrides, shard):
        record = finished_record(cell.folder)
        if record is not None and record.status in wanted:
            try:
                set_aside(cell.folder)
            except TrialBusyError:
                continue
            counts[str(record.status)] += 1
    named = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    click.echo(f"{counts.total()} cells to be run again" + (f": {named}" if named else ""))
    click.echo(" ".join(["next: lra-bench sweep run", sweep_file, *overrides]))


@sweep.command(
    epilog="""\b
Examples:
  lra-bench sweep logs quickstart 3f2a
"""
)
@SWEEP_FILE
@click.argument("cell")
@OVERRIDES
@click.option("--lines", type=click.IntRange(min=1), default=40, show_default=True, help="From the end.")
def logs(sweep_file: str, cell: str, overrides: tuple[str, ...], lines: int) -> None:
    """Print the end of a cell's log. CELL is the beginning of its id, as `sweep plan --cells` lists them."""
    from lra_bench.core.errors import LraBenchError

    folders = [each.folder for each in _cells(sweep_file, overrides, "1/1") if each.folder.name.startswith(cell)]
    if len(folders) != 1:
        raise LraBenchError(
            f"{len(folders)} cells have an id that begins with '{cell}'; `sweep plan --cells` lists them"
        )
    path = folders[0] / "log.txt"
    if not path.exists():
        raise LraBenchError(f"{path} does not exist: the cell has not been run")
    click.echo("\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]))


def _cells(sweep_file: str, overrides: tuple[str, ...], part: str) -> "list[Cell]":
    from lra_bench.trials.plan import plan as planned
    from lra_bench.trials.plan import shard
    from lra_bench.trials.sweepfile import read_sweep

    cells = shard(planned(read_sweep(sweep_file), overrides), part)
    if not cells:
        raise click.UsageError(f"--shard {part} has no cells")
    return cells


def _best(cell: "RateCell") -> tuple[str, str, str]:
    from lra_bench.report import formatting

    return formatting.rate(cell.rate), formatting.number(cell.val.mean), str(cell.val.n)


def _count(values: Iterable[Any]) -> str:
    return str(len(set(values)))


class _progress_bar:  # noqa: N801 (used as a verb)
    """A bar on a terminal, nothing elsewhere; gives a function that counts a trial that is over."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

        console = Console(stderr=True)
        times = (TimeElapsedColumn(), "left", TimeRemainingColumn())
        columns = (BarColumn(), MofNCompleteColumn(), "trials {task.description}", *times)
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=total)
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> "Callable[[RunRecord | None], None]":
        self._bar.start()
        return self._count

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _count(self, record: "RunRecord | None") -> None:
        self._counts[str(record.status) if record else "preempted"] += 1
        summary = ", ".join(f"{count} {status}" for status, count in sorted(self._counts.items()))
        self._bar.update(self._task, advance=1, description=f"({summary})")
