"""`lra-bench sweep run`: run its cells."""

import sys
from collections import Counter

import click

from lra_bench.cli.sweep.common import OVERRIDES, SHARD, SWEEP_FILE, cells_of, progress_bar


@click.command(
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

    cells = cells_of(sweep_file, overrides, shard)
    require_data(cells)
    study = cells[0].folder.parent
    done = sum(finished_record(cell.folder) is not None for cell in cells)
    places = make_slots(cells, slots)
    decision = tracking.decide(cells[0].config.tracking.wandb)
    click.echo(f"{study}: {len(cells)} cells, {done} done, {len(cells) - done} to run on {len(places)} slots")
    click.echo(f"W&B: {decision.mode} ({decision.reason})")
    try:
        with progress_bar(len(cells)) as count:
            run_cells(cells, places, lambda cell: count(finished_record(cell.folder)))
    except KeyboardInterrupt:
        click.echo("Interrupted; running trials have saved themselves. The same command goes on.", err=True)
        sys.exit(130)
    records = [finished_record(cell.folder) for cell in cells]
    counts = Counter(str(record.status) if record else "preempted" for record in records)
    click.echo("Ended: " + ", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    click.echo(f"Next: lra-bench report {study}")
    sys.exit(1 if counts[Status.ERROR] + counts[Status.OOM] + counts[Status.PREEMPTED] else 0)
