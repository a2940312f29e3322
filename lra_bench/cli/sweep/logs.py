"""`lra-bench sweep logs`: the log of a cell."""

import click

from lra_bench.cli.sweep.common import OVERRIDES, SWEEP_FILE, cells_of


@click.command(
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

    folders = [each.folder for each in cells_of(sweep_file, overrides, "1/1") if each.folder.name.startswith(cell)]
    if len(folders) != 1:
        raise LraBenchError(
            f"{len(folders)} cells have an id that begins with '{cell}'; `sweep plan --cells` lists them"
        )
    path = folders[0] / "log.txt"
    if not path.exists():
        raise LraBenchError(f"{path} does not exist: the cell has not been run")
    click.echo("\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]))
