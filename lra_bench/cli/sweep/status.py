"""`lra-bench sweep status`: how far it is."""

import time
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from lra_bench.cli.sweep.common import OVERRIDES, SHARD, SWEEP_FILE, again, cells_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.table import Table

    from lra_bench.trials.overview import CellState

    Look = Callable[[], list[CellState]]
    Words = tuple[str, tuple[str, ...], str]

EVERY = 2.0
"""Seconds between looks of --watch."""
STYLES = {
    "running": "cyan",
    "ok": "green",
    **dict.fromkeys(("chance", "diverged"), "yellow"),
    **dict.fromkeys(("oom", "timeout", "error", "unreadable"), "red"),
}


@click.command(
    epilog="""\b
Examples:
  lra-bench sweep status quickstart
  lra-bench sweep status quickstart --watch
  lra-bench sweep status my_sweep.yaml --shard 2/4 --json
"""
)
@SWEEP_FILE
@OVERRIDES
@SHARD
@click.option("--watch", is_flag=True, help="Look every 2 seconds until all cells are done.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every cell.")
def status(sweep_file: str, overrides: tuple[str, ...], shard: str, watch: bool, as_json: bool) -> None:
    """Show how many cells wait, run and are done, per task and model, and about how long the rest takes.

    It reads the trials' folders alone, so it works on any machine that sees them, whatever runs the cells.
    """
    import json

    from lra_bench.trials.overview import Overview

    if watch and as_json:
        raise click.UsageError("choose one of --watch and --json")
    look = Overview(cells_of(sweep_file, overrides, shard)).look
    words = sweep_file, overrides, shard
    if as_json:
        click.echo(json.dumps(_facts(look()), indent=2))
    elif watch:
        _watch(look, words)
    else:
        states = look()
        _print(states, [*_sentences(states), *_next(states, words)])


def _watch(look: "Look", words: "Words") -> None:
    """Draw anew on a terminal, print what has changed elsewhere, until all is done or Control-C is pressed."""
    from rich.live import Live

    console = _console()
    shown = None
    try:
        with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
            while True:
                states = look()
                counts = Counter(state.status for state in states)
                if live is not None:
                    live.update(_drawn(states), refresh=True)
                elif counts != shown:
                    _print(states, [*_sentences(states), ""])
                if all(state.done for state in states):
                    break
                shown = counts
                time.sleep(EVERY)
    except KeyboardInterrupt:
        return
    click.echo("\n".join(_next(states, words)))


def _print(states: "list[CellState]", lines: list[str]) -> None:
    _console().print(_table(states))
    click.echo("\n".join(lines))


def _drawn(states: "list[CellState]") -> Any:
    from rich.console import Group
    from rich.text import Text

    return Group(_table(states), *(Text(line) for line in _sentences(states)))


def _console() -> "Console":
    from rich.console import Console

    return Console(width=None if Console().is_terminal else 100)


def _table(states: "list[CellState]") -> "Table":
    """One row per task and model, and one for all."""
    from rich.table import Table
    from rich.text import Text

    from lra_bench.trials.overview import STATUSES

    rows: dict[tuple[str, str], Counter[str]] = {}
    for state in states:
        config = state.cell.config
        rows.setdefault((config.task.name, config.model.name), Counter())[str(state.status)] += 1
    if len(rows) > 1:
        rows["all", ""] = sum(rows.values(), Counter())
    table = Table("task", "model", "cells", box=None, pad_edge=False, header_style="bold")
    columns = [str(name) for name in STATUSES if any(counts[str(name)] for counts in rows.values())]
    for name in columns:
        table.add_column(name, style=STYLES.get(name))
    for (task, model), counts in rows.items():
        numbers = (str(counts[name] or "") for name in columns)
        table.add_row(Text(task), Text(model), str(counts.total()), *numbers)
    return table


def _sentences(states: "list[CellState]") -> list[str]:
    """What the table does not say."""
    from lra_bench.trials.overview import at_once, seconds_left
    from lra_bench.trials.state import StopRequest

    done, running = sum(state.done for state in states), _running(states)
    lines = [f"{done} of {len(states)} cells are done" + (f", {running} running" if running else "")]
    left, processes = seconds_left(states), at_once(states)
    if left and processes:
        in_programs = f" in {processes} processes" if processes < running else ""
        lines.append(f"about {_span(left / processes)} left, {running} at a time{in_programs}")
    elif left:
        lines.append(f"about {_span(left)} of trials left, one at a time")
    problems = [state.problem for state in states if state.problem]
    if problems:
        lines.append(f"{len(problems)} records cannot be read; remove them to run their cells again: {problems[0]}")
    for study in sorted({state.cell.folder.parent for state in states}):
        if StopRequest(study).made:
            lines.append(f"a stop was asked for in {study}; `sweep run` goes on")
    return lines


def _next(states: "list[CellState]", words: "Words") -> list[str]:
    """The commands to go on with."""
    if _running(states):
        return [f"next: {again('status', *words)} --watch"]
    if not all(state.done for state in states):
        return [f"next: {again('run', *words)}"]
    failed = any(state.status in ("oom", "timeout", "error") for state in states)
    report = f"lra-bench report {states[0].cell.folder.parent}"
    return [f"next: {report}", *([f"or:   {again('retry', *words)} --failed"] if failed else [])]


def _running(states: "list[CellState]") -> int:
    return sum(state.status == "running" for state in states)


def _span(seconds: float) -> str:
    """A length of time, to about a tenth: 40 s, 12 min, 2 h 10 min, 3 d 5 h."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {rest // 10 * 10} min" if rest >= 10 else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"


def _facts(states: "list[CellState]") -> dict[str, Any]:
    """Everything, for programs."""
    from lra_bench.trials.overview import at_once, seconds_left
    from lra_bench.trials.state import StopRequest

    left, processes = seconds_left(states), at_once(states)
    return {
        "studies": sorted({str(state.cell.folder.parent) for state in states}),
        "stop_asked": any(StopRequest(study).made for study in {state.cell.folder.parent for state in states}),
        "counts": dict(Counter(str(state.status) for state in states)),
        "trial_seconds_left": left,
        "seconds_left": left / processes if left is not None and processes else None,
        "cells": [_cell(state) for state in states],
    }


def _cell(state: "CellState") -> dict[str, Any]:
    config = state.cell.config
    facts: dict[str, Any] = {
        "id": state.cell.folder.name,
        "task": config.task.name,
        "model": config.model.name,
        "lr": config.optim.lr,
        "seed": config.seed,
        "status": str(state.status),
    }
    if state.status in ("running", "interrupted"):
        facts |= {"step": state.step, "max_steps": config.train.max_steps}
    if state.problem:
        facts["problem"] = state.problem
    return facts
