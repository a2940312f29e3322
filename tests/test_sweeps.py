"""Sweeps as people run them: the real command, real processes, and what happens when those die."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from lra_bench.core.errors import ConfigError
from lra_bench.core.record import RunRecord, Status
from lra_bench.experiment import record_death
from lra_bench.trials.distributions import draw
from lra_bench.trials.plan import freeze, plan, shard
from lra_bench.trials.state import Progress, TrialBusyError, claim, progress
from lra_bench.trials.sweepfile import Sweep, read_sweep
from tests.conftest import TINY

ROOT = Path(__file__).parent.parent

SWEEP = """# four slow cells
method: grid
parameters:
  task: {value: lds}
  model: {value: "tests.strangers:Ramp"}
  model.pause: {value: 0.02}
  optim: {parameters: {lr: {values: [0.01, 0.1]}}}
  seed: {values: [0, 1]}
command: [lra-bench, train, "${args_no_hyphens}"]
"""


@pytest.fixture
def sweep_file(folder) -> Path:
    path = folder / "slow.yaml"
    path.write_text(SWEEP)
    return path


def lra_bench(*words: str, mark: str = "", **options) -> subprocess.Popen:
    """Start the command line as a user's shell would, in a process group of its own."""
    code = "from lra_bench.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "LRA_BENCH_TEST_MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **options,
    )


def finish(process: subprocess.Popen, expect: int = 0) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == expect, output
    return output


def records(study: Path) -> dict[str, RunRecord]:
    return {path.parent.name: RunRecord.read(path) for path in study.glob("*/record.json")}


def histories(study: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in study.glob("*/history.jsonl")}


def starts(study: Path) -> list[int]:
    """How often each trial was begun or continued."""
    return [path.read_text().count("optimizer group") for path in study.glob("*/log.txt")]


def test_cells_are_the_product_of_all_values(sweep_file):
    sweep = read_sweep(str(sweep_file))
    assert sweep.name == "slow"
    common = ("task=lds", "model=tests.strangers:Ramp", "model.pause=0.02")
    assert sweep.cells == tuple((*common, f"optim.lr={lr}", f"seed={seed}") for lr in (0.01, 0.1) for seed in (0, 1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no sweep .*quickstart"),
        ("method: grid\n", "has no 'parameters'"),
        ("method: bayes\nparameters: {seed: {value: 1}}\n", "method 'bayes' does not run locally.*wandb sweep"),
        ("method: grid\nparameters: {seed: {min: 1, max: 2}}\n", "parameter 'seed' needs"),
        ("method: grid\nparameters: {seed: {values: []}}\n", "parameter 'seed' needs"),
        ("a: [", "cannot read"),
        ("method: random\nparameters: {seed: {min: 1, max: 2}}\n", "needs run_cap"),
        ("method: random\nrun_cap: 0\nparameters: {seed: {value: 1}}\n", "needs run_cap"),
        ("method: random\nrun_cap: 9\nparameters: {seed: {min: 1, max: 3}}\n", "only about 3 different draws"),
        ("method: random\nrun_cap: 2\nparameters: {lr: {distribution: beta}}\n", "no distribution 'beta'"),
        ("method: random\nrun_cap: 2\nparameters: {lr: {distribution: uniform, min: 1}}\n", "uniform needs 'max'"),
        ("method: random\nrun_cap: 2\nparameters: {lr: {distribution: log_uniform_values, min: 0, max: 1}}\n", "'lr'"),
        ("method: grid\nearly_terminate: {type: hyperband}\nparameters: {seed: {value: 1}}\n", "with W&B alone"),
        ("method: grid\nparameters: {seed: 3}\n", "parameter 'seed' needs"),
    ],
)
def test_a_bad_sweep_file_says_what_is_wrong(folder, content, message):
    if content is not None:
        Path("bad.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_sweep("bad.yaml")


RANDOM = """
method: random
run_cap: {cap}
parameters:
  task: {{value: lds}}
  model:
    parameters:
      name: {{values: [stu, lru]}}
  optim.lr: {{distribution: log_uniform_values, min: 0.0001, max: 1}}
  seed: {{min: 0, max: 5}}
"""


def random_cells(cap: int) -> tuple[tuple[str, ...], ...]:
    Path("search.yaml").write_text(RANDOM.format(cap=cap))
    return read_sweep("search.yaml").cells


def test_a_random_search_is_a_function_of_its_file(folder):
    cells = random_cells(40)
    assert cells == random_cells(40)
    assert random_cells(10) == cells[:10]
    assert len(set(cells)) == 40
    rates = [float(cell[2].removeprefix("optim.lr=")) for cell in cells]
    assert all(0.0001 <= rate <= 1 for rate in rates)
    assert 8 <= sum(rate < 0.01 for rate in rates) <= 32  # half of the decades, 40 draws
    assert {cell[1] for cell in cells} == {"model.name=stu", "model.name=lru"}
    assert {int(cell[3].removeprefix("seed=")) for cell in cells} == set(range(6))
    random_cells(40)
    assert len(plan(read_sweep("search.yaml"))) == 40


@pytest.mark.parametrize(
    ("entry", "low", "high", "kind"),
    [
        ({"value": 3}, 3, 3, int),
        ({"values": [2, 5], "probabilities": [0, 1]}, 5, 5, int),
        ({"min": 1, "max": 4}, 1, 4, int),
        ({"min": 1.0, "max": 4}, 1, 4, float),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, 0, 1, float),
        ({"distribution": "log_uniform", "min": -2, "max": 0}, 0.135, 1, float),
        ({"distribution": "q_log_uniform", "min": 0, "max": 3, "q": 2}, 0, 20, float),
        ({"distribution": "log_uniform_values", "min": 1e-4, "max": 1}, 1e-4, 1, float),
        ({"distribution": "q_log_uniform_values", "min": 1, "max": 100, "q": 10}, 0, 100, float),
        ({"distribution": "inv_log_uniform_values", "min": 0.01, "max": 10}, 0.01, 10, float),
        ({"mu": 5, "sigma": 0.1}, 4, 6, float),
        ({"distribution": "q_normal", "mu": 5, "sigma": 1, "q": 1}, 0, 10, float),
        ({"distribution": "log_normal", "mu": 0, "sigma": 0.1}, 0.5, 2, float),
        ({"distribution": "q_log_normal", "mu": 0, "sigma": 0.1, "q": 0.5}, 0.5, 2, float),
    ],
)
def test_distributions_stay_within_their_bounds(entry, low, high, kind):
    drawn = [draw("x", entry, np.random.default_rng(seed)) for seed in range(200)]
    assert all(low <= value <= high for value in drawn)
    assert all(type(value) is kind or "q" in entry for value in drawn)
    if low < high:
        assert len(set(drawn)) > 1
    if "q" in entry:
        assert all(value / entry["q"] == pytest.approx(round(value / entry["q"])) for value in drawn)


