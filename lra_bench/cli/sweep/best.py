"""`lra-bench sweep best`: each model's best rate."""

from typing import TYPE_CHECKING

import click

from lra_bench.cli.sweep.common import OVERRIDES, SHARD, SWEEP_FILE, cells_of

if TYPE_CHECKING:
    from lra_bench.report.board import Cell as RateCell


@click.command(
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
    from lra_bench.report.tolerance import best_cell
    from lra_bench.report.trial import measured
    from lra_bench.trials.state import finished_record

    cells = cells_of(sweep_file, overrides, shard)
    records = [record for cell in cells if (record := finished_record(cell.folder)) is not None]
    if not records:
        raise LraBenchError(f"no cell is done yet; run them: lra-bench sweep run {sweep_file}")
    for board in aggregate(measured(records)):
        rows = []
        for row in board.rows:
            found = best_cell(row.cells, board.metric)
            rate, value, n = ("none", formatting.FAILED, "") if found is None else _best(found)
            rows.append([row.label, rate, value, n])
        print_table(["model", "best optim.lr", f"validation {board.metric.name}, mean", "n"], rows, title=board.label)
    click.echo(f"{len(records)} of {len(cells)} cells are done")
    click.echo(f"next: lra-bench report {cells[0].folder.parent}")


def _best(cell: "RateCell") -> tuple[str, str, str]:
    from lra_bench.report import formatting

    return formatting.rate(cell.rate), formatting.number(cell.val.mean), str(cell.val.n)
