"""`lra-bench sweep`: many trials. One file per command."""

import click

from lra_bench.cli.sweep.best import best
from lra_bench.cli.sweep.estimate import estimate
from lra_bench.cli.sweep.logs import logs
from lra_bench.cli.sweep.plan import plan
from lra_bench.cli.sweep.retry import retry
from lra_bench.cli.sweep.run import run
from lra_bench.cli.sweep.status import status
from lra_bench.cli.sweep.stop import stop


@click.group()
def sweep() -> None:
    """Run the cells of a sweep file, and see how far they are."""


for command in (plan, estimate, run, status, stop, best, retry, logs):
    sweep.add_command(command)