def test_shards_are_disjoint_and_make_up_the_whole():
    cells = plan(read_sweep("quickstart"))
    parts = [shard(cells, f"{index}/4") for index in range(1, 5)]
    folders = [cell.folder for part in parts for cell in part]
    assert sorted(folders) == sorted(cell.folder for cell in cells)
    assert {len(part) for part in parts} == {20, 21}
    for wrong in ("0/4", "5/4", "1", "a/b", "1/0"):
        with pytest.raises(ConfigError, match="not of the form i/n"):
            shard(cells, wrong)


def test_the_plan_is_shown_and_nothing_is_run(cli, folder):
    output = cli("sweep", "plan", "quickstart", "--shard", "1/3", "--cells").output
    assert "27 cells, all different, in runs/quickstart" in output
    ids = [cell.folder.name for cell in shard(plan(read_sweep("quickstart")), "1/3")]
    assert [line.split()[0] for line in output.splitlines()[:27]] == ids
    assert not list(folder.iterdir())


def finished_cells(status: Status) -> list[Path]:
    """Folders of the cells of sweep.yaml, as if their trials had ended so."""
    Path("sweep.yaml").write_text(
        "method: grid\nparameters: {task: {value: lds}, model: {value: stu}, seed: {values: [0, 1]}}"
    )
    cells = plan(read_sweep("sweep.yaml"))
    for cell in cells:
        freeze(cell)
        record_death(cell.config, cell.folder, status, "as the test wants it")
    return [cell.folder for cell in cells]


@pytest.mark.parametrize(
    ("words", "status", "again"),
    [
        (["--failed"], Status.ERROR, 2),
        (["--failed"], Status.OOM, 2),
        (["--failed"], Status.DIVERGED, 0),
        (["--status", "diverged"], Status.DIVERGED, 2),
        (["--status", "timeout", "--status", "oom"], Status.OOM, 2),
        (["--status", "timeout"], Status.ERROR, 0),
    ],
)
def test_failed_cells_are_run_again_when_asked_for(cli, folder, words, status, again):
    folders = finished_cells(status)
    assert f"{again} cells to be run again" in cli("sweep", "retry", "sweep.yaml", *words).output
    for place in folders:
        assert (place / "record.json").exists() == (again == 0)
        assert (place / "record.retried-1.json").exists() == (again == 2)


