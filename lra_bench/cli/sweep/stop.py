"""`lra-bench sweep stop`: let running trials save themselves and stop."""

import time
from typing import TYPE_CHECKING

import click

from lra_bench.cli.sweep.common import OVERRIDES, SWEEP_FILE, again, cells_of

if TYPE_CHECKING:
    from pathlib import Path

POLL = 0.5
"""Seconds between looks at running trials."""


@click.command(
    epilog="""\b
Examples:
  lra-bench sweep stop quickstart
  lra-bench sweep stop my_sweep.yaml --no-wait
"""
)
@SWEEP_FILE
@OVERRIDES
@click.option("--no-wait", is_flag=True, help="Do not wait until all have stopped.")
def stop(sweep_file: str, overrides: tuple[str, ...], no_wait: bool) -> None:
    """Let all trials of a sweep save themselves and stop, and its runners end, on whatever machine they are.

    The next `sweep run` goes on.
    """
    from lra_bench.trials.state import Progress, ask_to_stop, progress

    folders = [cell.folder for cell in cells_of(sweep_file, overrides, "1/1")]
    for study in {folder.parent for folder in folders if folder.parent.exists()}:
        ask_to_stop(study)
    if no_wait:
        click.echo("running trials and their runners have been asked to stop")
    else:
        stopped = _wait(folders)
        done = sum(progress(folder) is Progress.DONE for folder in stopped)
        click.echo(f"trials that were running: {len(stopped) - done} have saved themselves, {done} have ended")
    click.echo(f"next: {again('run', sweep_file, overrides)}")


def _wait(folders: "list[Path]") -> "set[Path]":
    """Wait until none of these trials runs; gives those that did."""
    from rich.console import Console

    from lra_bench.trials.state import Progress, progress

    seen: set[Path] = set()
    with Console(stderr=True).status("") as line:  # a line on a terminal, nothing elsewhere
        while running := {folder for folder in folders if progress(folder) is Progress.RUNNING}:
            seen |= running
            line.update(f"waiting for {len(running)} trials to save themselves")
            time.sleep(POLL)
    return seen
