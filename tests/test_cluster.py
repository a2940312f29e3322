"""Sweeps through Slurm and Ray: what is submitted, and that the engines change nothing but where trials run."""

import contextlib
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from lra_bench import experiment
from lra_bench.config.compose import compose
from lra_bench.core.record import Status
from lra_bench.trials.launchers import slurm, task
from lra_bench.trials.launchers.task import Share, run_cell, share_of
from lra_bench.trials.plan import Cell, cell_of, freeze, plan
from lra_bench.trials.policy import Policy
from lra_bench.trials.state import Progress, claim, progress
from lra_bench.trials.sweepfile import read_sweep
from tests.conftest import TINY
from tests.test_sweeps import ROOT, finish, histories, lra_bench, power_cut, records, starts

SWEEP = """# two cells
method: grid
parameters:
  task: {value: lds}
  model: {value: "tests.strangers:Ramp"}
  optim.lr: {value: 0.05}
  seed: {values: [0, 1]}
"""
LONG = (*TINY[:3], "model.pause=0.02", "train.max_steps=200", "train.val_every=20", "train.log_every=5")
linux = pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")


@pytest.fixture
def sweep_file(folder) -> Path:
    path = folder / "slow.yaml"
    path.write_text(SWEEP)
    return path


@pytest.fixture
def start(monkeypatch):
    """Starts the command line with words of a sweep; nothing of it outlives the test."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
    mark = uuid.uuid4().hex

    started = []

    def run(*words: str) -> subprocess.Popen:
        started.append(lra_bench("sweep", *words, mark=mark))
        return started[-1]

    yield run
    power_cut(mark)
    for process in started:
        if process.returncode is None:
            process.communicate()


def as_if_alone(words: tuple[str, ...]) -> dict[str, tuple[bytes, Status, dict[str, float]]]:
    """Trial -> curve, status and test metrics of the sweep's cells, each run in this process."""
    cells = plan(read_sweep("slow.yaml"), (*words, "study=alone"))
    for cell in cells:
        experiment.run(cell.config, cell.folder)
    return outcomes("alone")


def outcomes(study: str) -> dict[str, tuple[bytes, Status, dict[str, float]]]:
    curves = histories(Path("runs", study))
    return {name: (curves[name], record.status, record.test) for name, record in records(Path("runs", study)).items()}


def options(*words: str) -> list[str]:
    return [word for option in words for word in ("--launcher-option", option)]


