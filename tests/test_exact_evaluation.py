"""Every example is evaluated once: for every batch size, in one process and in several."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lra_bench.core.errors import LraBenchError
from lra_bench.core.settings import OptimConfig, TrainConfig
from lra_bench.data.datamodule import SequenceDataModule
from lra_bench.tasks.lds import LDS, LDSConfig
from lra_bench.training.module import LitSequenceModel
from lra_bench.training.objectives import make_objective
from tests.toy_tasks import SIZES

ROOT = Path(__file__).parent.parent


def toy(val_size: int, batch_size: int) -> SequenceDataModule:
    cfg = LDSConfig(name="lds", seq_len=4, val_size=val_size)
    return LDS(cfg, 0, "clean", TrainConfig(eval_batch_size=batch_size), 0)


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("size", [3, 7, 8])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_the_shares_of_the_processes_are_the_split(size, batch_size, ranks):
    task = toy(size, batch_size)
    seen = [
        tuple(x.flatten().tolist())
        for rank in range(ranks)
        for batch in task.eval_loader("val", rank, ranks)
        for x in batch.x
    ]
    whole = task.source("val").__getitems__(list(range(size)))
    assert seen == [tuple(x.flatten().tolist()) for x in whole.x]
    assert all(len(task.eval_loader("val", rank, ranks)) for rank in range(ranks))


def test_fewer_examples_than_processes_are_refused():
    with pytest.raises(LraBenchError, match="too few for 3 processes"):
        toy(2, 1).eval_loader("val", 0, 3)


def test_an_evaluation_that_misses_examples_is_an_error():
    task = toy(4, 2)
    module = LitSequenceModel(None, make_objective(task.spec), [], OptimConfig(), 1, {"val": 4, "test": 4})
    batch = task.source("val").__getitems__([0, 1, 2])
    module.val_scores.update(batch.y, batch)
    with pytest.raises(RuntimeError, match="val: 3 examples were evaluated, there are 4"):
        module.on_validation_epoch_end()


def test_several_processes_evaluate_what_one_does(tmp_path):
    alone = evaluated(1, tmp_path)[0]
    right = alone["1"]["test/accuracy"] * SIZES["test"]
    assert right == pytest.approx(round(right))
    for ranks in (2, 3):
        for together in evaluated(ranks, tmp_path):
            assert together.keys() == alone.keys()
            assert together == alone


def evaluated(ranks: int, folder: Path) -> list[dict[str, dict[str, float]]]:
    """What each of several processes found."""
    words = [sys.executable, "-W", "ignore", "-m", "tests.parallel_evaluation"]
    started = [
        subprocess.Popen([*words, str(rank), str(ranks), str(folder)], cwd=ROOT, stderr=subprocess.PIPE)
        for rank in range(ranks)
    ]
    errors = [process.communicate(timeout=200)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0] * ranks, "\n".join(error[-2000:] for error in errors)
    return [json.loads((folder / f"{ranks}-{rank}.json").read_text()) for rank in range(ranks)]
