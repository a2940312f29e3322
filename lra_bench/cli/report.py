"""`lra-bench report`: from records to a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import numpy as np

    from lra_bench.report.trial import Trial


@click.command(
    epilog="""\b
Examples:
  lra-bench report runs/quickstart --out report
  lra-bench report runs/monday runs/tuesday --out comparison
"""
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("report"), show_default=True, help="Folder to write."
)
def report(runs: tuple[Path, ...], out: Path) -> None:
    """Write a report on the records under RUNS: index.html, leaderboard.md, leaderboard.csv and figures.

    RUNS are study folders, trial folders or record files. Failed trials are results and stand in the report.
    """
    from lra_bench.report.aggregate import aggregate
    from lra_bench.report.build import build_report
    from lra_bench.report.records import load_trials
    from lra_bench.report.terminal import terminal_text

    trials = load_trials(runs)
    page = build_report(trials, out, _filters(trials))
    for board in aggregate(trials):
        click.echo(terminal_text(board) + "\n")
    click.echo(f"Report: {page}")


def _filters(trials: "Sequence[Trial]") -> "tuple[np.ndarray, np.ndarray] | None":
    """Spectral filters as the first model that has any uses them."""
    from lra_bench.nn.ops.spectral import spectral_filters

    for record in (trial.record for trial in trials):
        count, length = record.config["model"].get("num_filters"), record.config["task"].get("seq_len")
        if count and length:
            return spectral_filters(length, count)
    return None
