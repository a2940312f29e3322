"""`lra-bench bench`: what things cost on this machine."""

import click

from lra_bench.cli.bench.data import data
from lra_bench.cli.bench.layer import layer
from lra_bench.cli.bench.scaling import scaling
from lra_bench.cli.bench.sweep import sweep
from lra_bench.cli.bench.train import train


@click.group(
    epilog="""\b
Examples:
  lra-bench bench layer stu lru s4d
  lra-bench bench scaling stu s4d
  lra-bench bench train lds lru
  lra-bench bench layer --json now.json --compare before.json
"""
)
def bench() -> None:
    """Measure speed. Everything in one table is measured in one run, so its ratios mean something."""


for command in (layer, scaling, data, train, sweep):
    bench.add_command(command)
