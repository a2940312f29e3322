"""Who is started when and where, and what the runner makes of the ends of trials."""

import os
import re
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from lra_bench.config.compose import compose, load_frozen
from lra_bench.core.errors import ConfigError
from lra_bench.core.record import RunRecord, Status
from lra_bench.experiment import record_death
from lra_bench.trials import deaths, slots
from lra_bench.trials.cell_queue import CellQueue
from lra_bench.trials.frozen import prepare, use_less_memory
from lra_bench.trials.plan import Cell, cell_of, plan
from lra_bench.trials.policy import FAILURES, Policy
from lra_bench.trials.programs import Programs
from lra_bench.trials.runner import run_cells
from lra_bench.trials.slot_pool import SlotPool
from lra_bench.trials.slots import Slot, make_slots, parse_devices
from lra_bench.trials.state import StopRequest, ask_to_stop, claim, finished_record
from lra_bench.trials.sweepfile import read_sweep
from tests.conftest import TINY
from tests.test_sweeps import finish, lra_bench


def cell(*words: str, model: str = "tests.strangers:Ramp") -> Cell:
    return cell_of(compose(["task=lds", f"model={model}", *TINY, "train.threads=1", "study=s", *words]).config)


def run(*cells: Cell, places: tuple[Slot, ...] = (Slot(),), policy: Policy = Policy()):  # noqa: B008
    done = []
    leftovers = run_cells(cells, places, lambda cell: done.append(cell.folder), policy)
    return leftovers, [finished_record(folder) for folder in done]


SLOW = (*TINY, "train.max_steps=4000", "train.threads=1")


@pytest.fixture
def sweep_of_slow_cells(folder) -> None:
    Path("slow.yaml").write_text(
        """method: grid
parameters:
  task: {value: lds}
  model: {value: "tests.strangers:Ramp"}
  model.pause: {value: 0.01}
  seed: {values: [0, 1]}
"""
    )


@pytest.mark.parametrize(("words", "found"), [("0-3", [0, 1, 2, 3]), ("6,0,2-3", [6, 0, 2, 3]), ("7", [7])])
def test_devices_are_read_as_ranges(words, found):
    assert parse_devices(words, 8) == found


@pytest.mark.parametrize(
    ("words", "available", "message"),
    [
        ("0-8", 8, "no GPU 8 here: GPUs are 0-7"),
        ("0", 0, "leave out --devices"),
        ("a", 8, "'a' is not a number or a range"),
        ("3-1", 8, "'3-1' is not"),
        ("1,,2", 8, "'' is not"),
        ("1,0-2", 8, "names a GPU twice"),
    ],
)
def test_devices_that_make_no_sense_are_refused(words, available, message):
    with pytest.raises(ConfigError, match=message):
        parse_devices(words, available)


def test_slots_are_groups_of_devices(monkeypatch):
    monkeypatch.setattr(slots, "_gpu_count", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "8,9,10,11,GPU-a,13,14,15")
    one = cell("train.accelerator=auto")
    two = cell("train.accelerator=auto", "train.devices=2", "train.global_batch_size=2")
    assert [slot.devices for slot in make_slots([one])] == [(index,) for index in range(8)]
    found = make_slots([one, two], devices="0,2,4-6")
    assert [slot.devices for slot in found] == [(0, 2), (4, 5)]
    assert [slot.visible_devices() for slot in found] == ["8,10", "GPU-a,13"]
    shared = make_slots([one], devices="1-2", trials_per_device=2)
    assert [slot.devices for slot in shared] == [(1,), (2,), (1,), (2,)]
    assert len(make_slots([one], count=3)) == 3
    with pytest.raises(ConfigError, match=r"uses 2 devices .* there are 1"):
        make_slots([two], devices="3")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert found[1].visible_devices() == "4,5"
    assert make_slots([cell()])[0].devices == ()
    with pytest.raises(ConfigError, match="all trials run on the CPU"):
        make_slots([cell()], devices="3")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux")
