"""`lra-bench sweep run`: run its cells."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import click

from lra_bench.cli.sweep.common import (
    DEVICES,
    OVERRIDES,
    SHARD,
    SLOTS,
    SWEEP_FILE,
    TRIALS_PER_DEVICE,
    again,
    cells_of,
    progress_bar,
)
from lra_bench.cli.sweep.vectorize import VECTORIZE, Vectorize, chosen, described

if TYPE_CHECKING:
    from lra_bench.core.record import Status
    from lra_bench.trials.plan import Cell
    from lra_bench.trials.policy import Policy
    from lra_bench.trials.runner import Leftovers

    OnDone = Callable[[Cell], None]
    Launch = Callable[[OnDone], Leftovers | None]


class Named(NamedTuple):
    """The arguments that name the cells to every command on sweeps."""

    sweep_file: str
    overrides: tuple[str, ...]
    shard: str


@click.command(
    epilog="""\b
Examples:
  lra-bench sweep run quickstart
  lra-bench sweep run my_sweep.yaml --slots 4 --vectorize off
  lra-bench sweep run my_sweep.yaml --devices 0-7 --per-trial 2
  lra-bench sweep run lds_lr_sensitivity task=lds_noisy study=noisy
  lra-bench sweep run lds_lr_sensitivity --shard 1/2
  lra-bench sweep run my_sweep.yaml --launcher slurm --launcher-option mem_gb=8 --dry-run
"""
)
@SWEEP_FILE
@OVERRIDES
@SHARD
@SLOTS
@DEVICES
@click.option("--per-trial", metavar="N", type=click.IntRange(min=1), help="Devices of a trial: train.devices=N.")
@TRIALS_PER_DEVICE
@VECTORIZE
@click.option(
    "--stall-limit",
    metavar="SECONDS",
    type=click.FloatRange(min=1),
    default=1800,
    show_default=True,
    help="A trial without a sign of life for so long is ended as timeout.",
)
@click.option(
    "--oom-retries",
    metavar="N",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="How often a cell that ran out of memory goes on in micro-batches of half the size.",
)
@click.option(
    "--on-error",
    type=click.Choice(["hold", "carry-on", "stop"]),
    default="hold",
    show_default=True,
    help="hold: where a model's first cell ends in an error, its others wait; Slurm and Ray start all cells at once "
    "and hold none. stop: any error ends the sweep; not with Slurm.",
)
@click.option(
    "--quarantine",
    metavar="N",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Take a GPU out after so many failures in a row.",
)
@click.option("--launcher", type=click.Choice(["local", "slurm", "ray"]), default="local", show_default=True)
@click.option("--launcher-option", "words", multiple=True, metavar="KEY=VALUE", help="For Slurm or Ray; repeatable.")
@click.option("--dry-run", is_flag=True, help="With --launcher slurm: print the scripts and submit nothing.")
def run(
    sweep_file: str,
    overrides: tuple[str, ...],
    shard: str,
    slots: int | None,
    devices: str | None,
    per_trial: int | None,
    trials_per_device: int | None,
    vectorize: Vectorize,
    stall_limit: float,
    oom_retries: int,
    on_error: Literal["hold", "carry-on", "stop"],
    quarantine: int,
    launcher: Literal["local", "slurm", "ray"],
    words: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Run every cell that is not done yet.

    FILE_OR_NAME is a W&B sweep file or the name of a shipped one. Finished cells are passed over and interrupted ones
    go on from their last checkpoint, so after any interruption the same command continues.
    """
    from lra_bench.trials.plan import require_data
    from lra_bench.trials.policy import Policy

    if launcher != "local" and (slots or devices or trials_per_device):
        raise click.UsageError("--slots, --devices and --trials-per-device are for --launcher local")
    if launcher != "local" and vectorize == "on":
        raise click.UsageError("--vectorize on is for --launcher local; Slurm and Ray run each cell by itself")
    if dry_run and launcher != "slurm":
        raise click.UsageError("--dry-run is for --launcher slurm; `lra-bench sweep plan` shows the cells")
    options = _launcher_options(launcher, words)
    if per_trial is not None:
        overrides = (*overrides, f"train.devices={per_trial}")
    cells = cells_of(sweep_file, overrides, shard)
    require_data(cells)
    if dry_run:
        from lra_bench.trials.launchers.slurm import scripts

        click.echo("\n".join(scripts(cells, options)))
        return
    policy = Policy(stall_limit, oom_retries, on_error=on_error, quarantine=quarantine)
    named = Named(sweep_file, overrides, shard)
    if launcher == "local":
        from lra_bench.trials.runner import run_cells
        from lra_bench.trials.slots import make_slots
        from lra_bench.trials.state import finished_record

        places = make_slots(cells, slots, devices, trials_per_device or 1)
        todo = [cell for cell in cells if finished_record(cell.folder) is None]
        folders = {cell.folder for cell in todo}
        grouping = chosen(todo, places, vectorize)
        order = [*(cell for cell in cells if cell.folder not in folders), *grouping.order]
        how = [f"on {len(places)} slots", *(described(grouping) if vectorize != "off" else ())]
        _run(cells, how, lambda on_done: run_cells(order, places, on_done, policy, programs=grouping.programs), named)
    else:
        how = [f"with {launcher}"]
        _run(cells, how, lambda on_done: _submit(launcher, cells, options, policy, on_done), named)


