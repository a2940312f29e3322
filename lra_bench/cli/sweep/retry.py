"""`lra-bench sweep retry`: run failed cells again."""

from collections import Counter

import click

from lra_bench.cli.sweep.common import OVERRIDES, SHARD, SWEEP_FILE, again, cells_of


@click.command(
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
    from lra_bench.trials.policy import FAILURES
    from lra_bench.trials.state import TrialBusyError, finished_record, set_aside

    if unknown := set(statuses) - {status.value for status in Status}:
        raise click.UsageError(f"no such status: {', '.join(sorted(unknown))}; known: {', '.join(Status)}")
    wanted = {*statuses, *(FAILURES if failed else ())}
    if not wanted:
        raise click.UsageError("say which: --failed, or --status STATUS")
    counts: Counter[str] = Counter()
    for cell in cells_of(sweep_file, overrides, shard):
        record = finished_record(cell.folder)
        if record is not None and record.status in wanted:
            try:
                set_aside(cell.folder)
            except TrialBusyError:
                continue
            counts[str(record.status)] += 1
    named = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    click.echo(f"{counts.total()} cells to be run again" + (f": {named}" if named else ""))
    click.echo(f"next: {again('run', sweep_file, overrides, shard)}")