def test_slots_of_a_cpu_share_its_cores(monkeypatch):
    monkeypatch.setattr(slots, "_gpu_count", lambda: 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 4, 5, 6, 8, 9, 11})
    two = cell("train.threads=2")
    assert [slot.cores for slot in make_slots([two])] == [(3, 4), (5, 6), (8, 9, 11)]
    assert [slot.cores for slot in make_slots([two], count=1)] == [(3, 4, 5, 6, 8, 9, 11)]
    assert [slot.cores for slot in make_slots([two], count=4)] == [()] * 4
    assert [slot.cores for slot in make_slots([cell("train.threads=null")])] == [(3, 4, 5, 6, 8, 9, 11)]
    assert [Slot(cores=(3, 4, 5, 6)).cores_of(rank, 2) for rank in range(2)] == [(3, 4), (5, 6)]


def cells_of_two_models() -> list[Cell]:
    return [cell(f"seed={seed}", model=model) for model in ("lru", "stu") for seed in range(3)]


def test_one_cell_of_each_model_goes_before_the_others(folder):
    cells = cells_of_two_models()
    queue = CellQueue(cells, True, Programs())
    assert [queue.take() for _ in range(3)] == [(cells[0],), (cells[3],), ()]
    queue.judge(cells[3], Status.DIVERGED)
    assert [queue.take() for _ in range(3)] == [(cells[4],), (cells[5],), ()]
    cells[0].folder.mkdir(parents=True)
    (cells[0].folder / "history.jsonl").write_text('{"step":3,"val":{"nmse":1.0}}\n')
    queue.look_for_proof()
    assert [queue.take(), queue.take(), bool(queue)] == [(cells[1],), (cells[2],), False]
    queue.judge(cells[0], Status.ERROR)
    assert not queue.held


@pytest.mark.parametrize("hold", [True, False])
def test_a_model_that_fails_at_once_is_held_back(hold):
    cells = cells_of_two_models()
    queue = CellQueue(cells, hold, Programs())
    queue.take()
    queue.take()
    queue.judge(cells[0], Status.ERROR)
    queue.judge(cells[3], Status.OK)
    assert queue.held == ({cells[0].folder: cells[1:3]} if hold else {})
    expected = (cells[4:5], cells[5:6], []) if hold else (cells[1:2], cells[4:5], cells[5:6])
    assert [list(queue.take()) for _ in range(3)] == list(expected)


def test_a_cell_that_says_nothing_lets_another_be_tried():
    cells = cells_of_two_models()[:3]
    queue = CellQueue(cells, True, Programs())
    assert queue.take() == (cells[0],)
    queue.release(cells[0])
    assert queue.take() == (cells[1],)
    queue.put_back(cells[0])
    queue.put_back(cells[1])
    assert queue.take() == (cells[0],)


def test_a_gpu_that_keeps_failing_is_taken_out_but_never_the_last(caplog):
    first, second = Slot((0,)), Slot((1,))
    pool = SlotPool([first, second, first], quarantine=2)
    for failed in (True, None, False, True, True):
        slot = pool.take()
        while slot != first:
            pool.give_back(slot)
            slot = pool.take()
        pool.give_back(first, failed)
    assert "GPU 0 is taken out" in caplog.text
    assert [pool.take(), bool(pool)] == [second, False]
    for _ in range(5):
        pool.give_back(second, failed=True)
        assert pool.take() == second
    cpu = SlotPool([Slot(), Slot()], quarantine=1)
    cpu.give_back(cpu.take(), failed=True)
    assert cpu


def test_a_kernel_kill_explains_one_death(monkeypatch):
    counts = [3]
    monkeypatch.setattr(deaths, "_counters", lambda: (f"oom_kill {counts[0]}",))
    kills = deaths.KernelKills()
    assert not kills.explain_a_death()
    counts[0] += 1
    kills.look()
    assert kills.explain_a_death()
    assert not kills.explain_a_death()