def _run(cells: "list[Cell]", how: list[str], launch: "Launch", named: Named) -> None:
    """Run cells, say what came of them, and leave with the exit code that tells.

    Args:
        cells: of the sweep.
        how: they run: where, and further lines.
        launch: runs them.
        named: what they are to the commands on sweeps.
    """
    from lra_bench import tracking
    from lra_bench.trials.state import finished_record, forget_stop

    statuses = {cell.folder: record.status for cell in cells if (record := finished_record(cell.folder)) is not None}
    study, done = cells[0].folder.parent, len(statuses)
    for folder in {cell.folder.parent for cell in cells}:
        forget_stop(folder)
    decision = tracking.decide(cells[0].config.tracking.wandb)
    click.echo(f"{study}: {len(cells)} cells, {done} done, {len(cells) - done} to run {how[0]}")
    for line in (f"W&B: {decision.mode} ({decision.reason})", *how[1:]):
        click.echo(line)
    try:
        with progress_bar(len(cells)) as count:

            def on_done(cell: "Cell") -> None:
                if (record := finished_record(cell.folder)) is not None:
                    statuses[cell.folder] = record.status
                    count(record)

            leftovers = launch(on_done)
    except KeyboardInterrupt as interrupt:
        reason = str(interrupt) or "SIGINT"
        click.echo(f"Interrupted ({reason}); running trials have saved themselves. The same command goes on.", err=True)
        sys.exit(130 if reason == "SIGINT" else 75)
    if leftovers is None:
        click.echo(f"Next: {again('status', *named)}")
        return
    sys.exit(_conclude(cells, statuses, leftovers, named))


def _conclude(cells: "list[Cell]", statuses: "dict[Path, Status]", leftovers: "Leftovers", named: Named) -> int:
    """Say what came of the cells; gives the exit code."""
    from lra_bench.trials.policy import FAILURES

    counts = Counter(str(statuses.get(cell.folder, "not done")) for cell in cells)
    click.echo("Ended: " + ", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    for folder, held in leftovers.held.items():
        config = held[0].config
        what = f"{len(held)} cells of {config.model.name} on {config.task.name}"
        logs = again("logs", named.sweep_file, (folder.name, *named.overrides))
        click.echo(f"{what} were not started, since the first one ended in an error: {logs}")
    if leftovers.stopped_by is not None:
        cell = leftovers.stopped_by.folder.name
        click.echo(f"The sweep was ended at the error of cell {cell}; the same command goes on without it")
    if any(counts[status] for status in FAILURES):
        click.echo(f"Run failed cells again: {again('retry', *named)} --failed, and then this command")
    click.echo(f"Next: lra-bench report {cells[0].folder.parent}")
    return 1 if any(counts[status] for status in (*FAILURES, "not done")) else 0


def _launcher_options(launcher: str, words: tuple[str, ...]) -> dict[str, str]:
    if words and launcher == "local":
        raise click.UsageError("--launcher-option is for --launcher slurm or ray")
    pairs = [word.partition("=") for word in words]
    if any(not (name and equals) for name, equals, _ in pairs):
        raise click.UsageError("--launcher-option takes KEY=VALUE, such as slurm_partition=gpu")
    return {name: value for name, _, value in pairs}


def _submit(
    launcher: str,
    cells: "list[Cell]",
    options: dict[str, str],
    policy: "Policy",
    on_done: "OnDone",
) -> "Leftovers | None":
    """Let an engine run the cells; None where it is not waited for."""
    from lra_bench.trials.launchers import ray, slurm

    launch = ray.launch if launcher == "ray" else slurm.launch
    return launch(cells, options, policy, on_done, click.echo)
