"""`lra-bench compare`: is one better than the other, and what is different."""

from pathlib import Path

import click


@click.command(
    epilog="""\b
Examples:
  lra-bench compare stu lru
  lra-bench compare stu,commit=56c6f79 stu,commit=0b832d2 --runs runs/quickstart
  lra-bench compare model.num_filters=16 model.num_filters=24,task=lds
  lra-bench compare recipe=listops/s4 recipe=listops/s5
  lra-bench compare runs/before,stu runs/after,stu
"""
)
@click.argument("a")
@click.argument("b")
@click.option(
    "--runs",
    multiple=True,
    type=click.Path(path_type=Path),
    default=[Path("runs")],
    show_default=True,
    help="Where to look for records, where A or B does not say. May be given several times.",
)
def compare(a: str, b: str, runs: tuple[Path, ...]) -> None:
    """Compare A with B on every task that both were measured on under the same conditions.

    A and B are each a folder or record file; a model, or the label of a row; recipe=NAME; commit=HASH, or its
    beginning; any setting as KEY=VALUE; or several of these with commas between.

    Both sides are read at their best learning rate, which is selected on validation data. Each task is judged by
    itself, at 5 %. Differences are of means over seeds (of logarithms, for errors); tables show medians.
    """
    import textwrap

    from lra_bench.report.compare import compare as compared
    from lra_bench.report.formats.terminal import WIDTH, terminal_text
    from lra_bench.report.formatting import printable
    from lra_bench.report.selectors import read_sides
    from lra_bench.report.verdict import comparison_table, verdict

    (first, second), problems = read_sides([a, b], runs)
    if problems:
        click.echo(printable(f"left out {len(problems)} files: {problems[0].place} {problems[0].reason}"), err=True)
    for comparison in compared(first, second):
        click.echo(terminal_text(comparison_table(comparison)))
        click.echo(textwrap.fill(printable(verdict(comparison)), WIDTH) + "\n")