@pytest.mark.parametrize(
    ("exits", "out_of_memory", "status", "message", "from_outside"),
    [
        ({0: 3}, False, Status.ERROR, "exited with code 3", False),
        ({0: -9}, False, Status.ERROR, "killed by SIGKILL", True),
        ({0: -9}, True, Status.OOM, "lack of memory", False),
        ({0: -11}, True, Status.ERROR, "killed by SIGSEGV", False),
        ({0: 75, 1: -9}, False, Status.ERROR, "rank 1 was killed by SIGKILL", True),
        ({0: 75, 1: 2}, False, Status.ERROR, "rank 1 exited with code 2 .*log.rank-1.txt", False),
        ({0: 255}, False, Status.ERROR, "code 255", True),
    ],
)
def test_deaths_are_explained(tmp_path, exits, out_of_memory, status, message, from_outside):
    death = deaths.explain(tmp_path, exits, out_of_memory)
    assert (death.status, death.from_outside) == (status, from_outside)
    assert re.search(message, death.message)


def test_a_trial_goes_on_where_the_new_command_says(folder):
    prepare(cell("train.accumulate=2", "train.global_batch_size=4", "train.time_limit=50"))
    here = prepare(cell("train.devices=2", "train.global_batch_size=4", "train.threads=2")).config.train
    assert here == load_frozen(cell("train.global_batch_size=4").folder / "config.yaml").train
    assert (here.devices, here.threads, here.accumulate, here.time_limit) == (2, 2, 2, 50)
    assert prepare(cell("train.devices=4", "train.global_batch_size=4")).config.train.accumulate == 1


@pytest.mark.parametrize("words", [["train.global_batch_size=3"], ["train.global_batch_size=4", "backbone.norm=batch"]])
def test_micro_batches_that_cannot_be_halved_stay(folder, words):
    whole = prepare(cell(*words))
    record_death(whole.config, whole.folder, Status.OOM, "x")
    assert use_less_memory(whole) is None
    assert finished_record(whole.folder) is not None


def test_a_trial_out_of_memory_goes_on_in_smaller_batches(folder, caplog):
    words = ["train.global_batch_size=4", "train.eval_batch_size=8", "model.at=5", "optim.lr=0.01"]
    hungry = cell(*words, model="tests.broken:FitsOneExample")
    _, (record,) = run(hungry)
    assert record.status not in (Status.OOM, Status.ERROR)
    assert (record.config["train"]["accumulate"], record.config["train"]["eval_batch_size"]) == (4, 2)
    earlier = [RunRecord.read(path) for path in sorted(hungry.folder.glob("record.retried-*.json"))]
    assert [(r.status, r.config["train"]["accumulate"]) for r in earlier] == [(Status.OOM, 1), (Status.OOM, 2)]
    assert "goes on with train.accumulate=4" in caplog.text


def test_it_ends_after_as_many_retries_as_were_asked_for(folder):
    hungry = cell("train.global_batch_size=4", model="tests.broken:FitsOneExample")
    _, (record,) = run(hungry, policy=Policy(oom_retries=0))
    assert record.status is Status.OOM
    assert not list(hungry.folder.glob("record.retried-*"))


def test_a_trial_that_is_killed_from_outside_goes_on(folder, caplog):
    _, (record,) = run(cell(model="tests.broken:DiesOnce"))
    assert record.status not in (Status.ERROR, Status.OOM)
    assert "killed by SIGKILL; it goes on" in caplog.text


def test_errors_hold_a_model_back_or_stop_the_sweep(folder):
    bad = [cell(f"seed={seed}", model="tests.strangers:Raises") for seed in range(3)]
    good = [cell(f"seed={seed}") for seed in range(2)]
    leftovers, records = run(*bad, *good)
    assert leftovers.held == {bad[0].folder: bad[1:]}
    assert Counter(record.status is Status.ERROR for record in records) == {True: 1, False: 2}
    leftovers, records = run(*bad[1:], policy=Policy(on_error="stop"))
    assert (leftovers.stopped_by, len(records)) == (bad[1], 1)
    leftovers, records = run(*bad, policy=Policy(on_error="carry-on"))
    assert (leftovers.held, len(records)) == ({}, 3)


