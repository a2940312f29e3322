"""Fixtures for all tests: no network, no login, no writing outside temporary folders."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from filelock import FileLock

from lra_bench.cli.main import main

TINY = (
    "task.seq_len=24",
    "task.val_size=4",
    "task.test_size=4",
    "train.max_steps=6",
    "train.val_every=3",
    "train.log_every=2",
)
"""Overrides that make any trial on `lds` take a moment."""

SHORT = {
    "copying": ("task.memory=3", "task.delays=[2,5]"),
    "selective_copying": ("task.memory=3", "task.lengths=[6,12]"),
    "adding": ("task.lengths=[6,12]",),
    "induction_heads": ("task.lengths=[6,12]",),
    "associative_recall": ("task.pairs=[1,2]", "task.seq_len=12"),
}
"""What makes sequences short in the tasks where it is not `task.seq_len=24`."""


def tiny(task: str) -> tuple[str, ...]:
    """Overrides that make any trial on a task take a moment."""
    return (*SHORT.get(task, TINY[:1]), *TINY[1:])


@pytest.fixture(autouse=True, scope="session")
def _quiet_environment(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_BENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patch.setenv("NETRC", str(tmp_path_factory.mktemp("home") / "no-netrc"))
        for name in ("WANDB_API_KEY", "WANDB_MODE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def nothing_else_killed(tmp_path_factory):
    """One test at a time, of all processes: the kernel has one counter of its kills for lack of memory."""
    with FileLock(tmp_path_factory.getbasetemp().parent / "kernel-kills.lock"):
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder, made the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(folder):
    """Runs the command line in an empty folder."""

    def run(*words: str, expect: int = 0) -> Result:
        result = CliRunner().invoke(main, list(words))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == expect, result.output
        return result

    return run
