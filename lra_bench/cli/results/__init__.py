"""`lra-bench results`: records that are kept, sent and compared. One file per command."""

import click

from lra_bench.cli.results.diff import diff
from lra_bench.cli.results.importing import import_runs
from lra_bench.cli.results.merge import merge
from lra_bench.cli.results.validate import validate


@click.group(
    epilog="""\b
Examples:
  lra-bench results merge runs/quickstart --out results/my-lab --by "My Lab"
  lra-bench results validate results/my-lab
  lra-bench results diff runs/before runs/after
  lra-bench results import --wandb team/project
"""
)
def results() -> None:
    """Check records, put them together to be sent, compare them, and import them from elsewhere."""


for command in (validate, merge, diff, import_runs):
    results.add_command(command)
