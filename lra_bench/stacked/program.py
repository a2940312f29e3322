"""Many trials as one program: every step is one forward pass, one backward pass and one update for all of them.

Trials that differ only in numbers do the same operations, and for small networks it is the number of operations that
takes the time. A trial that ends is taken out of the stack, so it costs nothing more.
"""

import math
import time
import traceback
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import remove_leftovers
from lra_bench.core.record import Status
from lra_bench.environment import peak_memory_mb
from lra_bench.nn.backbone import Backbone
from lra_bench.outcome import Outcome, lacks_memory, note_failure, write_record
from lra_bench.stacked import checkpoints
from lra_bench.stacked.evaluation import evaluated
from lra_bench.stacked.interruption import Interruption
from lra_bench.stacked.network import StackedNet, Tensors
from lra_bench.stacked.optimizer import StackedOptimizer
from lra_bench.stacked.scores import losses
from lra_bench.stacked.seats import Member, Seat, take_seat
from lra_bench.stacked.streams import Stream, Streams, joined
from lra_bench.training.watch import Ending

TESTED = (Status.OK, Status.CHANCE, Status.TIMEOUT)
"""Endings after which the selected weights are tested."""

EVALUATED_TOGETHER = 8
"""Times as many sequences as in a training step are evaluated at once: nothing is kept for a backward pass."""


class StackFailedError(LraBenchError):
    """The program of several trials failed, and no single one can be blamed: they may still run alone."""


class StackTooLargeError(StackFailedError):
    """There is not enough memory for so many trials in one program."""


def run_stack(members: Sequence[Member]) -> None:
    """Train trials as one program, or go on with trials that were interrupted at the same step.

    Whoever calls this has claimed them. On return each has its record; where it says `preempted` the trial goes on from
    its own checkpoint, together with others or alone.

    Args:
        members: trials with the same `stack_key` and the same `saved_step`, none of which is refused.

    Raises:
        StackTooLargeError: out of memory. Trials that were not over yet have no new record.
        StackFailedError: likewise, for another reason.
    """
    train = members[0].config.train
    torch.set_num_threads(train.threads or torch.get_num_threads())
    on_gpu = train.accelerator != "cpu" and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    try:
        seated = _seated(members, device)
        if seated:
            with Interruption() as interruption:
                Program(seated, device).run(interruption)
    except Exception as error:
        if lacks_memory(error):
            raise StackTooLargeError(f"{len(members)} trials in one program need more memory than there is") from error
        if not isinstance(error, LraBenchError):
            traceback.print_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise StackFailedError(f"{len(members)} trials cannot be one program ({reason})") from error


