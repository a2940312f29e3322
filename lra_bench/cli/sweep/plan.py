"""`lra-bench sweep plan`: what a sweep consists of."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from lra_bench.cli.sweep.common import OVERRIDES, SHARD, SWEEP_FILE, cells_of

if TYPE_CHECKING:
    from lra_bench.trials.plan import Cell


@click.command(
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

    cells = cells_of(sweep_file, overrides, shard)
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


def _count(values: Iterable[Any]) -> str:
    return str(len(set(values)))
