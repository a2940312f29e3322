"""`lra-bench bench data`."""

from pathlib import Path

import click

from lra_bench.cli.bench.common import output_options, split_words


@click.command(
    epilog="""\b
Examples:
  lra-bench bench data
  lra-bench bench data text image --seconds 3
  lra-bench bench data pathx task.size=small
"""
)
@click.argument("words", nargs=-1, metavar="[TASK]... [KEY=VALUE]...")
@click.option("--batch", type=click.IntRange(min=1), default=64, show_default=True, help="Examples per batch.")
@click.option("--seconds", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Spent on each figure.")
@click.option("--step/--no-step", default=True, help="Time a training step of S4D too, at its recipe's size.")
@output_options
def data(
    words: tuple[str, ...], batch: int, seconds: float, step: bool, json_path: Path | None, compare: Path | None
) -> None:
    """Training examples a second of tasks whose data are ready.

    In one process, without workers, everything on the CPU. Beside it an ordinary item-by-item data set over the
    same arrays with torch's default collate, and which share of an S4D training step (forward and backward, of the
    size of the task's recipe) the loader takes.
    """
    from lra_bench.benchmarks.data import measure_tasks
    from lra_bench.benchmarks.results import older_run, publish

    older_run("data", compare)
    tasks, settings = split_words(words)
    benchmark = measure_tasks(tasks, settings, batch, seconds, step, say=lambda line: click.echo(line, err=True))
    publish(benchmark, json_path, compare)
