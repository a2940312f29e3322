"""`lra-bench sweep estimate`: what it will cost."""

import json
import sys
from typing import Any

import click

from lra_bench.cli.sweep.common import DEVICES, OVERRIDES, SHARD, SLOTS, SWEEP_FILE, TRIALS_PER_DEVICE, again, cells_of


@click.command(
    epilog="""\b
Examples:
  lra-bench sweep estimate quickstart
  lra-bench sweep estimate lds_lr_sensitivity task=lds_noisy --slots 8
  lra-bench sweep estimate lra_lr_sensitivity task=text --shard 1/4 --json
"""
)
@SWEEP_FILE
@OVERRIDES
@SHARD
@SLOTS
@DEVICES
@TRIALS_PER_DEVICE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def estimate(
    sweep_file: str,
    overrides: tuple[str, ...],
    shard: str,
    slots: int | None,
    devices: str | None,
    trials_per_device: int | None,
    as_json: bool,
) -> None:
    """Measure what a sweep will cost, before it is run.

    One cell of each kind is run for a few steps, as many copies at once as there are slots, in a temporary folder.
    Cells are of one kind where they differ in seeds, in the number of steps, and in real numbers such as rates. What
    is printed is an upper bound: trials that diverge end early, and each is taken to have a process of its own, as with
    `sweep run --vectorize off`; cells that share programs take a part of that.
    """
    from lra_bench.trials.estimate import estimated, grouped, summary
    from lra_bench.trials.plan import require_data
    from lra_bench.trials.slots import make_slots

    cells = cells_of(sweep_file, overrides, shard)
    require_data(cells)
    places = make_slots(cells, slots, devices, trials_per_device or 1)[: len(cells)]
    groups = grouped(cells)
    found = []
    for group in groups:
        found.append(estimated(group, places))
        click.echo(f"measured {len(found)} of {len(groups)} kinds of cells", err=True)
    costs = summary(found, len(places))
    if as_json:
        click.echo(json.dumps(costs, indent=2))
    else:
        _print(costs)
        click.echo(f"next: {again('run', sweep_file, overrides, shard)}")
    sys.exit(1 if any(each.failure for each in found) else 0)


def _print(costs: dict[str, Any]) -> None:
    from lra_bench.cli.show import print_table

    columns = ["task", "model", "where", "trials", "a step", "a trial", "memory", "device hours"]
    print_table(columns, [_row(group) for group in costs["groups"]])
    for group in costs["groups"]:
        if "failure" in group:
            click.echo(f"{group['task']} {group['model']} failed: {group['failure']}")
    total, conditions = costs["total"], costs["conditions"]
    click.echo(
        f"{total['trials']} trials: {_time(total['hours'])} with {conditions['trials_at_once']} at once, "
        f"{_number(total['device_hours'])} device hours; less where trials diverge"
    )
    click.echo(
        f"measured on {', '.join(conditions['devices'])}, CPU threads of a trial "
        f"{', '.join(map(str, conditions['threads']))}, {conditions['trials_at_once']} trials at once, "
        f"torch {conditions['torch']}"
    )


def _row(group: dict[str, Any]) -> list[str]:
    where = ", ".join(f"{key}={value}" for key, value in group["where"].items())
    row = [group["task"], group["model"], where, str(group["trials"])]
    if "failure" in group:
        return [*row, "failed", "", "", ""]
    memory = group["peak_memory_mb"]
    return [
        *row,
        _time(group["seconds_per_step"] / 3600),
        _time(group["hours_per_trial"]),
        "" if memory is None else f"{memory / 1000:.2f} GB",
        _number(group["device_hours"]),
    ]


def _time(hours: float) -> str:
    """In the unit that suits it."""
    seconds = hours * 3600
    for least, unit, name in ((3600, 3600, "h"), (60, 60, "min"), (1, 1, "s")):
        if seconds >= least:
            return f"{_number(seconds / unit)} {name}"
    return f"{_number(seconds * 1000)} ms"


def _number(value: float) -> str:
    """Three digits, or all of a large number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
