"""How cells go on whose processes died, ran out of memory, or failed together."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lra_bench.core.record import RunRecord
from lra_bench.trials.cell_queue import CellQueue
from lra_bench.trials.deaths import Death
from lra_bench.trials.frozen import use_less_memory
from lra_bench.trials.plan import Cell
from lra_bench.trials.policy import Policy
from lra_bench.trials.programs import Programs
from lra_bench.trials.state import set_aside

log = logging.getLogger(__name__)


class Retries:
    """Puts cells back into the queue as long as the policy allows.

    Args:
        policy: how often.
        queue: where they wait.
        programs: which of them start together.
    """

    def __init__(self, policy: Policy, queue: CellQueue, programs: Programs) -> None:
        self._policy = policy
        self._queue = queue
        self._programs = programs
        self._oom_retries: Counter[Path] = Counter()
        self._restarts: Counter[Path] = Counter()

    def after_death(self, cell: Cell, death: Death, record: RunRecord | None) -> bool:
        """Let a cell go on whose process was killed from outside; says whether it does."""
        if not death.from_outside or self._restarts[cell.folder] >= self._policy.restarts:
            return False
        self._restarts[cell.folder] += 1
        log.warning("%s: %s; it goes on from its last checkpoint", cell.folder, death.message)
        if record is not None:
            set_aside(cell.folder)
        self._queue.put_back(cell)
        return True

    def with_less_memory(self, cell: Cell) -> bool:
        """Let a cell that ran out of memory go on in smaller micro-batches; says whether it does."""
        if self._oom_retries[cell.folder] >= self._policy.oom_retries or (smaller := use_less_memory(cell)) is None:
            return False
        self._oom_retries[cell.folder] += 1
        accumulate = smaller.config.train.accumulate
        log.warning("%s: out of memory; it goes on with train.accumulate=%d", cell.folder, accumulate)
        self._queue.put_back(smaller)
        return True

    def of_program(self, cells: Sequence[Cell], death: Death) -> None:
        """Let cells go on that were trained in one program: in the same one, or in halves where it is to blame.

        Down to a cell that is alone in its process, which then ends as any other: none fails for the sake of another.
        """
        innocent = death.from_outside and all(self._restarts[cell.folder] < self._policy.restarts for cell in cells)
        how = "together" if innocent else "in halves" if len(cells) > 2 else "alone"
        log.warning(
            "%d trials in one program, %s first: %s; they go on %s", len(cells), cells[0].folder, death.message, how
        )
        if innocent:
            self._restarts.update(cell.folder for cell in cells)
        else:
            self._programs.split(cells)
        for cell in cells:
            self._queue.put_back(cell)

    def alone(self, cell: Cell, record: RunRecord) -> None:
        """Let a cell go on by itself that failed in a program, from its last checkpoint; its record is kept aside."""
        log.warning("%s: %s in a program of several: %s; it goes on alone", cell.folder, record.status, record.message)
        self._programs.leave(cell)
        set_aside(cell.folder)
        self._queue.put_back(cell)
