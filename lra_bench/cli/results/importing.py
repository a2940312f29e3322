"""`lra-bench results import`: records made of runs on Weights & Biases."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lra_bench.core.specs import TaskSpec
    from lra_bench.tracking.importing import Outcome

NAMED = 5
"""Runs that are named for each reason to leave them out."""


@click.command(
    "import",
    epilog="""\b
Examples:
  lra-bench results import --wandb ~/project/wandb
  lra-bench results import --wandb my-team/lra-bench --out runs/theirs
  lra-bench results import --wandb my-team/s4-listops --mapping mapping.yaml
\b
A mapping says where runs of other code keep what a record needs:
  task: listops                        # a task's name
  metric: accuracy                     # what `val` and `test` are
  higher_is_better: true
  chance: 0.1                          # what a trivial predictor reaches
  unit: percent                        # only where accuracies are given as 0 to 100
  protocol: legacy                     # clean: selected on validation data, tested once
  model: config.layer                  # config.KEY and summary.KEY are read from each run
  lr: config.optimizer.lr
  seed: config.seed
  steps: summary.trainer/global_step
  val: summary.best_val_accuracy
  test: summary.test_accuracy
  # may be left out, and then are unknown, as are data_seed and state_size:
  selected_step: summary.best_step
  batch_size: config.batch_size
  parameters: config.n_parameters
  curve: history.val_accuracy
  curve_step: history.trainer/global_step
  ignore: [output_dir, comment]        # config keys in which runs of one row may differ
""",
)
@click.option(
    "--wandb",
    "source",
    metavar="DIR_OR_PROJECT",
    required=True,
    help="A folder with W&B's run folders at any depth, or ENTITY/PROJECT on the service.",
)
@click.option("--entity", help="Your user or team name on W&B, where the project is named alone.")
@click.option(
    "--mapping",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file for runs that lra-bench did not make; see below.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write. Default: runs/imported-NAME.")
def import_runs(source: str, entity: str | None, mapping: Path | None, out: Path | None) -> None:
    """Make trial folders with records of runs on Weights & Biases, so that a report can read them.

    Runs that lra-bench made give the record of their trial. Runs of other code need a mapping; they name W&B as their
    origin and never share a table with trials of lra-bench. Doing it again changes nothing but what is new.
    """
    from lra_bench.core.errors import LraBenchError
    from lra_bench.tracking import decision, importing, service_runs
    from lra_bench.tracking.mapping import Mapping, safe

    if not decision.installed():
        raise LraBenchError(f"this needs the package wandb: {decision.EXTRA}")
    folder = Path(source)
    local = entity is None and folder.is_dir()
    name = folder.resolve().name if local else source.rpartition("/")[2]
    place = out or Path("runs") / f"imported-{safe(name)}"
    found = importing.local_runs(folder) if local else service_runs.service_runs(source, entity)
    with _counting() as count:
        read = Mapping.read(mapping) if mapping else None
        outcomes = importing.import_runs(found, place, read, identify, count)
    _say(outcomes, place)


def identify(config: dict[str, Any]) -> "tuple[str, TaskSpec]":
    """The id that the trial of a config has in this lra-bench, and what its task promises.

    Raises:
        LraBenchError: the config is not understood.
    """
    import tempfile

    from lra_bench.building import build_task
    from lra_bench.config.compose import load_frozen
    from lra_bench.config.files import write_yaml
    from lra_bench.outcome import identity

    with tempfile.TemporaryDirectory(prefix="lra-bench-") as scratch:
        file = Path(scratch, "config.yaml")
        file.write_text(write_yaml(config), encoding="utf-8")
        frozen = load_frozen(file)
    return identity(frozen), build_task(frozen).spec


def _say(outcomes: "Sequence[Outcome]", folder: Path) -> None:
    """Counts, what was left out and why, and what to do next."""
    from lra_bench.core.errors import LraBenchError
    from lra_bench.report.formatting import cut, printable

    counts = Counter(outcome.verdict for outcome in outcomes)
    named = ", ".join(f"{counts[verdict]} {verdict}" for verdict in sorted(counts))
    click.echo(f"{len(outcomes)} runs: {named or 'none'}")
    left_out: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.reason is not None:
            left_out.setdefault(outcome.reason, []).append(printable(outcome.run))
    for reason, runs in left_out.items():
        click.echo(f"left out ({len(runs)}): {printable(reason)}")
        for run in runs[:NAMED]:
            click.echo(f"  {cut(run, 96)}")
        if len(runs) > NAMED:
            click.echo(f"  and {len(runs) - NAMED} more")
    if counts["left out"] == len(outcomes):
        raise LraBenchError("no run gave a record, so there is nothing to report on")
    click.echo(f"Records: {folder}")
    click.echo(f"next: {shlex.join(('lra-bench', 'report', str(folder)))}")


@contextmanager
def _counting() -> Iterator[Callable[[], None]]:
    """Counts runs on a terminal, as nobody knows beforehand how many there are."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), "{task.completed} runs read")
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda: bar.advance(task)
