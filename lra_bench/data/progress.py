"""Progress bars on standard error; nothing is drawn where that is not a terminal."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

T = TypeVar("T")


def track(items: Iterable[T], label: str, total: int | None, unit: str, show: bool = True) -> Iterator[T]:
    """Pass items on, drawing how many there were, how many a second, and the time left.

    Args:
        items: what to pass on.
        label: what is being done.
        total: how many items there will be; None where that is not known.
        unit: what an item is, in the plural.
        show: False draws nothing.
    """
    if not (show and sys.stderr.isatty()):
        yield from items
        return
    with _bar(_Count(unit), _Rate()) as bar:
        yield from bar.track(items, total=total, description=label)


@contextmanager
def track_bytes(label: str, total: int | None, show: bool = True, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Give a function to call with the size of each piece of work; it moves a bar in bytes.

    Args:
        label: what is being done.
        total: bytes in all; None where that is not known.
        show: False draws nothing.
        done: bytes that were there before.
    """
    if not (show and sys.stderr.isatty()):
        yield lambda size: None
        return
    with _bar(DownloadColumn(), TransferSpeedColumn()) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda size: bar.advance(task, size)


def _bar(amount: ProgressColumn, rate: ProgressColumn) -> Progress:
    label = TextColumn("{task.description}")
    return Progress(label, BarColumn(), amount, rate, TimeRemainingColumn(), console=Console(stderr=True))


class _Count(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        total = "" if task.total is None else f"/{task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{total} {self.unit}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s")
