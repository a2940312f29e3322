"""Which cells are started next: some of each model first, the others when one of those has proven itself."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lra_bench.core.record import Status
from lra_bench.trials.plan import Cell
from lra_bench.trials.programs import Programs

Key = tuple[str, str]


@dataclass
class Group:
    """The cells of a model on a task.

    Attributes:
        waiting: heap of (place in the sweep, cell).
        tried: the cell that goes before the others, and those that share its program, while they run.
        proven: a cell has got as far as a validation, or has ended in something other than an error.
        failed: the cell whose error holds the others back.
    """

    waiting: list[tuple[int, Cell]] = field(default_factory=list)
    tried: set[Path] = field(default_factory=set)
    proven: bool = False
    failed: Cell | None = None

    @property
    def ready(self) -> bool:
        """Whether a cell may be started."""
        return bool(self.waiting) and self.failed is None and (self.proven or not self.tried)

    def pop(self, programs: Programs) -> tuple[Cell, ...]:
        """Take out the first cell that waits, and those that share its program."""
        place, first = heapq.heappop(self.waiting)
        number = programs.number(first)
        if number is None:
            return (first,)
        together = [(place, first), *(entry for entry in self.waiting if programs.number(entry[1]) == number)]
        self.waiting = [entry for entry in self.waiting if programs.number(entry[1]) != number]
        heapq.heapify(self.waiting)
        return tuple(cell for _, cell in sorted(together))


class CellQueue:
    """The cells to start.

    Args:
        cells: in the order in which they are started, but for the first one of each model, which goes before.
        hold: keep the cells of a model back when its first one ends in an error.
        programs: which of them start together.
    """

    def __init__(self, cells: Iterable[Cell], hold: bool, programs: Programs) -> None:
        self._hold = hold
        self._programs = programs
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

    def take(self) -> tuple[Cell, ...]:
        """The next cells to start, in one program where they are several; none if there are none for now."""
        ready = [group for group in self._groups.values() if group.ready]
        if not ready:
            return ()
        group = min(ready, key=lambda group: (group.proven, group.waiting[0][0]))
        cells = group.pop(self._programs)
        if not group.proven:
            group.tried = {cell.folder for cell in cells}
        return cells

    def put_back(self, cell: Cell) -> None:
        """A cell is to be started, for the first time or again."""
        heapq.heappush(self._group(cell).waiting, (self._places[cell.folder], cell))
        self.release(cell)

    def release(self, cell: Cell) -> None:
        """A cell has ended and says nothing about its model."""
        self._group(cell).tried.discard(cell.folder)

    def judge(self, cell: Cell, status: Status) -> None:
        """A cell has ended so."""
        group = self._group(cell)
        if status is not Status.ERROR:
            group.proven = True
        elif self._hold and group.tried == {cell.folder} and not group.proven:
            group.failed = cell
        self.release(cell)

    def look_for_proof(self) -> None:
        """See whether one that goes before the others has had its first validation."""
        for group in self._groups.values():
            if not group.proven and any(map(_was_validated, group.tried)):
                group.proven = True

    def _group(self, cell: Cell) -> Group:
        return self._groups.setdefault((cell.config.task.name, cell.config.model.name), Group())


def _was_validated(folder: Path) -> bool:
    try:
        return b'"val"' in (folder / "history.jsonl").read_bytes()
    except OSError:
        return False
