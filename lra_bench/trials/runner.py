"""Runs the cells of a sweep that are not done yet."""

import logging
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path

from filelock import FileLock

from lra_bench.core.errors import ConfigError
from lra_bench.core.record import RunRecord, Status
from lra_bench.trials import deaths, worker
from lra_bench.trials.cell_queue import CellQueue
from lra_bench.trials.deaths import Death, KernelKills
from lra_bench.trials.frozen import prepare, use_less_memory
from lra_bench.trials.launchers.local import LocalLauncher
from lra_bench.trials.plan import Cell
from lra_bench.trials.policy import FAILURES, Policy
from lra_bench.trials.signals import StopSignals
from lra_bench.trials.slot_pool import SlotPool
from lra_bench.trials.slots import Slot
from lra_bench.trials.state import Progress, StopRequest, finished_record, progress, set_aside, take_responsibility
from lra_bench.trials.supervision import Trial

POLL = 0.25
"""Seconds between looks at running trials."""
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
) -> Leftovers:
    """Run every cell that has no final record, on all slots at once.

    On return each has one, but for those that are returned and those that a signal to their own process stopped; the
    same call goes on with both.

    Args:
        cells: of the sweep; those already done are passed over.
        slots: how many run at a time, and where.
        on_done: called with each cell that is over, also with those that were before.
        policy: what to do about failures.
        on_terminal: trials show their progress where this process prints.

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
    return _Runner(todo, slots, on_done, policy, on_terminal).run() if todo else Leftovers()


class _Runner:
    """A sweep being run. Arguments as in `run_cells`."""

    def __init__(
        self,
        cells: Sequence[Cell],
        slots: Sequence[Slot],
        on_done: Callable[[Cell], None],
        policy: Policy,
        on_terminal: bool,
    ) -> None:
        self._on_done = on_done
        self._policy = policy
        self._queue = CellQueue(cells, hold=policy.on_error == "hold")
        self._slots = SlotPool(slots, policy.quarantine)
        self._launcher = LocalLauncher(cells, on_terminal)
        self._stop_requests = [StopRequest(study) for study in {cell.folder.parent for cell in cells}]
        self._running: list[Trial] = []
        self._elsewhere: list[Cell] = []
        self._look_elsewhere_at = 0.0
        self._kernel_kills = KernelKills()
        self._oom_retries: Counter[Path] = Counter()
        self._restarts: Counter[Path] = Counter()
        self._responsible: dict[Path, FileLock] = {}
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
                if signals.received:  # the last trials had it too, and were faster
                    raise KeyboardInterrupt(signals.received)
            finally:
                self._save_all()
                self._launcher.close()
                for responsibility in self._responsible.values():
                    responsibility.release()
        self._leftovers.held = self._queue.held
        return self._leftovers

    def _unfinished(self) -> bool:
        return self._leftovers.stopped_by is None and bool(self._queue or self._running or self._elsewhere)

    def _asked_to_stop(self) -> str | None:
        return "sweep stop" if any(request.made for request in self._stop_requests) else None

    def _start_some(self) -> None:
        while self._slots and (cell := self._queue.take()):
            if (frozen := self._prepared(cell)) is not None:
                slot = self._slots.take()
                processes = self._launcher.start(frozen, slot)
                self._running.append(Trial(frozen, slot, processes, self._stall_limit(frozen)))

    def _prepared(self, cell: Cell) -> Cell | None:
        """The cell as it is frozen, None where it is not to be started here and now."""
        try:
            state = progress(cell.folder)
            if state is Progress.DONE:
                self._done(cell)
            elif state is Progress.RUNNING:
                self._leave_to_others(cell)
            elif self._take(cell):
                return prepare(cell)
        except ConfigError as error:
            _write_record(cell, Death(Status.ERROR, f"its config.yaml cannot be used: {error}"))
            self._done(cell)
            self._let_go(cell)
        except OSError as error:
            self._give_up_for_now(cell, error)
            self._let_go(cell)
        return None

    def _stall_limit(self, cell: Cell) -> float:
        limit = cell.config.train.time_limit
        return self._policy.stall_limit if limit is None else min(self._policy.stall_limit, limit + 60)

    def _reap(self) -> None:
        """Wait a moment for trials to end, and see to those that have."""
        connection.wait([sentinel for trial in self._running for sentinel in trial.sentinels], timeout=POLL)
        self._kernel_kills.look()
        for trial in list(self._running):
            trial.watch()
            if trial.over:
                self._running.remove(trial)
                try:
                    failed = self._settle(trial)
                except OSError as error:
                    failed = None
                    self._give_up_for_now(trial.cell, error)
                self._let_go(trial.cell)
                self._slots.give_back(trial.slot, failed)
        self._queue.look_for_proof()

    def _settle(self, trial: Trial) -> bool | None:
        """Make of a trial's end what it is; says whether it failed, or None where it only stopped."""
        cell, exits = trial.cell, trial.exits
        if exits.get(0) == worker.BUSY:
            self._leave_to_others(cell)
            return None
        record = finished_record(cell.folder)
        if record is None and set(exits.values()) == {worker.PREEMPTED} and not trial.stalled:
            self._queue.release(cell)
            return None
        killed = not {-signal.SIGKILL, deaths.LOST}.isdisjoint(exits.values())
        if record is None or (killed and record.status is Status.ERROR):
            death = self._death(trial)
            if death.from_outside and self._restarts[cell.folder] < self._policy.restarts:
                self._start_again(cell, death, record)
                return True
            record = _write_record(cell, death)
        if record.status is Status.OOM and self._goes_on_with_less_memory(cell):
            return True
        self._done(cell)
        if record.status is Status.ERROR and self._policy.on_error == "stop":
            self._leftovers.stopped_by = cell
        return record.status in FAILURES

    def _death(self, trial: Trial) -> Death:
        folder = trial.cell.folder
        if trial.stalled:
            return deaths.stalled(folder, self._stall_limit(trial.cell))
        out_of_memory = -signal.SIGKILL in trial.exits.values() and self._kernel_kills.explain_a_death()
        return deaths.explain(folder, trial.exits, out_of_memory)

    def _start_again(self, cell: Cell, death: Death, record: RunRecord | None) -> None:
        self._restarts[cell.folder] += 1
        log.warning("%s: %s; it goes on from its last checkpoint", cell.folder, death.message)
        if record is not None:
            set_aside(cell.folder)
        self._queue.put_back(cell)

    def _goes_on_with_less_memory(self, cell: Cell) -> bool:
        if self._oom_retries[cell.folder] >= self._policy.oom_retries or (smaller := use_less_memory(cell)) is None:
            return False
        self._oom_retries[cell.folder] += 1
        accumulate = smaller.config.train.accumulate
        log.warning("%s: out of memory; it goes on with train.accumulate=%d", cell.folder, accumulate)
        self._queue.put_back(smaller)
        return True

    def _done(self, cell: Cell) -> None:
        record = finished_record(cell.folder)
        assert record is not None
        self._queue.judge(cell, record.status)
        self._on_done(cell)

    def _leave_to_others(self, cell: Cell) -> None:
        self._queue.release(cell)
        self._elsewhere.append(cell)

    def _take(self, cell: Cell) -> bool:
        """Become responsible for a cell, or leave it to the runner that is."""
        cell.folder.mkdir(parents=True, exist_ok=True)
        responsibility = take_responsibility(cell.folder)
        if responsibility is None:
            self._leave_to_others(cell)
            return False
        self._responsible[cell.folder] = responsibility
        return True

    def _let_go(self, cell: Cell) -> None:
        if cell.folder in self._responsible:
            self._responsible.pop(cell.folder).release()

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
        """Ask every running trial to save itself, and wait for it."""
        for trial in self._running:
            if self._asked_to_stop() is None:  # else it has seen that itself, and a second request could cut it short
                trial.ask_to_stop()
            trial.end_within(worker.GRACE)
        while self._running:
            connection.wait([sentinel for trial in self._running for sentinel in trial.sentinels], timeout=POLL)
            for trial in self._running:
                trial.watch()
            self._running = [trial for trial in self._running if not trial.over]


def _write_record(cell: Cell, death: Death) -> RunRecord:
    from lra_bench import experiment

    return experiment.record_death(cell.config, cell.folder, death.status, death.message)
