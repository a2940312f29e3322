"""`lra-bench sweep plan`: what a sweep consists of."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from lra_bench.cli.sweep.common import OVERRIDES, SHARD, SWEEP_FILE, again, cells_of

if TYPE_CHECKING:
    from lra_bench.trials.plan import Cell


@click.command(
    epilog="""\b
Examples:
  lra-bench sweep plan quickstart
  lra-bench sweep plan my_sweep.yaml --cells --shard 2/4
  lra-bench sweep plan my_sweep.yaml --json
"""
)
@SWEEP_FILE
@OVERRIDES
@SHARD
@click.option("--cells", "list_cells", is_flag=True, help="List every cell with its id.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: id, words and folder of every cell.")
def plan(sweep_file: str, overrides: tuple[str, ...], shard: str, list_cells: bool, as_json: bool) -> None:
    """Show what a sweep consists of, and check every cell, without running anything."""
    cells = cells_of(sweep_file, overrides, shard)
    if as_json:
        listed = [{"id": c.folder.name, "words": c.words, "folder": str(c.folder)} for c in cells]
        click.echo(json.dumps(listed, indent=2))
        return
    if list_cells:
        for cell in cells:
            settings = cell.config
            words = f"{settings.task.name} {settings.model.name} lr={settings.optim.lr:g} seed={settings.seed}"
            click.echo(f"{cell.folder.name}  {words}")
    _print_table(cells)
    steps = sum(cell.config.train.max_steps for cell in cells)
    examples = sum(cell.config.train.max_steps * cell.config.train.global_batch_size for cell in cells)
    click.echo(f"{len(cells)} cells, all different, in {cells[0].folder.parent}")
    click.echo(f"{steps:,} steps, {examples:,} examples")
    click.echo(f"next: {again('run', sweep_file, overrides, shard)}")


def _print_table(cells: "list[Cell]") -> None:
    """One row per task and model."""
    from lra_bench.cli.show import print_table

    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.config.task.name, cell.config.model.name), []).append(cell)
    rows = [
        [
            *key,
            str(len(group)),
            _count(c.config.optim.lr for c in group),
            _count(c.config.seed for c in group),
            _range(c.config.train.devices for c in group),
            f"{sum(c.config.train.max_steps for c in group):,}",
        ]
        for key, group in groups.items()
    ]
    print_table(["task", "model", "cells", "rates", "seeds", "devices per trial", "steps"], rows)


def _count(values: Iterable[Any]) -> str:
    return str(len(set(values)))


def _range(values: Iterable[int]) -> str:
    found = sorted(set(values))
    return str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"
