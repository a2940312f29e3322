"""`lra-bench wandb`: local results on Weights & Biases."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lra_bench.tracking.push import Trial


@click.group()
def wandb() -> None:
    """Bring local results to Weights & Biases."""


@wandb.command(
    epilog="""\b
Examples:
  lra-bench wandb push runs/quickstart
  lra-bench wandb push runs/quickstart --report
  lra-bench wandb push runs/monday runs/tuesday --project comparison --entity my-team
  WANDB_MODE=offline lra-bench wandb push runs/quickstart
"""
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--project", help="Of W&B. Default: where a trial was logged, else its tracking.project.")
@click.option("--entity", help="Your user or team name on W&B. Default: where a trial was logged, else your own.")
@click.option("--report", is_flag=True, help="Also log one run per study with its leaderboard and figures.")
def push(runs: tuple[Path, ...], project: str | None, entity: str | None, report: bool) -> None:
    """Make or complete one W&B run per trial under RUNS, from the local files alone.

    RUNS are study folders or trial folders. It does not matter whether the trials were tracked when they ran, nor how
    often this is done: what W&B has already is left as it is. Trials that are not over are left out.
    """
    from lra_bench.core.errors import LraBenchError
    from lra_bench.tracking import decide, decision
    from lra_bench.tracking import push as pushing

    decided = decide("auto")
    if not decision.installed():
        raise LraBenchError(f"this needs the package wandb: {decision.EXTRA}")
    if decided.mode == "disabled":
        raise LraBenchError(f"{decided.reason}. Run `wandb login`, or set WANDB_MODE=offline to write offline folders")
    trials, unfinished = pushing.find_trials(runs)
    with _counting(len(trials)) as count:
        if decided.mode == "offline":
            pushing.push_offline(trials, count)
        else:
            pushing.push(trials, project, entity, count)
    if unfinished:
        click.echo(f"left out, as they are not over: {unfinished} trials")
    if report:
        _push_reports(trials, project, entity, offline=decided.mode == "offline")


def _push_reports(trials: "list[Trial]", project: str | None, entity: str | None, offline: bool) -> None:
    from lra_bench.tracking.study import push_report

    studies = defaultdict(list)
    for trial in trials:
        studies[trial.record.study].append(trial)
    for study, members in studies.items():
        click.echo(f"report of {study}: {push_report(members, project, entity, offline)}")


@contextmanager
def _counting(total: int) -> Iterator[Callable[[str], None]]:
    """Counts outcomes, with a bar on a terminal, and says at the end how many there were of each."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    counts: Counter[str] = Counter()
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), "runs, left", TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total)

        def count(outcome: str) -> None:
            counts[outcome] += 1
            bar.advance(task)

        yield count
    named = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
    click.echo(f"{total} runs: {named or 'none'}")
