"""How the commands show things to people."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lra_bench.core.record import RunRecord


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> None:
    """Print a table, at most 100 columns wide where the output is not a terminal."""
    console = Console(width=None if Console().is_terminal else 100)
    table = Table(*headers, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def record_summary(record: RunRecord, folder: Path) -> str:
    """The outcome of one trial, in a few lines."""
    lines = [f"status: {record.status}" + (f" ({record.message})" if record.message else "")]
    if record.selection is not None:
        lines.append(f"selected: step {record.selection.step} ({record.selection.rule})")
    for split, metrics in (("val", record.val), ("test", record.test)):
        if metrics:
            lines.append(f"{split}: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    used = record.budget
    lines.append(f"used: {used.steps} steps, {used.seconds:.1f} s")
    lines.append(f"record: {folder / 'record.json'}")
    lines.append(f"next: lra-bench report {folder}")
    return "\n".join(lines)
