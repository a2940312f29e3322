"""`lra-bench check`: whether a model keeps the contract."""

import sys

import click


@click.group()
def check() -> None:
    """Check a model of yours."""


@check.command(
    epilog="""\b
Examples:
  lra-bench check model stu
  lra-bench check model my_file:MyMixer
"""
)
@click.argument("name", metavar="NAME|MODULE:CLASS")
def model(name: str) -> None:
    """Check every property that comparisons rely on, and print a line for each. Exit code 1 if one does not hold."""
    from lra_bench.testing import mixer_checks
    from lra_bench.testing.heavy import case_of, heavy_checks

    case = case_of(name)
    failed = 0
    for checked in (*mixer_checks(), *heavy_checks(name)):
        try:
            reason = checked.run(case)
        except AssertionError as error:
            failed += 1
            click.echo(f"{click.style('FAILED', fg='red')}  {error}")
        else:
            verdict = click.style("ok    ", fg="green") if reason is None else "-     "
            click.echo(f"{verdict}  {checked.name}{f' ({reason})' if reason else ''}")
    click.echo(f"{name}: {f'{failed} properties do not hold' if failed else 'keeps the contract'}")
    sys.exit(1 if failed else 0)
