"""Every registered model trains on every kind of task, through the command line."""

import pytest

from lra_bench.core.record import RunRecord
from lra_bench.core.registry import MODELS
from tests.test_cli import small

SETTINGS = (
    "backbone.d_model=8",
    "backbone.depth=2",
    "optim.lr=0.01",
    "train.max_steps=50",
    "train.val_every=25",
    "train.global_batch_size=8",
    "train.accelerator=cpu",
    "train.threads=1",
)


@pytest.mark.parametrize("kind", ["Toy", "TokensPair", "TokensSteps", "Continuous", "Regression"])
@pytest.mark.parametrize("model", sorted(MODELS.entries()))
def test_every_model_trains_on_every_kind_of_task(cli, folder, model, kind):
    cli("train", f"task=tests.toy_tasks:{kind}", f"model={model}", small(model), *SETTINGS)
    (path,) = folder.glob("runs/train/*/record.json")
    record = RunRecord.read(path)
    assert record.status in ("ok", "chance")
    assert record.budget.steps == 50
    assert record.task.metric in record.test
    losses = [point.train_loss for point in record.curve if not point.val]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("directions", ["tied", "separate"])
def test_both_directions_train_too(cli, directions):
    words = ("train", "task=tests.toy_tasks:Toy", "model=lru", "model.d_state=8", f"backbone.directions={directions}")
    assert "status: ok" in cli(*words, *SETTINGS).output
