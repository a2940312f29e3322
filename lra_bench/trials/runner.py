"""Runs the cells of a sweep that are not done yet."""

import logging
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path

from lra_bench.core.errors import ConfigError
from lra_bench.core.record import RunRecord, Status
from lra_bench.trials import deaths, worker
from lra_bench.trials.cell_queue import CellQueue
from lra_bench.trials.deaths import Death, KernelKills
from lra_bench.trials.frozen import prepare
from lra_bench.trials.launchers.local import LocalLauncher
from lra_bench.trials.plan import Cell
from lra_bench.trials.policy import FAILURES, Policy
from lra_bench.trials.programs import Programs, startable
from lra_bench.trials.retries import Retries
from lra_bench.trials.signals import StopSignals
from lra_bench.trials.slot_pool import SlotPool
from lra_bench.trials.slots import Slot
from lra_bench.trials.state import Progress, Responsibilities, StopRequest, finished_record, progress
from lra_bench.trials.supervision import Job

POLL = 0.25
"""Seconds between looks at running jobs."""
POLL_ELSEWHERE = 1.0
"""Seconds between looks at trials that other runners hold."""

log = logging.getLogger(__name__)


@dataclass
class Leftovers:
    """Cells that a runner leaves without a record.

    Attributes:
        held: folder of a model's first cell, which ended in an error -> the cells that were not started because of it.
        unwritable: their disk took no record; another run tries again.
        stopped_by: the cell whose error ended the sweep.
    """

    held: dict[Path, list[Cell]] = field(default_factory=dict)
    unwritable: list[Cell] = field(default_factory=list)
    stopped_by: Cell | None = None


def run_cells(
    cells: Sequence[Cell],
    slots: Sequence[Slot],
    on_done: Callable[[Cell], None],
    policy: Policy = Policy(),  # noqa: B008 (frozen)
    on_terminal: bool = False,
    programs: Sequence[Sequence[Cell]] = (),
) -> Leftovers:
    """Run every cell that has no final record, on all slots at once.

    On return each has one, but for those that are returned and those that a signal to their own process stopped; the
    same call goes on with both.

    Args:
        cells: of the sweep, in the order in which they are started; those already done are passed over.
        slots: how many run at a time, and where.
        on_done: called with each cell that is over, also with those that were before.
        policy: what to do about failures.
        on_terminal: trials show their progress where this process prints.
        programs: cells that are trained together, as far as they can start at the same step.

    Raises:
        KeyboardInterrupt: SIGINT, SIGTERM, SIGUSR1 or a request to stop the study, which its argument names; running
            trials have saved themselves.
        OSError: the folder of the study cannot be written; running trials have been stopped.
    """
    todo = []
    for cell in cells:
        if finished_record(cell.folder) is None:
            todo.append(cell)
        else:
            on_done(cell)
    return _Runner(todo, slots, on_done, policy, on_terminal, Programs(programs)).run() if todo else Leftovers()