def test_trials_stay_in_their_places(folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    core = min(os.sched_getaffinity(0))
    words = ["train.accelerator=cpu", "model.at=6"]
    run(cell(*words, model="tests.broken:TellsWhereItIs"), places=(Slot((1, 3), (core,)),))
    assert Path("places").read_text() == f"{core} 5,7\n"


def test_a_cell_that_another_holds_is_left_to_it_and_then_taken_over(folder):
    held, free = cell("seed=1"), cell("seed=2")
    held.folder.mkdir(parents=True)
    order = []
    with claim(held.folder):
        release = threading.Event()

        def on_done(done: Cell) -> None:
            order.append(done.folder)
            release.set()

        runner = threading.Thread(target=run_cells, args=([held, free], [Slot()], on_done))
        runner.start()
        assert release.wait(120)
        assert order == [free.folder]
    runner.join(120)
    assert order == [free.folder, held.folder]


@pytest.mark.parametrize("how", ["signal", "file"])
def test_a_request_to_stop_saves_what_runs(folder, how):
    slow = cell("train.max_steps=4000", "model.pause=0.01")

    def stop() -> None:
        while not (slow.folder / "checkpoints" / "last.ckpt").exists():
            time.sleep(0.1)
        if how == "signal":
            os.kill(os.getpid(), signal.SIGUSR1)
        else:
            ask_to_stop(slow.folder.parent)

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt, match="SIGUSR1" if how == "signal" else "sweep stop"):
        run(slow)
    record = RunRecord.read(slow.folder / "record.json")
    assert record.status is Status.PREEMPTED
    if how == "file":
        with pytest.raises(KeyboardInterrupt, match="sweep stop"):
            run(slow)


def test_the_command_line_has_the_defaults_of_the_policy():
    from lra_bench.cli.sweep.run import run as command

    defaults = {option.name: option.default for option in command.params}
    for name in ("stall_limit", "oom_retries", "on_error", "quarantine"):
        assert defaults[name] == getattr(Policy(), name)


def test_options_of_one_launcher_are_refused_by_another(cli):
    start = ("sweep", "run", "quickstart")
    assert "--launcher local" in cli(*start, "--launcher", "ray", "--slots", "2", expect=2).output
    assert "for --launcher slurm" in cli(*start, "--dry-run", expect=2).output
    assert "for --launcher slurm or ray" in cli(*start, "--launcher-option", "a=b", expect=2).output
    assert "takes KEY=VALUE" in cli(*start, "--launcher", "ray", "--launcher-option", "a", expect=2).output


def test_sweep_stop_lets_everything_save_itself(sweep_of_slow_cells, cli):
    runner = lra_bench("sweep", "run", "slow.yaml", *SLOW, "--slots", "1")
    started = Path("runs/slow")
    while not list(started.glob("*/checkpoints/last.ckpt")):
        time.sleep(0.1)
        assert runner.poll() is None
    output = cli("sweep", "stop", "slow.yaml", *SLOW).output
    assert "1 have saved themselves, 0 have ended" in output
    assert "Interrupted (sweep stop)" in finish(runner, expect=75)
    (record,) = [RunRecord.read(path) for path in started.glob("*/record.json")]
    assert record.status is Status.PREEMPTED
    assert "asked to stop" in cli("sweep", "stop", "slow.yaml", *SLOW, "--no-wait").output
    for one in plan(read_sweep("slow.yaml"), SLOW):
        one.folder.mkdir(exist_ok=True)
        record_death(one.config, one.folder, Status.OK, "as the test wants it")
    cli("sweep", "run", "slow.yaml", *SLOW)
    assert not StopRequest(started).made


def test_train_starts_a_process_for_each_device(cli):
    words = [
        "task=lds",
        "model=tests.broken:FailsInRank1",
        "model.at=9",
        "train.devices=2",
        "train.global_batch_size=2",
    ]
    words += ["train.accelerator=cpu", "train.threads=1", *TINY]
    good = finish(lra_bench("train", *words, "optim.lr=0.05"))
    (record,) = [RunRecord.read(path) for path in Path("runs/train").glob("*/record.json")]
    assert record.status not in FAILURES
    assert record.trial_id in good
    assert "optimizer group main" in good
    assert "rank 1 slipped" in cli("train", *words, "optim.lr=0.05", "model.at=3", expect=1).output
