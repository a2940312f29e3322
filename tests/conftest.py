"""Fixtures for all tests: no network, no login, no writing outside temporary folders."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

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


@pytest.fixture(autouse=True, scope="session")
def _quiet_environment(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_BENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("NETRC", str(tmp_path_factory.mktemp("home") / "no-netrc"))
        for name in ("WANDB_API_KEY", "WANDB_MODE"):
            patch.delenv(name, raising=False)
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
