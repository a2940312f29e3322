"""Which cells of a sweep are trained together, and how they are shared out over the slots.

Cells that may share a program differ in numbers alone, so what one of them keeps for its backward pass says what each
takes in memory, and, beside a fixed cost of each step, in time. Nothing is timed: the same cells on as many slots give
the same programs, and so the same numbers to the last bit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lra_bench.core.registry import MODELS, TASKS
from lra_bench.trials.plan import Cell
from lra_bench.trials.slots import makespan

FEWEST = 4
"""Cells that are worth training together, for `auto`."""
MOST = 64
"""Members of a program: each holds two files open in its runner and its process."""
SMALL = 8e6
"""Bytes that one member keeps for its backward pass, at most, for `auto`: so much fits into caches."""
STEP = 4e-3
"""Seconds of a step of a program on one CPU core, however few its members: some 200 operations of torch."""
RATE = 3e8
"""Bytes kept for a backward pass per second of a step beyond that."""
SHARE = 0.5
"""Of a slot's memory, for its program."""
OVERHEAD = 4
"""Memory of a member by what it keeps for its backward pass: gradients, moments, temporary tensors."""

Mode = Literal["auto", "on"]


@dataclass(frozen=True)
class Kind:
    """Cells that may share a program.

    Attributes:
        cells: in the order of the sweep.
        kept: bytes that a training step of one keeps for its backward pass.
    """

    cells: tuple[Cell, ...]
    kept: float

    def seconds(self, count: int) -> float:
        """About how long a program of so many of them takes on one core."""
        return self.cells[0].config.train.max_steps * (STEP + count * self.kept / RATE)

    def parts(self, count: int) -> list[tuple[Cell, ...]]:
        """So many programs of much the same mixture."""
        return [self.cells[start::count] for start in range(count)]


@dataclass(frozen=True)
class Grouping:
    """How the cells of a sweep are run.

    Attributes:
        programs: cells that are trained together, two or more, the longest program first.
        alone: why -> cells that have processes of their own.
    """

    programs: tuple[tuple[Cell, ...], ...]
    alone: dict[str, tuple[Cell, ...]]

    @property
    def order(self) -> list[Cell]:
        """All cells: the programs, which are long, before what fills the slots in the end."""
        return [cell for cells in (*self.programs, *self.alone.values()) for cell in cells]


def grouped(cells: Sequence[Cell], slots: int, memory: float, mode: Mode) -> Grouping:
    """Decide which cells share programs.

    `on` puts together whatever can be. `auto` does so where it pays and is sure to change nothing: at least `FEWEST`
    cells, whose model and task come with this project, each of which keeps at most `SMALL` bytes a step.

    Args:
        cells: those to be run.
        slots: programs at a time.
        memory: of a slot, in bytes.
        mode: which of the two.
    """
    alike: dict[tuple[object, ...], list[Cell]] = {}
    alone: dict[str, list[Cell]] = {}
    for cell in cells:
        if (reason := refused(cell, mode)) is None:
            alike.setdefault(_key(cell), []).append(cell)
        else:
            alone.setdefault(reason, []).append(cell)
    kinds: list[Kind] = []
    fewest = FEWEST if mode == "auto" else 2
    for found in alike.values():
        if len(found) < fewest:
            others = "no other cell is" if len(found) == 1 else f"only {len(found)} cells are"
            alone.setdefault(f"{others} like it but for numbers", []).extend(found)
            continue
        kind = Kind(tuple(found), kept_bytes(found[0], SMALL if mode == "auto" else math.inf))
        if mode == "auto" and kind.kept > SMALL:
            alone.setdefault("its steps are large, so a program of several is no faster", []).extend(found)
        else:
            kinds.append(kind)
    programs = shared_out(kinds, slots, memory)
    for cells_alone in [program for program in programs if len(program) == 1]:
        alone.setdefault("there is memory for one at a time", []).extend(cells_alone)
    together = tuple(program for program in programs if len(program) > 1)
    return Grouping(together, {reason: tuple(found) for reason, found in alone.items()})


def refused(cell: Cell, mode: Mode) -> str | None:
    """Why a cell has a process of its own, None if it need not."""
    from lra_bench import tracking
    from lra_bench.stacked.eligibility import refusal

    if tracking.decide(cell.config.tracking.wandb).mode != "disabled":
        return "it is logged to W&B; tracking.wandb=disabled leaves that out"
    theirs = [
        name
        for registry, name in ((MODELS, cell.config.model.name), (TASKS, cell.config.task.name))
        if registry.find(name).origin != "lra-bench"
    ]
    if mode == "auto" and theirs:
        return f"{theirs[0]} does not come with lra-bench; --vectorize on tries it"
    return refusal(cell.config)


def kept_bytes(cell: Cell, enough: float) -> float:
    """Bytes that one training step of a trial keeps for its backward pass.

    Measured on one example, by the tensors that autograd saves; not at all where the layers' outputs alone are more
    than `enough`.
    """
    import torch

    from lra_bench.building import build_net, build_task, real_dtype
    from lra_bench.training.objectives import make_objective

    config = cell.config
    task = build_task(config)
    size = config.train.global_batch_size
    outputs = 4.0 * size * task.spec.seq_len * config.backbone.d_model * config.backbone.depth
    if outputs > enough:
        return outputs
    net = build_net(config, task.spec)
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    batch = task.decode(task.source("train").__getitems__([0])).in_precision(real_dtype(config))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        _loss = make_objective(task.spec).loss(net(batch), batch)
    return float(size * sum(kept.values()))


def shared_out(kinds: Sequence[Kind], slots: int, memory: float) -> list[tuple[Cell, ...]]:
    """Programs of all cells, the longest first, such that the slots end at much the same time.

    They are as few as memory allows; more of them, down to two members each, only where all cells are done earlier so.

    Args:
        kinds: of cells that share programs.
        slots: programs at a time.
        memory: of a slot, in bytes.
    """
    total = sum(kind.seconds(len(kind.cells)) for kind in kinds)
    best: list[tuple[float, tuple[Cell, ...]]] = []
    for about in (1, slots, 2 * slots, 3 * slots, 4 * slots):
        longest = total / about
        programs = []
        for kind in kinds:
            needed = math.ceil(len(kind.cells) / _most(kind, memory))
            wanted = min(math.ceil(kind.seconds(len(kind.cells)) / longest), about)
            parts = max(needed, min(wanted, len(kind.cells) // 2))
            programs += [(kind.seconds(len(part)), part) for part in kind.parts(parts)]
        programs.sort(key=lambda program: -program[0])
        if not best or _ends(programs, slots) < 0.98 * _ends(best, slots):
            best = programs
    return [cells for _, cells in best]


def _ends(programs: Sequence[tuple[float, tuple[Cell, ...]]], slots: int) -> float:
    return makespan((seconds for seconds, _ in programs), slots)


def _most(kind: Kind, memory: float) -> int:
    """Members that fit into a slot's memory."""
    fitting = SHARE * memory / (OVERHEAD * kind.kept) if kind.kept else math.inf
    return int(max(1, min(MOST, fitting)))


def _key(cell: Cell) -> tuple[object, ...]:
    """Equal for cells that may share a program."""
    from lra_bench.stacked.eligibility import stack_key

    return cell.folder.parent, cell.config.task.name, cell.config.model.name, stack_key(cell.config)
