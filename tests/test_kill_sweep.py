"""`kill -9` of whatever runs a sweep, and of a trial at every point where it touches a file."""

import signal
import sys
from pathlib import Path

import pytest
import torch

from lra_bench.config.compose import compose
from lra_bench.training.guard import Guard
from lra_bench.training.history import read_history
from lra_bench.trials.plan import Cell, freeze
from lra_bench.trials.worker import run_trial
from tests import crash_points, kill_sweep
from tests.conftest import TINY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes through /proc")

STEPS, VAL_EVERY = 9, 3
WORDS = (
    "task=lds",
    "model=tests.strangers:Ramp",
    *TINY,
    "optim.lr=0.05",
    f"train.max_steps={STEPS}",
    f"train.val_every={VAL_EVERY}",
    "train.threads=1",
    "tracking.wandb=disabled",
)


@pytest.mark.usefixtures("nothing_else_killed")
def test_a_sweep_survives_the_death_of_random_processes(tmp_path):
    report = kill_sweep.run(tmp_path, cells=6, kills=3, seed=4)
    assert report.problems == [], report
    assert report.kills.total() == 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("seed", "workers"), [(1, 0), (2, 1)])
def test_a_sweep_of_60_cells_survives_20_kills(tmp_path, seed, workers):
    report = kill_sweep.run(tmp_path, cells=60, kills=20, seed=seed, workers=workers)
    assert report.problems == [], report
    assert report.kills.total() == 20
    assert report.watch.resumed


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_vectorised_sweep_of_60_cells_survives_20_kills(tmp_path, seed):
    report = kill_sweep.run(tmp_path, cells=60, kills=20, seed=seed, vectorize="auto")
    assert report.problems == [], report
    assert report.watch.resumed


@pytest.fixture
def new_trial(tmp_path):
    """Makes folders of the same trial, ready to be run."""

    def make(name: str) -> Path:
        freeze(Cell(compose(WORDS).config, tmp_path / name))
        return tmp_path / name

    return make


@pytest.fixture
def started(monkeypatch) -> list[int]:
    """Steps at which training begins in this process."""
    steps: list[int] = []
    original = Guard.on_train_start

    def patched(self, trainer, pl_module):
        steps.append(trainer.global_step)
        original(self, trainer, pl_module)

    monkeypatch.setattr(Guard, "on_train_start", patched)
    return steps


def kept_step(folder: Path) -> int:
    """Step of the checkpoint from which the trial would go on."""
    path = folder / "checkpoints/last.ckpt"
    return torch.load(path, weights_only=True)["global_step"] if path.exists() else 0


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "heartbeat")


def assert_as_if_left_in_peace(folder: Path, reference: Path) -> None:
    assert kill_sweep.comparable(folder) == kill_sweep.comparable(reference)
    assert (folder / "history.jsonl").read_bytes() == (reference / "history.jsonl").read_bytes()
    assert files(folder) == files(reference)


def die_and_go_on(new_trial, started: list[int], every: int) -> None:
    """Kill a trial at every n-th point, each time a new one, and see how it goes on."""
    reference = new_trial("reference")
    points = crash_points.touched_files(reference)
    assert len(points) >= 40
    for number in range(1, len(points) + 1, every):
        half_written = points[number - 1].endswith(".part")
        for torn in (False, True) if half_written else (False,):
            folder = new_trial(f"{number}-{torn}")
            assert crash_points.run_until(folder, number, torn) == -signal.SIGKILL
            kept = kept_step(folder)
            done = max((point.step for point in read_history(folder / "history.jsonl")), default=0)
            assert done - kept <= VAL_EVERY
            over = kept == STEPS or (folder / "record.json").exists()
            started.clear()
            run_trial(folder)
            assert started == ([] if over else [kept]), points[number - 1]
            assert_as_if_left_in_peace(folder, reference)


def test_a_trial_killed_at_any_point_goes_on_from_its_last_checkpoint(new_trial, started):
    die_and_go_on(new_trial, started, every=7)


@pytest.mark.slow
def test_a_trial_killed_at_every_point_goes_on_from_its_last_checkpoint(new_trial, started):
    die_and_go_on(new_trial, started, every=1)


def test_a_trial_killed_again_and_again_ends_as_if_left_in_peace(new_trial):
    reference, folder = new_trial("reference"), new_trial("killed")
    run_trial(reference)
    codes = [crash_points.run_until(folder, number, torn=False) for number in range(4, 60, 8)]
    assert codes.count(-signal.SIGKILL) >= 4
    assert codes[-1] == 0
    assert_as_if_left_in_peace(folder, reference)
