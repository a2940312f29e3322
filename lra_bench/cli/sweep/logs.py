"""`lra-bench sweep logs`: the log of a cell."""

import click

from lra_bench.cli.sweep.common import OVERRIDES, SWEEP_FILE, cells_of


@click.command(
    epilog="""\b
Examples:
  lra-bench sweep logs quickstart 3f2a
  lra-bench sweep logs my_sweep.yaml 3f2a train.devices=4 --rank 2
"""
)
@SWEEP_FILE
@click.argument("cell")
@OVERRIDES
@click.option("--lines", type=click.IntRange(min=1), default=40, show_default=True, help="From the end.")
@click.option(
    "--rank", type=click.IntRange(min=0), default=0, help="Which of the processes of a trial on many devices."
)
def logs(sweep_file: str, cell: str, overrides: tuple[str, ...], lines: int, rank: int) -> None:
    """Print the end of a cell's log, or of the program that it shares with others.

    CELL is the beginning of its id, as `sweep plan --cells` lists them.
    """
    from lra_bench.core.errors import LraBenchError
    from lra_bench.trials.state import last_program, log_file

    folders = [each.folder for each in cells_of(sweep_file, overrides, "1/1") if each.folder.name.startswith(cell)]
    if len(folders) != 1:
        raise LraBenchError(
            f"{len(folders)} cells have an id that begins with '{cell}'; `sweep plan --cells` lists them"
        )
    path = log_file(folders[0], rank)
    if not path.exists():
        raise LraBenchError(f"{path} does not exist: the cell has not been run" + (" by so many ranks" if rank else ""))
    path = last_program(folders[0]) or path
    click.echo("\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]))
