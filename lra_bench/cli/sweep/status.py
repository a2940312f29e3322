"""`lra-bench sweep status`: how far it is."""

from collections import Counter

import click

from lra_bench.cli.sweep.common import OVERRIDES, SHARD, SWEEP_FILE, cells_of


@click.command(
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
    for cell in cells_of(sweep_file, overrides, shard):
        record = finished_record(cell.folder)
        counts = rows.setdefault((cell.config.task.name, cell.config.model.name), Counter())
        counts[str(record.status) if record else str(progress(cell.folder))] += 1
    columns = sorted({column for counts in rows.values() for column in counts})
    print_table(
        ["task", "model", "cells", *columns],
        [[*key, str(counts.total()), *(str(counts[c]) for c in columns)] for key, counts in rows.items()],
    )
