"""Which cells are trained together: pure rules, on cells that are never run."""

import math
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lra_bench.config.compose import compose
from lra_bench.core.record import Status
from lra_bench.trials.cell_queue import CellQueue
from lra_bench.trials.grouping import MOST, OVERHEAD, SHARE, Kind, grouped, shared_out
from lra_bench.trials.plan import Cell, cell_of
from lra_bench.trials.programs import Programs
from tests.conftest import TINY


@cache
def cells_of(model: str, count: int) -> tuple[Cell, ...]:
    config = compose(["task=lds", "model=stu", *TINY, "study=s"]).config
    return tuple(Cell(config, Path(f"{model}-{index}")) for index in range(count))


@given(
    sizes=st.lists(st.tuples(st.integers(2, 130), st.floats(1e3, 1e9)), min_size=1, max_size=5),
    slots=st.integers(1, 70),
    memory=st.floats(1e6, 1e11),
)
def test_every_cell_is_in_one_program_and_programs_fit(sizes, slots, memory):
    kinds = [Kind(cells_of(f"m{index}", count), kept) for index, (count, kept) in enumerate(sizes)]
    programs = shared_out(kinds, slots, memory)
    folders = [cell.folder for cells in programs for cell in cells]
    assert sorted(folders) == sorted(cell.folder for kind in kinds for cell in kind.cells)
    for cells in programs:
        (model,) = {cell.folder.name.partition("-")[0] for cell in cells}
        kind = kinds[int(model[1:])]
        assert len(cells) <= MOST
        assert len(cells) == 1 or len(cells) * OVERHEAD * kind.kept <= SHARE * memory * 1.001


def cells(model: str, *words: str, seeds: int = 4) -> list[Cell]:
    return [
        cell_of(compose(["task=lds", f"model={model}", *TINY, "study=s", f"seed={seed}", *words]).config)
        for seed in range(seeds)
    ]


def test_what_differs_in_more_than_numbers_is_kept_apart():
    sweep = [*cells("stu"), *cells("lru"), *cells("stu", "optim.lr=0.3"), *cells("stu", "model.num_filters=8")]
    found = grouped(sweep, 1, 1e10, "auto")
    assert sorted(len(program) for program in found.programs) == [4, 4, 8]
    assert {cell.folder for cell in found.order} == {cell.folder for cell in sweep}
    assert all(len({repr(cell.config.model) for cell in program}) == 1 for program in found.programs)


@pytest.mark.parametrize(
    ("count", "slots", "sizes"), [(6, 2, [3, 3]), (6, 1, [6]), (7, 4, [2, 2, 3]), (12, 2, [6, 6]), (4, 8, [2, 2])]
)
def test_no_slot_idles_while_a_program_could_be_shared(count, slots, sizes):
    programs = shared_out([Kind(cells_of("m", count), 1e6)], slots, 1e10)
    assert sorted(map(len, programs)) == sizes


def test_programs_are_not_made_smaller_for_nothing():
    kinds = [Kind(cells_of("m", 6), 1e6), Kind(cells_of("n", 6), 1.1e6)]
    assert [len(program) for program in shared_out(kinds, 2, 1e10)] == [6, 6]


def test_auto_wants_four_cells_and_on_wants_two():
    assert not grouped(cells("stu", seeds=3), 1, 1e10, "auto").programs
    assert len(grouped(cells("stu", seeds=3), 1, 1e10, "on").programs) == 1
    (reason,) = grouped(cells("stu", seeds=1), 1, 1e10, "on").alone
    assert reason == "no other cell is like it but for numbers"


def test_what_is_tracked_or_spread_has_its_own_process():
    spread = cells("stu", "train.devices=2", "train.global_batch_size=2")
    tracked = cells("stu", "tracking.wandb=offline")
    found = grouped([*spread, *tracked], 1, 1e10, "on")
    assert not found.programs
    assert sorted(map(len, found.alone.values())) == [4, 4]


def test_without_memory_for_two_each_runs_by_itself():
    found = grouped(cells("stu"), 1, 1e3, "on")
    assert found.programs == ()
    assert list(found.alone) == ["there is memory for one at a time"]


def test_programs_are_halved_until_each_cell_is_alone():
    members = list(cells_of("m", 11))
    programs = Programs([members])
    rounds = 0
    while any(programs.number(cell) is not None for cell in members):
        groups: dict[int, list[Cell]] = {}
        for cell in members:
            if (number := programs.number(cell)) is not None:
                groups.setdefault(number, []).append(cell)
        for group in groups.values():
            programs.split(group)
        rounds += 1
    assert rounds == math.ceil(math.log2(11))


def test_the_cells_of_a_program_start_together_and_prove_their_model():
    members = cells("stu", seeds=6)
    queue = CellQueue(members, True, Programs([members[:3]]))
    assert queue.take() == tuple(members[:3])
    assert queue.take() == ()
    for cell in members[:2]:
        queue.judge(cell, Status.ERROR)
    assert not queue.held
    queue.judge(members[2], Status.OK)
    assert [queue.take() for _ in range(4)] == [(members[3],), (members[4],), (members[5],), ()]


def test_a_program_whose_cells_all_fail_holds_its_model_back():
    members = cells("stu", seeds=5)
    queue = CellQueue(members, True, Programs([members[:3]]))
    for cell in queue.take():
        queue.judge(cell, Status.ERROR)
    assert queue.held == {members[2].folder: members[3:]}