def _seated(members: Sequence[Member], device: torch.device) -> list[tuple[Seat, Backbone]]:
    """Seats and networks of those that can be built, by stream; the others have a record of their failure.

    Where there is no memory for all networks, nobody is to blame, so that is raised.
    """
    streams = Streams(device)
    seated: list[tuple[Seat, Backbone]] = []
    for member in members:
        (member.folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        remove_leftovers(member.folder / "history.jsonl", member.folder / "record.json")
        outcome = Outcome(members=len(members))
        try:
            seated.append(take_seat(member, streams, outcome, device))
        except Exception as error:
            if lacks_memory(error):
                raise
            if not isinstance(error, LraBenchError):
                traceback.print_exc()
            note_failure(outcome, error)
            write_record(member.config, member.folder, outcome)
    order = list(dict.fromkeys(seat.stream for seat, _ in seated))
    return sorted(seated, key=lambda each: order.index(each[0].stream))


class Program:
    """Several trials while they train together.

    Args:
        seated: the trials and their networks; those that read the same stream are next to each other.
        device: that they train on.

    Attributes:
        seats: the trials that are not over.
        step: steps done.
    """

    def __init__(self, seated: Sequence[tuple[Seat, Backbone]], device: torch.device) -> None:
        self.device = device
        self.seats = [seat for seat, _ in seated]
        self.train = self.seats[0].member.config.train
        self.spec = self.seats[0].task.spec
        self.step = checkpoints.saved_step(self.seats[0].member.folder)
        self.net = StackedNet([net for _, net in seated], device)
        saved = [checkpoints.load(seat) for seat in self.seats] if self.step else []
        if saved:
            self.net.load([weights for weights, _ in saved])
        self.optimizer = StackedOptimizer(self.net.parameters, [seat.recipe for seat in self.seats], self.step)
        if saved:
            self.optimizer.load([moments for _, moments in saved])
        for seat in self.seats:
            seat.cut_history(self.step)
        self._batches = {stream: stream.training(self.step) for stream in dict.fromkeys(self._streams)}
        self._find_readers()
        self._evaluated_at_once = EVALUATED_TOGETHER * len(self.seats) * self.train.global_batch_size
        self._unseen: list[Tensor] = []
        self._since = time.monotonic()
        self._last_beat = -math.inf

    def run(self, interruption: Interruption) -> None:
        """Train until every trial has come to an end."""
        train = self.train
        val_every = min(train.val_every, train.max_steps)
        while self.seats and self.step < train.max_steps:
            self._beat()
            self._share_time()
            self._end(self._endings(interruption.name))
            if not self.seats:
                break
            self._unseen.append(self._train_step())
            self.step += 1
            if self.step % train.log_every == 0:
                self._look_at_losses()
                for seat in self.seats:
                    seat.write_losses(self.step)
            if self.step % val_every == 0:
                self._validate()
        self._look_at_losses()
        self._end({index: seat.watch.divergence() or Ending() for index, seat in enumerate(self.seats)})

    def _endings(self, stopped_by: str | None) -> dict[int, Ending]:
        """Why trials end before the next step, by index."""
        found = {index: seat.watch.before_step(self.step, stopped_by) for index, seat in enumerate(self.seats)}
        return {index: ending for index, ending in found.items() if ending is not None}

    @property
    def _streams(self) -> list[Stream]:
        return [seat.stream for seat in self.seats]

    def _find_readers(self) -> None:
        """Note who reads which stream, and forget streams that nobody reads any more."""
        self._batches = {stream: batches for stream, batches in self._batches.items() if stream in self._streams}
        read = list(self._batches)
        self._readers = torch.tensor([read.index(stream) for stream in self._streams], device=self.device)

    def _train_step(self) -> Tensor:
        """Move all trials by one step; their losses (M,), on the device."""
        batches = [next(stream) for stream in self._batches.values()]
        of_each = len(batches) > 1
        batch = joined(batches, self._readers) if of_each else batches[0]
        values = losses(self.spec, self.net(batch, of_each, training=True), batch, of_each)
        parameters = list(self.net.parameters.values())
        self.optimizer.step(torch.autograd.grad(values.sum(), parameters, allow_unused=True))
        return values.detach()

    def _look_at_losses(self) -> None:
        """Show each trial its losses since the last look."""
        if self._unseen:
            steps = range(self.step - len(self._unseen) + 1, self.step + 1)
            for seat, values in zip(self.seats, torch.stack(self._unseen, dim=1).tolist(), strict=True):
                seat.add(list(zip(steps, values, strict=True)))
        self._unseen = []

    def _validate(self) -> None:
        """Validate, select and save."""
        metrics = evaluated(
            self.net, self.net.some, self._streams, self.seats[0].task.selects_on, self._evaluated_at_once, self._beat
        )
        self._look_at_losses()
        self._share_time()
        for index, (seat, values) in enumerate(zip(self.seats, metrics, strict=True)):
            if seat.write_validation(self.step, values):
                checkpoints.save_best(seat, self.net.weights(index))
            self._save(index)

    def _save(self, index: int) -> None:
        checkpoints.save(self.seats[index], self.step, self.net.weights(index), self.optimizer.moments_of(index))

    def _end(self, endings: Mapping[int, Ending]) -> None:
        """Test trials that are over, write their records, and take them out of the stack."""
        if not endings:
            return
        self._look_at_losses()
        self._share_time()
        for index, ending in endings.items():
            self.seats[index].note_end(ending, self.step)
            if ending.status in (Status.PREEMPTED, Status.TIMEOUT):
                self._save(index)
        self._test([i for i, why in endings.items() if why.status in TESTED and self.seats[i].best_step is not None])
        for index in endings:
            self.seats[index].write_record(peak_memory_mb(on_gpu=self.device.type == "cuda"))
        self._keep([index for index in range(len(self.seats)) if index not in endings])
        self._since = time.monotonic()

    def _test(self, members: Sequence[int]) -> None:
        """Test the selected weights of some trials."""
        seats = [self.seats[index] for index in members]
        at = torch.tensor(members, device=self.device)

        def tensors(some: slice) -> Tensors:
            return self.net.with_weights(at[some], [checkpoints.load_best(seat) for seat in seats[some]])

        streams = [seat.stream for seat in seats]
        metrics = evaluated(self.net, tensors, streams, "test", self._evaluated_at_once, self._beat)
        for seat, values in zip(seats, metrics, strict=True):
            seat.outcome.test = values

    def _keep(self, members: Sequence[int]) -> None:
        """Go on with some of the trials."""
        self.seats = [self.seats[index] for index in members]
        if self.seats:
            at = torch.tensor(members, device=self.device)
            self.net.keep(at)
            self.optimizer.keep(self.net.parameters, [seat.recipe for seat in self.seats], at)
            self._find_readers()

    def _share_time(self) -> None:
        """Charge each trial with its share of the time since the last call."""
        now = time.monotonic()
        for seat in self.seats:
            seat.watch.seconds += (now - self._since) / len(self.seats)
        self._since = now

    def _beat(self) -> None:
        """Give a sign of life for every trial, at most once a second."""
        if (now := time.monotonic()) > self._last_beat + 1:
            self._last_beat = now
            for seat in self.seats:
                (seat.member.folder / "heartbeat").touch()
