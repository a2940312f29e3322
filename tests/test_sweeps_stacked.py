"""Sweeps whose cells share programs: as people run them, and what becomes of programs that die."""

import os
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest

from lra_bench.core.record import RunRecord, Status
from lra_bench.trials.plan import plan
from lra_bench.trials.policy import FAILURES
from lra_bench.trials.sweepfile import read_sweep
from tests.conftest import TINY
from tests.kill_sweep import comparable
from tests.processes import kill_everything, processes
from tests.test_sweeps import finish, histories, lra_bench, records, starts

WORDS = (*TINY, "train.threads=1")
SWEEP = """method: grid
parameters:
  task: {{value: lds}}
  model: {{values: [{models}]}}
  optim.lr: {{values: [{rates}]}}
  seed: {{values: [{seeds}]}}
{more}"""


def sweep_of(*models: str, rates: str = "0.01", seeds: str = "0, 1, 2, 3", more: str = "") -> None:
    names = ", ".join(f'"{name}"' for name in models)
    Path("sweep.yaml").write_text(SWEEP.format(models=names, rates=rates, seeds=seeds, more=more))


def assert_nearly_equal(found: Path, expected: Path) -> None:
    """Records of the same trial, trained in company and alone, but for rounding."""
    one, other = comparable(found), comparable(expected)
    for key, value in other.items():
        if key in ("val", "test"):
            assert one[key] == pytest.approx(value, rel=1e-4)
        elif key not in ("curve", "engine", "message"):
            assert one[key] == value, key
    assert [point["step"] for point in one["curve"]] == [point["step"] for point in other["curve"]]


def test_a_vectorised_sweep_has_the_records_of_separate_processes(cli):
    sweep_of("stu", "lru", rates="0.003, 0.03, 1000000.0", seeds="0, 1", more="  train.max_steps: {value: 12}\n")
    output = cli("sweep", "run", "sweep.yaml", *TINY[:3], "train.log_every=2", "study=together").output
    assert "Together: 12 cells in 2 programs of 6" in output or "Together: 12 cells in 4 programs of 3" in output
    cli("sweep", "run", "sweep.yaml", *TINY[:3], "train.log_every=2", "study=alone", "--vectorize", "off")
    found = records(Path("runs/together"))
    assert {record.engine.name for record in found.values()} == {"stacked"}
    assert Status.DIVERGED in {record.status for record in found.values()}
    for name in found:
        assert_nearly_equal(Path("runs/together", name), Path("runs/alone", name))
    assert "in 0 processes" not in cli("sweep", "status", "sweep.yaml", *TINY[:3], "study=together").output
    log = cli("sweep", "logs", "sweep.yaml", next(iter(found)), *TINY[:3], "train.log_every=2", "study=together").output
    assert "ok" in log or "chance" in log or "diverged" in log
    assert len(list(Path("runs/together/programs").glob("*.txt"))) in (2, 4)


def test_auto_leaves_alone_what_it_is_not_sure_of(cli):
    sweep_of("stu", "tests.stackable:Steady", seeds="0, 1, 2, 3", more="  train.accumulate: {value: 1}\n")
    output = cli("sweep", "run", "sweep.yaml", *WORDS).output
    assert "Together: 4 cells" in output
    steady = "tests.stackable:Steady"
    assert f"One by one: 4 cells, {steady} on lds: {steady} does not come with lra-bench; --vectorize on" in output
    assert "Together" not in cli("sweep", "run", "sweep.yaml", *WORDS, "study=off", "--vectorize", "off").output


def test_on_says_what_cannot_share_a_program(cli):
    sweep_of("tests.stackable:Steady", "tests.stackable:Drops", seeds="0, 1")
    output = cli("sweep", "run", "sweep.yaml", *WORDS, "--vectorize").output
    assert "Together: 2 cells in 1 programs of 2" in output
    assert "One by one: 2 cells, tests.stackable:Drops on lds: torch.vmap cannot compute it" in output
    assert {record.engine.name for record in records(Path("runs/sweep")).values()} == {"stacked", "alone"}


def test_other_launchers_refuse_it(cli):
    words = ("sweep", "run", "quickstart", "--launcher", "ray", "--vectorize", "on")
    assert "--vectorize on is for --launcher local" in cli(*words, expect=2).output
    assert "'maybe' is not one of" in cli("sweep", "run", "quickstart", "--vectorize", "maybe", expect=2).output