def test_a_retried_cell_keeps_each_earlier_record_and_takes_new_limits(cli, folder):
    (first, _) = finished_cells(Status.TIMEOUT)
    for number in (1, 2):
        cli("sweep", "retry", "sweep.yaml", "--failed", "train.time_limit=77")
        for cell in plan(read_sweep("sweep.yaml"), ["train.time_limit=77"]):
            freeze(cell)
            record_death(cell.config, cell.folder, Status.TIMEOUT, "again")
        assert (first / f"record.retried-{number}.json").exists()
    assert "time_limit: 77" in (first / "config.yaml").read_text()


def test_retry_must_be_told_what(cli, folder):
    finished_cells(Status.OK)
    assert "say which" in cli("sweep", "retry", "sweep.yaml", expect=2).output
    assert "no such status: bad" in cli("sweep", "retry", "sweep.yaml", "--status", "bad", expect=2).output


def test_the_best_rate_is_chosen_on_validation_means(cli, folder):
    assert "no cell is done yet" in cli("sweep", "best", "quickstart", expect=2).output
    Path("two.yaml").write_text(
        "method: grid\nparameters: {task: {value: lds}, model: {value: stu}, optim.lr: {values: [0.1, 0.00001]}}"
    )
    cli("sweep", "run", "two.yaml", *TINY)
    output = cli("sweep", "best", "two.yaml", *TINY).output
    cells = plan(read_sweep("two.yaml"), TINY)
    means = {cell.config.optim.lr: RunRecord.read(cell.folder / "record.json").val["nmse"] for cell in cells}
    assert output.splitlines()[2].split()[:2] == ["stu", f"{min(means, key=means.get):g}"]
    assert "2 of 2 cells are done" in output
    assert "test" not in output


def test_logs_are_found_by_the_beginning_of_an_id(cli, folder):
    first, second = finished_cells(Status.OK)
    first.joinpath("log.txt").write_text("".join(f"line {number}\n" for number in range(100)))
    assert cli("sweep", "logs", "sweep.yaml", first.name[:8], "--lines", "2").output == "line 98\nline 99\n"
    assert "has not been run" in cli("sweep", "logs", "sweep.yaml", second.name, expect=2).output
    assert "2 cells have an id that begins with ''" in cli("sweep", "logs", "sweep.yaml", "", expect=2).output


def test_two_equal_cells_are_refused():
    with pytest.raises(ConfigError, match="same trial"):
        plan(Sweep("s", (("task=lds", "model=stu"), ("task=lds", "model=stu", "train.threads=1"))))


def test_a_sweep_with_a_bad_cell_writes_nothing(cli, folder):
    Path("bad.yaml").write_text(SWEEP.replace("[0.01, 0.1]", "[0.01, fast]"))
    assert "optim.lr" in cli("sweep", "run", "bad.yaml", expect=2).output
    assert [path.name for path in folder.iterdir()] == ["bad.yaml"]


def test_a_sweep_runs_once_and_only_once(sweep_file):
    study = Path("runs/slow")
    first = finish(lra_bench("sweep", "run", "slow.yaml", *TINY, "optim.name=sgd"))
    assert "4 cells, 0 done, 4 to run" in first
    assert "lra-bench report runs/slow" in first
    before = {path: path.stat().st_mtime_ns for path in study.glob("*/record.json")}
    assert len(before) == 4
    second = finish(lra_bench("sweep", "run", "slow.yaml", *TINY, "optim.name=sgd"))
    assert "4 cells, 4 done, 0 to run" in second
    assert "One by one" not in second
    assert {path: path.stat().st_mtime_ns for path in study.glob("*/record.json")} == before
    status = finish(lra_bench("sweep", "status", "slow.yaml", *TINY, "optim.name=sgd"))
    assert "tests.strangers:Ramp" in status
    assert "waiting" not in status


