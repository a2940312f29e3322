"""Which cell is started next: one of each model first, the others when that one has proven itself."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lra_bench.core.record import Status
from lra_bench.trials.plan import Cell

Key = tuple[str, str]


@dataclass
class Group:
    """The cells of a model on a task.

    Attributes:
        waiting: heap of (place in the sweep, cell).
        tried: the cell that goes before the others, while it runs.
        proven: a cell has got as far as a validation, or has ended in something other than an error.
        failed: the cell whose error holds the others back.
    """

    waiting: list[tuple[int, Cell]] = field(default_factory=list)
    tried: Path | None = None
    proven: bool = False
    failed: Cell | None = None

    @property
    def ready(self) -> bool:
        """Whether a cell may be started."""
        return bool(self.waiting) and self.failed is None and (self.proven or self.tried is None)


class CellQueue:
    """The cells to start.

    Args:
        cells: in the order in which they are started, but for the first one of each model, which goes before.
        hold: keep the cells of a model back when its first one ends in an error.
    """

    def __init__(self, cells: Iterable[Cell], hold: bool) -> None:
        self._hold = hold
        self._groups: dict[Key, Group] = {}
        self._places: dict[Path, int] = {}
        for place, cell in enumerate(cells):
            self._places[cell.folder] = place
            self.put_back(cell)

    def __bool__(self) -> bool:
        return any(group.waiting and group.failed is None for group in self._groups.values())

    @property
    def held(self) -> dict[Path, list[Cell]]:
        """Folder of the cell that failed -> the cells that it holds back."""
        return {
            group.failed.folder: [cell for _, cell in sorted(group.waiting)]
            for group in self._groups.values()
            if group.failed is not None and group.waiting
        }

    def take(self) -> Cell | None:
        """The next cell to start, None if there is none for now."""
        ready = [group for group in self._groups.values() if group.ready]
        if not ready:
            return None
        group = min(ready, key=lambda group: (group.proven, group.waiting[0][0]))
        _, cell = heapq.heappop(group.waiting)
        if not group.proven:
            group.tried = cell.folder
        return cell

    def put_back(self, cell: Cell) -> None:
        """A cell is to be started, for the first time or again."""
        heapq.heappush(self._group(cell).waiting, (self._places[cell.folder], cell))
        self.release(cell)

    def release(self, cell: Cell) -> None:
        """A cell has ended and says nothing about its model."""
        group = self._group(cell)
        if group.tried == cell.folder:
            group.tried = None

    def judge(self, cell: Cell, status: Status) -> None:
        """A cell has ended so."""
        group = self._group(cell)
        if status is not Status.ERROR:
            group.proven = True
        elif self._hold and group.tried == cell.folder and not group.proven:
            group.failed = cell
        self.release(cell)

    def look_for_proof(self) -> None:
        """See whether a cell that goes before the others has had its first validation."""
        for group in self._groups.values():
            if group.tried is not None and not group.proven and _was_validated(group.tried):
                group.proven = True

    def _group(self, cell: Cell) -> Group:
        return self._groups.setdefault((cell.config.task.name, cell.config.model.name), Group())


def _was_validated(folder: Path) -> bool:
    try:
        return b'"val"' in (folder / "history.jsonl").read_bytes()
    except OSError:
        return False