@pytest.mark.parametrize(
    ("model", "message"), [("DiesWithASeed", "exited with code 9"), ("FailsWithASeed", "such seed")]
)
def test_a_member_that_breaks_the_program_ends_alone(cli, model, message, caplog):
    sweep_of(f"tests.stackable:{model}", seeds="0, 1, 2, 3, 4", more="  model.poison: {value: 3}\n")
    cli("sweep", "run", "sweep.yaml", *WORDS, "--slots", "1", "--vectorize", "on", expect=1)
    found = {record.seed: record for record in records(Path("runs/sweep")).values()}
    assert [seed for seed, record in found.items() if record.status in FAILURES] == [3]
    assert len(found) == 5
    assert found[3].status is Status.ERROR
    assert message in found[3].message
    assert "go on in halves" in caplog.text or "goes on alone" in caplog.text


def test_a_model_that_always_breaks_programs_is_held_back(cli):
    sweep_of("tests.stackable:DiesWithASeed", rates="0.1, 0.2, 0.3, 0.4", seeds="1")
    Path("sweep.yaml").write_text(Path("sweep.yaml").read_text() + "  model.poison: {values: [1]}\n")
    words = ("sweep", "run", "sweep.yaml", *WORDS, "--slots", "2", "--vectorize", "off")
    output = cli(*words, expect=1).output
    assert "3 cells of tests.stackable:DiesWithASeed on lds were not started" in output


LONG = (*TINY, "train.threads=1", "train.max_steps=60", "train.val_every=5", "train.log_every=3")


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")
@pytest.mark.parametrize(("first", "then"), [("on", "off"), pytest.param("off", "on", marks=pytest.mark.slow)])
def test_a_sweep_that_was_killed_and_stopped_goes_on_the_other_way(cli, first, then):
    sweep_of("tests.stackable:Steady", seeds="0, 1, 2, 3")
    cli("sweep", "run", "sweep.yaml", *LONG, "study=reference", "--vectorize", "off")
    sweep_of("tests.stackable:Steady", seeds="0, 1, 2, 3", more="  model.pause: {value: 0.05}\n")
    words = ("sweep", "run", "sweep.yaml", *LONG, "--slots", "2")
    mark = uuid.uuid4().hex
    runner = lra_bench(*words, "--vectorize", first, mark=mark)
    try:
        wait_for_checkpoints(Path("runs/sweep"), 2)
        trials = [pid for pid, kind in processes(mark).items() if kind == "trial"]
        os.kill(trials[0], signal.SIGKILL)
        time.sleep(0.5)
        runner.send_signal(signal.SIGINT)
        output = finish(runner, expect=130)
    finally:
        kill_everything(mark)
    assert "killed by SIGKILL; " in output
    assert Status.PREEMPTED in {record.status for record in records(Path("runs/sweep")).values()}
    cli(*words, "--vectorize", then)
    expected = {record.seed: record for record in records(Path("runs/reference")).values()}
    found = {record.seed: record for record in records(Path("runs/sweep")).values()}
    assert found.keys() == expected.keys()
    for seed, record in found.items():
        assert record.status == expected[seed].status
        assert record.test == pytest.approx(expected[seed].test, rel=1e-4)
        assert len(record.curve) == len(expected[seed].curve)


def wait_for_checkpoints(study: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(study.glob("*/checkpoints/last.ckpt"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_runners_share_programs_and_run_no_cell_twice(folder):
    sweep_of("tests.stackable:Steady", seeds="0, 1, 2, 3, 4, 5", more="  model.pause: {value: 0.02}\n")
    words = ("sweep", "run", "sweep.yaml", *LONG, "--slots", "1", "--vectorize", "on")
    outputs = [finish(runner) for runner in (lra_bench(*words), lra_bench(*words))]
    cells = plan(read_sweep("sweep.yaml"), LONG)
    assert all(RunRecord.read(cell.folder / "record.json").status not in FAILURES for cell in cells)
    assert not any("not done" in output for output in outputs)
    for curve in histories(Path("runs/sweep")).values():
        assert curve.count(b'"val"') == 12
    assert not any(starts(Path("runs/sweep")))
