"""`lra-bench bench sweep`."""

from pathlib import Path
from typing import Literal

import click

from lra_bench.cli.bench.common import output_options


@click.command(
    epilog="""\b
Examples:
  lra-bench bench sweep quickstart
  lra-bench bench sweep lds_lr_sensitivity train.max_steps=500 --cells 110
  lra-bench bench sweep my_sweep.yaml --vectorize on --json now.json
"""
)
@click.argument("sweep_file", metavar="FILE_OR_NAME")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--cells", "count", type=click.IntRange(min=1), help="So many, spread evenly over the sweep. Default: all."
)
@click.option("--slots", type=click.IntRange(min=1), help="Trials, or programs, at a time. Default: one per device.")
@click.option(
    "--vectorize", type=click.Choice(["auto", "on"]), default="auto", show_default=True, help="Of `sweep run`."
)
@output_options
def sweep(
    sweep_file: str,
    overrides: tuple[str, ...],
    count: int | None,
    slots: int | None,
    vectorize: Literal["auto", "on"],
    json_path: Path | None,
    compare: Path | None,
) -> None:
    """Cells of a sweep trained together in programs against the same cells in processes of their own.

    Both ways are run in full, in temporary folders: wall-clock time, whether trials end the same way, how far final
    metrics lie apart, and memory.
    """
    from lra_bench.benchmarks.results import older_run, publish
    from lra_bench.benchmarks.sweeps import measure
    from lra_bench.cli.sweep.common import cells_of
    from lra_bench.trials.plan import require_data
    from lra_bench.trials.slots import make_slots

    older_run("sweep", compare)
    cells = cells_of(sweep_file, overrides, "1/1")
    if count is not None and count < len(cells):
        cells = [cells[index * len(cells) // count] for index in range(count)]
    require_data(cells)

    def say(way: str, cells: int) -> None:
        click.echo(f"running {cells} cells in {way}", err=True)

    publish(measure(cells, make_slots(cells, slots), vectorize, say), json_path, compare)
