"""Which cells are trained together, in one program on one device; it changes as programs die."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from pickle import UnpicklingError

from lra_bench.trials.plan import Cell


class Programs:
    """The cells that share programs; those that it does not know run alone, each in a process of its own.

    Args:
        programs: disjoint; each of two cells or more.
    """

    def __init__(self, programs: Iterable[Sequence[Cell]] = ()) -> None:
        self._numbers: dict[Path, int] = {}
        self._count = 0
        for cells in programs:
            self._join(cells)

    def number(self, cell: Cell) -> int | None:
        """Which program the cell belongs to, None where it runs alone."""
        return self._numbers.get(cell.folder)

    def split(self, cells: Sequence[Cell]) -> None:
        """Let cells that have failed together go on in halves, so that in the end the one to blame is alone."""
        middle = (len(cells) + 1) // 2
        self._join(cells[:middle])
        self._join(cells[middle:])

    def leave(self, cell: Cell) -> None:
        """Let a cell go on alone."""
        self._numbers.pop(cell.folder, None)

    def _join(self, cells: Sequence[Cell]) -> None:
        if len(cells) == 1:
            self.leave(cells[0])
        for cell in cells[1:] and cells:
            self._numbers[cell.folder] = self._count
        self._count += 1


def startable(cells: Sequence[Cell]) -> tuple[list[Cell], list[Cell]]:
    """Those of a program's cells that can start together with the first one, and the others.

    All start at the same step, with the settings in their folders, which a trial that was run before may have changed.
    """
    if len(cells) == 1:
        return list(cells), []
    first, *others = cells
    key = _starting_point(first)
    if key is None:
        return [first], others
    together = [first, *(cell for cell in others if _starting_point(cell) == key)]
    return together, [cell for cell in others if cell not in together]


def _starting_point(cell: Cell) -> tuple[str, int] | None:
    """Equal for cells that can start together; None for one that has to start alone."""
    from lra_bench.stacked.checkpoints import saved_step
    from lra_bench.stacked.eligibility import refusal, stack_key

    try:
        return None if refusal(cell.config) else (stack_key(cell.config), saved_step(cell.folder))
    except (OSError, RuntimeError, LookupError, EOFError, UnpicklingError):  # alone, it says what is wrong
        return None
