"""`lra-bench`: the command line. Commands import what they need only when they run, so that help is quick."""

from typing import Any

import click

from lra_bench import __version__
from lra_bench.cli.bench import bench
from lra_bench.cli.check import check
from lra_bench.cli.compare import compare
from lra_bench.cli.config import config
from lra_bench.cli.data import data
from lra_bench.cli.doctor import doctor
from lra_bench.cli.list import list_
from lra_bench.cli.new import new
from lra_bench.cli.report import report
from lra_bench.cli.results import results
from lra_bench.cli.sweep import sweep
from lra_bench.cli.train import train
from lra_bench.cli.wandb import wandb
from lra_bench.core.errors import LraBenchError


class Commands(click.Group):
    """Turns errors that the user can mend into one line: exit code 2, or 1 where the disk is to blame."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except LraBenchError as error:
            self._complain(error)
            ctx.exit(2)
        except OSError as error:  # a full disk, a folder that may not be written
            self._complain(error)
            ctx.exit(1)

    @staticmethod
    def _complain(error: Exception) -> None:
        click.echo(f"{click.style('error:', fg='red')} {error}", err=True)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  lra-bench train task=lds model=stu optim.lr=0.05
  lra-bench sweep run quickstart
  lra-bench report runs/quickstart --out report
""",
)
@click.version_option(__version__, prog_name="lra-bench")
def main() -> None:
    """Compare long-range sequence models under one protocol."""


for command in (train, sweep, report, compare, results, wandb, data, list_, check, new, bench, config, doctor):
    main.add_command(command)
