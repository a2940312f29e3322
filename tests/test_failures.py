"""Trials that break as they do in a lab: each ends with the right status, and the sweep goes on."""

import json
import os
import re
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest

from lra_bench.core.record import RunRecord, Status
from lra_bench.trials import supervision
from lra_bench.trials.plan import plan
from lra_bench.trials.policy import FAILURES
from lra_bench.trials.sweepfile import read_sweep
from tests.conftest import TINY
from tests.test_sweeps import finish, lra_bench

MEMORY = Path("/sys/fs/cgroup/memory")
WORDS = (*TINY, "train.threads=1")
"""Trials that take a moment."""

needs_cgroup = pytest.mark.skipif(
    not os.access(MEMORY / "cgroup.procs", os.W_OK), reason="needs a memory cgroup that may be written"
)
needs_mount = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a disk")


def sweep_of(*models: str, **parameters: object) -> None:
    names = ", ".join(f'"{name}"' if ":" in name else f'"tests.broken:{name}"' for name in models)
    lines = [
        f"  {key}: {{values: {json.dumps(value if isinstance(value, list) else [value], default=str)}}}\n"
        for key, value in parameters.items()
    ]
    Path("sweep.yaml").write_text(
        f"method: grid\nparameters:\n  task: {{value: lds}}\n  model: {{values: [{names}]}}\n{''.join(lines)}"
    )


def by_model(study: str = "sweep") -> dict[str, RunRecord]:
    found = (RunRecord.read(path) for path in Path("runs", study).glob("*/record.json"))
    return {record.config["model"]["name"].partition(":")[2]: record for record in found}


@contextmanager
def memory_cgroup(limit: int):
    group = MEMORY / f"lra-bench-test-{uuid.uuid4().hex[:8]}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        yield group
    finally:
        deadline = time.monotonic() + 30  # a process that is being killed is a member until it is gone
        while (group / "cgroup.procs").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        group.rmdir()


@contextmanager
def small_disk(folder: Path, size: str):
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_every_way_to_break_has_its_status_and_the_sweep_ends(cli, monkeypatch):
    monkeypatch.setattr(supervision, "SHORT_GRACE", 1.0)
    leaves = ("LeavesQuietly", "tests.strangers:Quits")
    sweep_of("Hangs", "MeetsALimit", "WantsAHugeTensor", *leaves, "tests.strangers:Ramp")
    output = cli("sweep", "run", "sweep.yaml", *WORDS, "--slots", "2", "--stall-limit", "12", expect=1).output
    found = by_model()
    assert found.pop("Ramp").status not in FAILURES
    assert {name: record.status for name, record in found.items()} == {
        "Hangs": Status.TIMEOUT,
        "MeetsALimit": Status.OOM,
        "WantsAHugeTensor": Status.OOM,
        "LeavesQuietly": Status.ERROR,
        "Quits": Status.ERROR,
    }
    assert re.fullmatch(r"no sign of life for 12 s after step \d+", found["Hangs"].message)
    assert "exited with code 0 and left no record" in found["LeavesQuietly"].message
    assert not alive(int(Path("grandchild").read_text()))
    assert "2 error" in output
    assert "sweep retry sweep.yaml" in output


@needs_cgroup
@pytest.mark.usefixtures("nothing_else_killed")
def test_a_leak_that_the_kernel_ends_is_out_of_memory(cli):
    with memory_cgroup(600_000_000) as group:
        sweep_of("Leaks", **{"model.cgroup": group})
        cli("sweep", "run", "sweep.yaml", *WORDS, expect=1)
        record = by_model()["Leaks"]
    assert record.status is Status.OOM
    assert "killed by the kernel for lack of memory" in record.message


@needs_mount
def test_a_full_disk_is_the_failure_of_its_own_trial(cli, caplog):
    """On one small disk there is room for a record once the trial has cleaned up, on the other for nothing at all."""
    sweep_of("tests.strangers:Ramp", seed=[0, 1, 2])
    first, second, third = (cell.folder for cell in plan(read_sweep("sweep.yaml"), WORDS))
    with small_disk(first, "24k"), small_disk(second, "4k"):
        output = cli("sweep", "run", "sweep.yaml", *WORDS, "--on-error", "carry-on", expect=1).output
        assert RunRecord.read(first / "record.json").status is Status.ERROR
        assert not (second / "record.json").exists()
        assert RunRecord.read(third / "record.json").status not in FAILURES
    assert f"{second}: nothing can be written" in caplog.text
    assert "1 error, 1 not done" in output
    cli("sweep", "run", "sweep.yaml", *WORDS)


def test_what_happens_in_another_rank_ends_the_trial(cli):
    sweep_of("FailsInRank1", "DiesInRank1", **{"train.global_batch_size": 2, "train.accelerator": "cpu"})
    cli("sweep", "run", "sweep.yaml", *WORDS, "--per-trial", "2", "--slots", "1", expect=1)
    found = by_model()
    assert {record.status for record in found.values()} == {Status.ERROR}
    assert re.search("rank 1: .*slipped", found["FailsInRank1"].message)
    assert re.search("rank 1 exited with code 9", found["DiesInRank1"].message)
    assert len(list(Path("runs/sweep").glob("*/log.rank-1.txt"))) == 2


@needs_cgroup
@pytest.mark.slow
@pytest.mark.usefixtures("nothing_else_killed")
def test_a_leak_in_a_job_with_little_memory_goes_on_in_smaller_batches(folder):
    """The runner is in the same memory cgroup, as in a job of a batch system."""
    with memory_cgroup(2_500_000_000) as group:
        sweep_of("Leaks", **{"train.global_batch_size": 4, "model.cgroup": group})

        def enter() -> None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

        process = lra_bench("sweep", "run", "sweep.yaml", *WORDS, "--oom-retries", "2", preexec_fn=enter)
        output = finish(process, expect=1)
    record = by_model()["Leaks"]
    assert record.status is Status.OOM
    assert record.config["train"]["accumulate"] == 4
    assert "goes on with train.accumulate=2" in output
    assert len(list(Path("runs/sweep").glob("*/record.retried-*.json"))) == 2
