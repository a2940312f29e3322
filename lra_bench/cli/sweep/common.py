"""What the commands on sweeps share."""

import shlex
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lra_bench.core.record import RunRecord
    from lra_bench.trials.plan import Cell


SWEEP_FILE = click.argument("sweep_file", metavar="FILE_OR_NAME")
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
SHARD = click.option(
    "--shard", metavar="I/N", default="1/1", help="Only part I of N, to share the cells among machines."
)
SLOTS = click.option("--slots", type=click.IntRange(min=1), help="Trials at a time. Default: one per device.")
DEVICES = click.option(
    "--devices", metavar="LIST", help="GPUs to use, such as 0-3,6, of those that are visible. Default: all."
)
TRIALS_PER_DEVICE = click.option(
    "--trials-per-device", metavar="M", type=click.IntRange(min=1), help="Trials that share a GPU."
)


def cells_of(sweep_file: str, overrides: tuple[str, ...], part: str) -> "list[Cell]":
    """The cells that the arguments of a command name; at least one."""
    from lra_bench.trials.plan import plan as planned
    from lra_bench.trials.plan import shard
    from lra_bench.trials.sweepfile import read_sweep

    cells = shard(planned(read_sweep(sweep_file), overrides), part)
    if not cells:
        raise click.UsageError(f"--shard {part} has no cells")
    return cells


def again(command: str, sweep_file: str, overrides: tuple[str, ...], shard: str = "1/1") -> str:
    """A command on the same cells, as it is typed."""
    part = () if shard == "1/1" else ("--shard", shard)
    return shlex.join(("lra-bench", "sweep", command, sweep_file, *overrides, *part))


class progress_bar:  # noqa: N801 (used as a verb)
    """A bar on a terminal, nothing elsewhere; gives a function that counts a trial that is over."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

        console = Console(stderr=True)
        times = (TimeElapsedColumn(), "left", TimeRemainingColumn())
        columns = (BarColumn(), MofNCompleteColumn(), "trials {task.description}", *times)
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=total)
        self._counts: Counter[str] = Counter()

    def __enter__(self) -> "Callable[[RunRecord | None], None]":
        self._bar.start()
        return self._count

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _count(self, record: "RunRecord | None") -> None:
        self._counts[str(record.status) if record else "preempted"] += 1
        summary = ", ".join(f"{count} {status}" for status, count in sorted(self._counts.items()))
        self._bar.update(self._task, advance=1, description=f"({summary})")