@pytest.fixture
def no_slurm(monkeypatch, tmp_path):
    """A machine without Slurm."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def fake_slurm(monkeypatch, tmp_path) -> Path:
    """A machine whose sbatch keeps what it is given in a folder."""
    tools, given = tmp_path / "tools", tmp_path / "given"
    tools.mkdir()
    given.mkdir()
    for name in ("srun", "sbatch"):
        (tools / name).write_text(f'#!/bin/sh\ncp "$1" {given}\necho "Submitted batch job 12"\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return given


def test_the_script_is_shown_and_nothing_is_written(cli, sweep_file, no_slurm):
    words = options("slurm_partition=gpu", "mem_gb=1.5", "slurm_setup=module load cuda", "timeout_min=60")
    flags = options("slurm_additional_parameters=reservation=mine,contiguous")
    script = cli("sweep", "run", "slow.yaml", *TINY, "--launcher", "slurm", "--dry-run", *words, *flags).output
    for line in (
        "#SBATCH --array=0-1%2",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --contiguous",
        "#SBATCH --job-name=slow",
        "#SBATCH --mem=1536MB",
        "#SBATCH --partition=gpu",
        "#SBATCH --requeue",
        "#SBATCH --reservation=mine",
        "#SBATCH --signal=USR2@90",
        "#SBATCH --time=60",
        "module load cuda",
    ):
        assert line in script.splitlines()
    assert "gpus" not in script
    assert [path.name for path in Path().iterdir()] == ["slow.yaml"]


def test_cells_that_need_different_machines_are_different_arrays(folder, no_slurm, monkeypatch):
    monkeypatch.setattr(slurm, "LONGEST_ARRAY", 2)
    words = ("task=lds", "model=stu", "train.accelerator=gpu", "train.global_batch_size=8")
    wide = [cell_of(compose((*words, "train.devices=4", f"seed={seed}")).config) for seed in range(3)]
    one = cell_of(compose((*words, "train.time_limit=7200", "seed=3")).config)
    scripts = slurm.scripts([*wide, one], {"slurm_array_parallelism": "8"})
    flags = [
        {line.partition(" ")[2] for line in script.splitlines() if line.startswith("#SBATCH")} for script in scripts
    ]
    assert [flag & {"--array=0-1%2"} != set() for flag in flags] == [True, False, False]
    assert {"--gpus-per-node=4", "--cpus-per-task=4", "--time=1440"} < flags[0] & flags[1]
    assert {"--gpus-per-node=1", "--cpus-per-task=1", "--time=150"} < flags[2]


def test_what_is_submitted_is_what_was_shown(cli, sweep_file, fake_slurm):
    words = ["sweep", "run", "slow.yaml", *TINY, "--launcher", "slurm", *options("slurm_account=me")]
    shown = cli(*words, "--dry-run").output
    output = cli(*words).output
    assert "submitted 2 cells as Slurm job 12" in output
    assert "lra-bench sweep status slow.yaml" in output
    (script,) = fake_slurm.iterdir()
    assert script.read_text() + "\n" == shown
    folders = []
    for index in range(2):
        content = pickle.loads(Path(f"runs/slow/slurm/12_{index}_submitted.pkl").read_bytes())  # noqa: S301 (own)
        folder, gpus, policy = content.args
        assert (gpus, policy) == (0, Policy())
        folders.append(Path(folder))
    assert sorted(folders) == sorted(path.parent.absolute() for path in Path("runs/slow").glob("*/config.yaml"))


def test_one_line_says_that_there_is_no_slurm(cli, sweep_file, no_slurm):
    output = cli("sweep", "run", "slow.yaml", *TINY, "--launcher", "slurm", expect=2).output
    assert "there is no Slurm on this machine" in output


@pytest.mark.parametrize(
    ("launcher", "option", "message"),
    [
        ("slurm", "partition=x", "--launcher slurm has no option 'partition'; it has cluster, timeout_min"),
        ("slurm", "timeout_min=soon", "timeout_min=soon of --launcher slurm: Input should be a valid integer"),
        ("slurm", "mem_gb=0", "mem_gb=0 of --launcher slurm: Input should be greater than 0"),
        ("slurm", "cluster=elsewhere", "Input should be 'slurm' or 'local'"),
        ("slurm", "slurm_additional_parameters==x", "not of the form name=value"),
        ("ray", "gpus=1", "--launcher ray has no option 'gpus'; it has address, num_cpus, trials_per_gpu"),
        ("ray", "num_cpus=0", "num_cpus=0 of --launcher ray: Input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_option_is_one_line(cli, sweep_file, fake_slurm, launcher, option, message):
    words = ["--launcher", launcher, *options(option)]
    assert message in cli("sweep", "run", "slow.yaml", *TINY, *words, expect=2).output


@pytest.mark.parametrize(("launcher", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_missing_package_is_named(cli, sweep_file, monkeypatch, launcher, package):
    monkeypatch.setitem(sys.modules, package, None)
    output = cli("sweep", "run", "slow.yaml", *TINY, "--launcher", launcher, expect=2).output
    assert f"pip install 'lra-bench[{launcher}]'" in output


def test_a_trial_asks_for_its_ranks_threads_and_loaders():
    words = ("task=lds", "model=stu", "train.global_batch_size=8", "train.devices=2", "train.workers=3")
    assert share_of(compose((*words, "train.threads=4")).config) == Share(gpus=0, cpus=14)
    assert share_of(compose((*words, "train.threads=null", "train.accelerator=gpu")).config) == Share(gpus=2, cpus=8)


def test_a_cell_that_another_runner_holds_is_passed_over(folder, monkeypatch):
    monkeypatch.setattr(task, "HANDOVER", 0.1)
    freeze(Cell(compose(("task=lds", "model=stu", *TINY)).config, folder / "trial"))
    with claim(folder / "trial"):
        run_cell(folder / "trial", 0, Policy())
    assert not (folder / "trial/record.json").exists()


def wait_for(condition, process: subprocess.Popen | None = None, seconds: float = 100) -> None:
    """Wait until something holds, while a process runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def begun() -> list[Path]:
    """Trials that have taken steps."""
    return [path.parent for path in Path("runs/slow").glob("*/history.jsonl") if path.stat().st_size]