@pytest.mark.usefixtures("nothing_else_killed")
def test_failures_are_records_and_the_sweep_goes_on(folder):
    Path("mixed.yaml").write_text(
        """# every way to fail, and two that do not
method: grid
parameters:
  task: {value: lds}
  model: {values: ["tests.strangers:Raises", "tests.strangers:Killed", "tests.strangers:Exits", "tests.strangers:Ramp"]}
  optim.lr: {values: [0.05, 1000000.0]}
"""
    )
    words = [*TINY, "train.max_steps=20", "optim.name=adam", "--on-error", "carry-on"]
    output = finish(lra_bench("sweep", "run", "mixed.yaml", *words), expect=1)
    found = {}
    for record in records(Path("runs/mixed")).values():
        found.setdefault(record.config["model"]["name"].partition(":")[2], []).append(record)
    assert {name: [r.status for r in rs] for name, rs in found.items() if name != "Ramp"} == {
        "Raises": [Status.ERROR] * 2,
        "Killed": [Status.ERROR] * 2,
        "Exits": [Status.ERROR] * 2,
    }
    assert {r.status for r in found["Ramp"]} == {Status.OK, Status.DIVERGED}
    assert "SIGKILL" in found["Killed"][0].message
    assert "code 3" in found["Exits"][0].message
    assert "own mistake" in found["Raises"][0].message
    assert "6 error" in output
    report = finish(lra_bench("report", "runs/mixed", "--out", "out"))
    assert "out/index.html" in report
    page = Path("out/index.html").read_text()
    assert all(text in page for text in ("diverged", "own mistake", "SIGKILL"))


def power_cut(mark: str) -> None:
    """Kill every process that carries the mark in its environment, until none is left."""
    wanted = f"LRA_BENCH_TEST_MARK={mark}".encode()
    while True:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


LONG = [*TINY, "train.max_steps=40", "train.val_every=5", "train.log_every=3"]


def disturbed(sweep: str, cuts: list[float], cut) -> None:
    """Run a sweep, cut it off after each of the given seconds, and run it to its end."""
    for seconds in cuts:
        mark = uuid.uuid4().hex
        process = lra_bench("sweep", "run", sweep, *LONG, mark=mark)
        time.sleep(seconds)
        cut(process, mark)
        process.communicate(timeout=60)
    finish(lra_bench("sweep", "run", sweep, *LONG))


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")
@pytest.mark.parametrize("how", ["power cut", "process group"])
def test_a_killed_sweep_goes_on_as_if_nothing_had_happened(sweep_file, how):
    """After `kill -9` of everything, or of the runner's process group alone, whose trials then stop by themselves."""

    def cut(process, mark):
        if how == "power cut":
            power_cut(mark)
        else:
            os.killpg(process.pid, signal.SIGKILL)

    finish(lra_bench("sweep", "run", "slow.yaml", *LONG, "study=reference"))
    reference = histories(Path("runs/reference"))
    moments = random.Random(how)  # noqa: S311 (not a secret)
    disturbed("slow.yaml", [moments.uniform(4, 7) for _ in range(2)], cut)
    study = Path("runs/slow")
    assert histories(study) == reference
    assert {record.status for record in records(study).values()} == {Status.OK}
    for name, record in records(Path("runs/reference")).items():
        assert records(study)[name].test == record.test


def test_an_interrupt_saves_running_trials(sweep_file):
    words = [*LONG, "train.max_steps=400"]
    process = lra_bench("sweep", "run", "slow.yaml", *words)
    deadline = time.monotonic() + 60
    while len(list(Path("runs").glob("slow/*/history.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert "The same command goes on" in finish(process, expect=130)
    stopped = records(Path("runs/slow"))
    assert {record.status for record in stopped.values()} == {Status.PREEMPTED}
    cells = {cell.folder.name: cell for cell in plan(read_sweep("slow.yaml"), words)}
    assert all(progress(cells[name].folder) is Progress.INTERRUPTED for name in stopped)


def test_two_runners_never_run_the_same_cell(sweep_file):
    first, second = (lra_bench("sweep", "run", "slow.yaml", *LONG) for _ in range(2))
    outputs = [finish(first), finish(second)]
    assert starts(Path("runs/slow")) == [1] * 4
    assert all("Ended: 4 ok" in output for output in outputs)


def test_a_claim_is_exclusive_and_dies_with_its_holder(folder):
    code = """import sys, time, pathlib
from lra_bench.trials.state import claim
with claim(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)"""
    holder = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TrialBusyError), claim(folder):
            pass
        assert progress(folder) is Progress.RUNNING
    finally:
        holder.kill()
        holder.communicate()
    with claim(folder):
        assert True
    assert progress(folder) is Progress.WAITING
