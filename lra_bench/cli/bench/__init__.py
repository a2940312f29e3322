"""`lra-bench bench`: what things cost on this machine."""

import click

from lra_bench.cli.bench.data import data


@click.group()
def bench() -> None:
    """Measure speed. Everything in one table is measured in one run, so its ratios mean something."""


for command in (data,):
    bench.add_command(command)
