"""`lra-bench config`: what would be run."""

from pathlib import Path

import click


@click.group()
def config() -> None:
    """Look at settings."""


@config.command(
    epilog="""\b
Examples:
  lra-bench config show task=lds model=stu
  lra-bench config show task=lds model=lru optim.lr=0.01 > my_trial.yaml
"""
)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file of the same keys.")
def show(overrides: tuple[str, ...], config_file: Path | None) -> None:
    """Print every setting of a trial, and where its value came from."""
    from lra_bench.config.compose import compose, to_yaml_with_sources

    click.echo(to_yaml_with_sources(compose(overrides, config_file)), nl=False)