class _Runner:
    """A sweep being run. Arguments as in `run_cells`."""

    def __init__(
        self,
        cells: Sequence[Cell],
        slots: Sequence[Slot],
        on_done: Callable[[Cell], None],
        policy: Policy,
        on_terminal: bool,
        programs: Programs,
    ) -> None:
        self._on_done = on_done
        self._policy = policy
        self._queue = CellQueue(cells, policy.on_error == "hold", programs)
        self._retries = Retries(policy, self._queue, programs)
        self._slots = SlotPool(slots, policy.quarantine)
        self._launcher = LocalLauncher(cells, on_terminal)
        self._stop_requests = [StopRequest(study) for study in {cell.folder.parent for cell in cells}]
        self._running: list[Job] = []
        self._elsewhere: list[Cell] = []
        self._look_elsewhere_at = 0.0
        self._kernel_kills = KernelKills()
        self._responsible = Responsibilities()
        self._leftovers = Leftovers()

    def run(self) -> Leftovers:
        with StopSignals() as signals:
            try:
                while self._unfinished():
                    if reason := signals.received or self._asked_to_stop():
                        raise KeyboardInterrupt(reason)
                    self._start_some()
                    self._reap()
                    self._look_elsewhere()
                if signals.received:  # the last jobs had it too, and were faster
                    raise KeyboardInterrupt(signals.received)
            finally:
                self._save_all()
                self._launcher.close()
                self._responsible.release_all()
        self._leftovers.held = self._queue.held
        return self._leftovers

    def _unfinished(self) -> bool:
        return self._leftovers.stopped_by is None and bool(self._queue or self._running or self._elsewhere)

    def _asked_to_stop(self) -> str | None:
        return "sweep stop" if any(request.made for request in self._stop_requests) else None

    def _start_some(self) -> None:
        while self._slots and (cells := self._queue.take()):
            frozen = [each for cell in cells if (each := self._prepared(cell)) is not None]
            if frozen:
                self._start(frozen)

    def _start(self, cells: Sequence[Cell]) -> None:
        """Start those that can start together, and put the others back."""
        together, others = startable(cells)
        for cell in others:
            self._responsible.release(cell.folder)
            self._queue.put_back(cell)
        slot = self._slots.take()
        processes = self._launcher.start(together, slot)
        self._running.append(Job(together, slot, processes, self._stall_limit(together)))

    def _prepared(self, cell: Cell) -> Cell | None:
        """The cell as it is frozen, None where it is not to be started here and now."""
        try:
            state = progress(cell.folder)
            if state is Progress.DONE:
                self._done(cell)
            elif state is Progress.RUNNING or not self._responsible.take(cell.folder):
                self._leave_to_others(cell)
            else:
                return prepare(cell)
        except ConfigError as error:
            _write_record(cell, Death(Status.ERROR, f"its config.yaml cannot be used: {error}"))
            self._done(cell)
            self._responsible.release(cell.folder)
        except OSError as error:
            self._give_up_for_now(cell, error)
            self._responsible.release(cell.folder)
        return None

    def _stall_limit(self, cells: Sequence[Cell]) -> float:
        limits = [limit + 60 for cell in cells if (limit := cell.config.train.time_limit) is not None]
        return min([self._policy.stall_limit, *limits])

    def _reap(self) -> None:
        """Wait a moment for jobs to end, and see to those that have."""
        connection.wait([sentinel for job in self._running for sentinel in job.sentinels], timeout=POLL)
        self._kernel_kills.look()
        for job in list(self._running):
            job.watch()
            if job.over:
                self._running.remove(job)
                failed = self._settle(job)
                for cell in job.cells:
                    self._responsible.release(cell.folder)
                self._slots.give_back(job.slot, failed)
        self._queue.look_for_proof()

    def _settle(self, job: Job) -> bool | None:
        """Make of a job's end what it is; says whether it failed, or None where it only stopped."""
        if job.exits.get(0) == worker.BUSY:
            for cell in job.cells:
                self._leave_to_others(cell)
            return None
        left = [cell for cell in job.cells if finished_record(cell.folder) is None]
        stopped = set(job.exits.values()) == {worker.PREEMPTED} and not job.stalled
        try:
            for cell in left if stopped else ():
                self._queue.release(cell)
            if len(job.cells) > 1:
                return self._settle_program(job, [] if stopped else left)
            return None if left and stopped else self._settle_trial(job)
        except OSError as error:
            for cell in left or job.cells:
                self._give_up_for_now(cell, error)
            return None

    def _settle_program(self, job: Job, left: Sequence[Cell]) -> bool:
        """See to the cells of a program, of which some are left without a record that should have one."""
        for cell in job.cells:
            record = finished_record(cell.folder)
            if record is not None and record.status in (Status.ERROR, Status.OOM):
                self._retries.alone(cell, record)
            elif record is not None:
                self._done(cell)
        if left:
            death = deaths.cause(job, self._stall_limit(job.cells), self._kernel_kills)
            self._retries.of_program(left, death)
        return bool(left)

    def _settle_trial(self, job: Job) -> bool:
        """See to a cell that ran alone."""
        (cell,) = job.cells
        record = finished_record(cell.folder)
        killed = not {-signal.SIGKILL, deaths.LOST}.isdisjoint(job.exits.values())
        if record is None or (killed and record.status is Status.ERROR):
            death = deaths.cause(job, self._stall_limit(job.cells), self._kernel_kills)
            if self._retries.after_death(cell, death, record):
                return True
            record = _write_record(cell, death)
        if record.status is Status.OOM and self._retries.with_less_memory(cell):
            return True
        self._done(cell)
        if record.status is Status.ERROR and self._policy.on_error == "stop":
            self._leftovers.stopped_by = cell
        return record.status in FAILURES

    def _done(self, cell: Cell) -> None:
        record = finished_record(cell.folder)
        assert record is not None
        self._queue.judge(cell, record.status)
        self._on_done(cell)

    def _leave_to_others(self, cell: Cell) -> None:
        self._queue.release(cell)
        self._elsewhere.append(cell)

    def _look_elsewhere(self) -> None:
        """Take back cells whose holder has finished or died."""
        if not self._elsewhere or time.monotonic() < self._look_elsewhere_at:
            return
        self._look_elsewhere_at = time.monotonic() + POLL_ELSEWHERE
        held, self._elsewhere = self._elsewhere, []
        for cell in held:
            state = progress(cell.folder)
            if state is Progress.DONE:
                self._done(cell)
            elif state is Progress.RUNNING:
                self._elsewhere.append(cell)
            else:
                self._queue.put_back(cell)

    def _give_up_for_now(self, cell: Cell, error: OSError) -> None:
        """The cell's disk is full; where the whole study's is, nothing can go on."""
        with tempfile.TemporaryFile(dir=cell.folder.parent) as file:
            file.write(bytes(4096))
        log.error("%s: nothing can be written: %s; the same command tries again", cell.folder, error.strerror)
        self._leftovers.unwritable.append(cell)
        self._queue.release(cell)

    def _save_all(self) -> None:
        """Ask every running job to save itself, and wait for it."""
        for job in self._running:
            if self._asked_to_stop() is None:  # else it has seen that itself, and a second request could cut it short
                job.ask_to_stop()
            job.end_within(worker.GRACE)
        while self._running:
            connection.wait([sentinel for job in self._running for sentinel in job.sentinels], timeout=POLL)
            for job in self._running:
                job.watch()
            self._running = [job for job in self._running if not job.over]


def _write_record(cell: Cell, death: Death) -> RunRecord:
    from lra_bench import experiment

    return experiment.record_death(cell.config, cell.folder, death.status, death.message)