def processes(*parts: str, mark: str = "") -> list[int]:
    """Those whose command line contains all of `parts`, and whose environment the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if all(part in command for part in parts) and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


SLURM_HERE = ("--launcher", "slurm", *options("cluster=local"))
RAY_HERE = ("--launcher", "ray", *options("num_cpus=1"))


def test_slurm_jobs_leave_the_same_records(sweep_file, start):
    output = finish(start("run", "slow.yaml", *TINY, "--shard", "1/2", *SLURM_HERE))
    alone = as_if_alone(TINY)
    assert "1 cells, 0 done, 1 to run with slurm" in output
    assert "lra-bench report runs/slow" in output
    ((name, outcome),) = outcomes("slow").items()
    assert outcome == alone[name]
    assert len(list(Path("runs/slow/slurm").glob("*_log.out"))) == 1


def test_ray_tasks_leave_the_same_records(sweep_file, start):
    output = finish(start("run", "slow.yaml", *TINY, *RAY_HERE))
    assert [line.partition(":")[0] for line in output.splitlines()] == ["runs/slow", "W&B", "Ended", "Next"], output
    assert outcomes("slow") == as_if_alone(TINY)
    assert starts(Path("runs/slow")) == [1, 1]


@pytest.mark.slow
def test_a_trial_without_room_is_told(sweep_file, start):
    output = finish(start("run", "slow.yaml", *TINY, "train.threads=3", *RAY_HERE), expect=2)
    assert "a trial needs 3 CPUs and 0 GPUs, and no machine of this Ray has them" in output


@linux
@pytest.mark.slow
def test_a_job_whose_time_is_up_saves_its_trial_and_is_requeued(sweep_file, start):
    process = start("run", "slow.yaml", *LONG, *SLURM_HERE)
    wait_for(begun, process)
    interrupted = begun()
    for job in processes("submitit.core._submit", str(Path("runs/slow/slurm").absolute())):
        os.kill(job, signal.SIGUSR2)
    assert "Ended: 2 ok" in finish(process)
    assert outcomes("slow") == as_if_alone(LONG)
    assert all((folder / "log.txt").read_text().count("optimizer group") == 2 for folder in interrupted)
    assert any("Requeued job" in path.read_text() for path in Path("runs/slow/slurm").glob("*_log.out"))


@linux
@pytest.mark.slow
@pytest.mark.parametrize("launcher", [SLURM_HERE, RAY_HERE], ids=["slurm", "ray"])
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "sweep stop", "SIGKILL"])
def test_an_interrupted_sweep_saves_itself_and_goes_on(sweep_file, start, launcher, how):
    process = start("run", "slow.yaml", *LONG, *launcher)
    wait_for(begun, process)
    interrupted = begun()
    if how == "sweep stop":
        finish(start("stop", "slow.yaml", *LONG))
        assert "Interrupted (sweep stop)" in finish(process, expect=75)
    elif how == "SIGKILL":
        process.kill()
        process.communicate()
    else:
        process.send_signal(signal.Signals[how])
        assert f"Interrupted ({how})" in finish(process, expect=130 if how == "SIGINT" else 75)
    if how == "SIGKILL" and launcher is SLURM_HERE:
        wait_for(lambda: len(records(Path("runs/slow"))) == 2)  # submitit's jobs do not need it any more
    else:
        wait_for(lambda: all(progress(folder) is Progress.INTERRUPTED for folder in interrupted))
    assert "Ended: 2 ok" in finish(start("run", "slow.yaml", *LONG))
    assert outcomes("slow") == as_if_alone(LONG)


@pytest.fixture
def two_machines(start):
    """A Ray cluster of two machines on this one: its address, and the mark of the second one's processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    marks = [uuid.uuid4().hex for _ in range(2)]
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as place:  # paths of sockets are short
        places = (
            ("--head", f"--port={address.partition(':')[2]}", "--include-dashboard=false"),
            (f"--address={address}",),
        )
        settings = {"RAY_TMPDIR": place, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
        for mark, words in zip(marks, places, strict=True):
            subprocess.run(
                [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", *words],
                env={**os.environ, **settings, "LRA_BENCH_TEST_MARK": mark},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )
        yield address, marks[1]
        for mark in marks:
            power_cut(mark)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False], ids=["all of it", "its raylet"])
def test_a_cluster_survives_the_loss_of_a_machine(sweep_file, start, two_machines, whole):
    address, mark = two_machines
    process = start("run", "slow.yaml", *LONG, "--launcher", "ray", *options(f"address={address}"))
    wait_for(lambda: len(begun()) == 2, process)
    if whole:
        power_cut(mark)
    else:
        (raylet,) = processes("raylet/raylet", mark=mark)
        os.kill(raylet, signal.SIGKILL)
    assert "Ended: 2 ok" in finish(process)
    assert outcomes("slow") == as_if_alone(LONG)
    assert sorted(starts(Path("runs/slow"))) == [1, 2]


def has_slurm() -> bool:
    return (
        shutil.which("sinfo") is not None
        and "idle"
        in subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, check=False).stdout
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not has_slurm(), reason="no Slurm with an idle machine")
def test_a_job_of_slurm_itself_is_requeued(sweep_file, start):
    output = finish(start("run", "slow.yaml", *LONG, "--launcher", "slurm", *options("timeout_min=30")))
    job = output.partition("Slurm job ")[2].partition(",")[0]
    wait_for(begun)
    interrupted = begun()
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    wait_for(lambda: "PENDING" in queue(job))
    for index in range(2):
        subprocess.run(["scontrol", "update", f"JobId={job}_{index}", "StartTime=now"], check=False)
    wait_for(lambda: not queue(job), seconds=400)
    assert outcomes("slow") == as_if_alone(LONG)
    assert all((folder / "log.txt").read_text().count("optimizer group") == 2 for folder in interrupted)


def queue(job: str) -> str:
    """States of a job's parts that are not over."""
    return subprocess.run(
        ["squeue", "--noheader", "--format=%T", f"--jobs={job}"], capture_output=True, text=True
    ).stdout
