"""`lra-bench train`: one trial."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lra_bench.core.record import RunRecord
    from lra_bench.trials.plan import Cell


@click.command(
    epilog="""\b
Examples:
  lra-bench train task=lds model=stu optim.lr=0.05
  lra-bench train task=lds model=my_file:MyMixer train.max_steps=100 seed=1
  lra-bench train task=lds model=stu train.devices=2
  lra-bench train --config my_trial.yaml tracking.wandb=offline
  lra-bench train --resume runs/train/0123456789ab
"""
)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="YAML file of the same keys.")
@click.option(
    "--resume", type=click.Path(path_type=Path), help="A trial's folder: go on with it; nothing else is needed."
)
def train(overrides: tuple[str, ...], config_file: Path | None, resume: Path | None) -> None:
    """Train one model on one task, and write its record.

    The folder is a function of the settings, so the same command goes on with a trial that was interrupted, and does
    nothing if it is finished. `lra-bench config show` takes the same words and prints all keys.
    """
    from lra_bench.config.compose import compose, load_frozen
    from lra_bench.trials import plan

    if resume is None:
        cell = plan.cell_of(compose(overrides, config_file).config)
    elif overrides or config_file:
        raise click.UsageError("--resume takes everything from the folder; leave out the rest")
    else:
        cell = plan.Cell(load_frozen(resume / "config.yaml"), resume)
    plan.require_data([cell])
    _run(cell)


def _run(cell: "Cell") -> None:
    import logging

    from lra_bench import tracking
    from lra_bench.cli.show import record_summary
    from lra_bench.core.record import Status
    from lra_bench.tracking.push import fill_agents_run
    from lra_bench.trials import plan, state, worker

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    if state.finished_record(cell.folder) is None:
        decision = tracking.decide(cell.config.tracking.wandb)
        click.echo(f"W&B: {decision.mode} ({decision.reason})")
        plan.freeze(cell)
    else:
        click.echo("This trial is finished already; delete its folder to run it again.")
        fill_agents_run(cell.folder)
    record = _run_here(cell) if cell.config.train.devices == 1 else _run_ranks(cell)
    click.echo(record_summary(record, cell.folder))
    if record.status is Status.PREEMPTED:
        sys.exit(worker.PREEMPTED)
    sys.exit(1 if record.status in (Status.ERROR, Status.OOM) else 0)


def _run_here(cell: "Cell") -> "RunRecord":
    from lra_bench.core.errors import LraBenchError
    from lra_bench.trials import state, worker

    worker.watch_for_stop(cell.folder)
    try:
        return worker.run_trial(cell.folder, show_progress=sys.stderr.isatty())
    except state.TrialBusyError as busy:
        raise LraBenchError(f"another process is running this trial, in {cell.folder}") from busy


def _run_ranks(cell: "Cell") -> "RunRecord":
    """Run a trial in a process for each of its devices; the first one prints here."""
    from contextlib import suppress

    from lra_bench.core.errors import LraBenchError
    from lra_bench.core.record import RunRecord
    from lra_bench.trials.policy import Policy
    from lra_bench.trials.runner import run_cells
    from lra_bench.trials.slots import make_slots
    from lra_bench.trials.state import Progress, progress

    if progress(cell.folder) is Progress.RUNNING:
        raise LraBenchError(f"another process is running this trial, in {cell.folder}")
    with suppress(KeyboardInterrupt):
        run_cells([cell], make_slots([cell], 1), lambda _: None, Policy(oom_retries=0), on_terminal=True)
    path = cell.folder / "record.json"
    if not path.exists():
        raise LraBenchError(f"the trial was stopped before there was anything to save, in {cell.folder}")
    return RunRecord.read(path)
