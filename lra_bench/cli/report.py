"""`lra-bench report`: from records to a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lra_bench.cli.progress import progress

if TYPE_CHECKING:
    import numpy as np

    from lra_bench.report.trial import Trial


@click.command(
    epilog="""\b
Examples:
  lra-bench report runs/quickstart --out report
  lra-bench report runs/monday runs/tuesday --out comparison
  lra-bench report runs/lra results --against S5
"""
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("report"), show_default=True, help="Folder to write."
)
@click.option("--against", metavar="NAME", help="Show how far every row is from a published one, such as S5.")
@click.option("--mix", is_flag=True, help="Let tracks and protocols share tables. The page says so at the top.")
def report(runs: tuple[Path, ...], out: Path, against: str | None, mix: bool) -> None:
    """Write a report on the records under RUNS: index.html, leaderboard.md, .tex and .csv, sensitivity.csv and figures.

    RUNS are study folders, trial folders, record files, or submissions (results/NAME). Failed trials are results and
    stand in the report; files that are no sound records are listed with the reason, and change nothing else.
    """
    from lra_bench.report import build_report, load_records
    from lra_bench.report.formats.terminal import terminal_text
    from lra_bench.report.formatting import printable
    from lra_bench.report.frame import problems_of, trials_of

    with progress("reading records") as on_file:
        frame = load_records(*runs, on_file=on_file)
    for problem in problems_of(frame):
        click.echo(printable(f"left out: {problem.place} {problem.reason}"), err=True)
    with progress("drawing figures") as on_figure:
        content = build_report(frame, out, _filters(trials_of(frame)), against, mix, on_figure)
    of_boards = (table for section in content.sections for table in (section.rates, section.usable))
    for table in (*content.leaderboards, *of_boards):
        click.echo(terminal_text(table.without_quoted) + "\n")
    click.echo(f"Report: {out / 'index.html'}")


def _filters(trials: "Sequence[Trial]") -> "tuple[np.ndarray, np.ndarray] | None":
    """Spectral filters as the first model that has any uses them."""
    from lra_bench.nn.ops.spectral import spectral_filters

    for config in (trial.record.config for trial in trials):
        count, length = _whole(config, "model", "num_filters"), _whole(config, "task", "seq_len")
        if count and length and 1 <= count <= length:
            return spectral_filters(length, count)
    return None


def _whole(config: dict[str, Any], section: str, key: str) -> int | None:
    values = config.get(section)
    value = values.get(key) if isinstance(values, dict) else None
    return value if isinstance(value, int) else None
