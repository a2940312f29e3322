"""Least squares as an optimizer, beside numpy's on rows that are written out one by one."""

import os
import re
import signal

import numpy as np
import pytest
import torch
from lightning import Callback

from lra_bench import building, experiment
from lra_bench.config.compose import compose
from lra_bench.core.errors import ConfigError
from lra_bench.core.record import RunRecord, Status
from lra_bench.stacked.eligibility import refusal
from lra_bench.training import least_squares, linear_model
from lra_bench.training.least_squares import LeastSquares, minimiser
from tests.conftest import TINY, tiny

EXACT = ("optim.name=least_squares", "train.precision=64-true")
LDS = ("task=lds", *TINY, *EXACT)
STU = ("model=stu", "model.num_filters=3")
BARE = tuple(f"backbone.{word}" for word in ("depth=1", "encoder=identity", "head=identity", "norm=none", "glu=false"))
PLAIN = (*BARE, "backbone.activation=identity", "backbone.residual=false", "train.threads=1", "train.accelerator=cpu")


def run(folder, *words: str, observers=()) -> RunRecord:
    return experiment.run(compose(words).config, folder, observers=observers)


def triangle_of(*blocks: np.ndarray) -> torch.Tensor:
    """What the optimizer keeps of rows [J | r] that it sees a block at a time."""
    optimizer = LeastSquares([{"params": [torch.zeros(blocks[0].shape[1] - 1, dtype=torch.float64)]}])
    for block in blocks:
        optimizer.add(torch.from_numpy(block))
    (state,) = optimizer.state_dict()["state"].values()
    return state["triangle"]


def test_rows_seen_in_parts_have_the_minimiser_of_all_of_them():
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((size, 8)) for size in (3, 1, 20, 5)]
    rows = np.concatenate(blocks)
    found = minimiser(triangle_of(*blocks)).numpy()
    np.testing.assert_allclose(found, np.linalg.lstsq(rows[:, :-1], rows[:, -1])[0], rtol=1e-12)
    residual = abs(triangle_of(*blocks)[-1, -1].item())
    assert residual == pytest.approx(np.linalg.norm(rows[:, :-1] @ found - rows[:, -1]), rel=1e-12)


def test_of_many_minimisers_it_is_the_smallest_in_units_of_the_columns():
    rng = np.random.default_rng(0)
    J = rng.standard_normal((20, 5)) * [1, 1e6, 1e-6, 1, 1]
    J[:, 3], J[:, 4] = 3 * J[:, 0], 0.0
    r = rng.standard_normal(20)
    norms = np.where(np.linalg.norm(J, axis=0) > 0, np.linalg.norm(J, axis=0), 1)
    expected = np.linalg.pinv(J / norms, rcond=1e-12) @ r / norms
    found = minimiser(triangle_of(np.c_[J, r]))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    assert found[4] == 0


def explicit_solution(config) -> np.ndarray:
    """The least-norm minimiser over all training examples, from outputs by one unit weight at a time."""
    task = building.build_task(config)
    net = building.build_net(config, task.spec)
    batch = task.decode(
        task.source("train").__getitems__([*range(config.train.max_steps * config.train.global_batch_size)])
    )
    batch = batch._replace(x=batch.x.double())
    counts = torch.ones(batch.y.shape[:2], dtype=torch.bool) if batch.y_mask is None else batch.y_mask
    columns = []
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        constant = net(batch)[counts].flatten()
        for parameter in net.parameters():
            for index in range(parameter.numel()):
                parameter.view(-1)[index] = 1.0
                columns.append(net(batch)[counts].flatten() - constant)
                parameter.view(-1)[index] = 0.0
    rows, target = torch.stack(columns, 1).numpy(), batch.y[counts].flatten().double() - constant
    return np.linalg.lstsq(rows, target.numpy(), rcond=1e-15)[0]


def weights(folder) -> np.ndarray:
    """Of the last step, in the order of the network's parameters."""
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return torch.cat([value.flatten() for name, value in state.items() if name.startswith("net.")]).numpy()


@pytest.mark.parametrize(
    "words",
    [
        (*LDS, *STU, "train.global_batch_size=2"),
        ("task=adding", *tiny("adding"), *EXACT, *PLAIN, *STU, "train.global_batch_size=8"),
        (*LDS, "model=tests.stackable:Steady"),
    ],
    ids=["stu", "targets that count", "a constant"],
)
def test_a_trial_ends_with_the_least_squares_over_its_examples(tmp_path, monkeypatch, words):
    monkeypatch.setattr(linear_model, "ROW_NUMBERS", 1)
    record = run(tmp_path, *words)
    assert record.status in (Status.OK, Status.CHANCE), record.message
    expected = explicit_solution(compose(words).config)
    np.testing.assert_allclose(weights(tmp_path), expected, rtol=1e-6, atol=1e-9 * abs(expected).max())


@pytest.mark.parametrize(("precision", "floor"), [("32-true", 1e-10), ("64-true", 1e-14)])
def test_the_error_falls_to_what_rounding_leaves(tmp_path, precision, floor):
    """Inputs and targets are stored in float32; Adam stops above 1e-5."""
    words = (
        *LDS,
        "model=stu",
        "task.seq_len=128",
        "train.max_steps=2",
        "train.global_batch_size=8",
        "train.val_every=1",
    )
    record = run(tmp_path, *words, "model.num_filters=24", f"train.precision={precision}")
    assert record.test["nmse"] < floor
    assert record.curve[0].val["nmse"] < 10 * floor


class Cut(Callback):
    """Ends training after a step."""

    def __init__(self, step: int, how: str) -> None:
        self.step, self.how = step, how

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            if self.how == "crash":
                raise RuntimeError("pulled the plug")
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("how", ["crash", "signal"])
def test_an_interrupted_trial_ends_as_if_nothing_had_happened(tmp_path, how):
    words = (*LDS, *STU, "train.max_steps=8", "train.val_every=2", "train.log_every=1")
    reference = run(tmp_path / "reference", *words)
    first = run(tmp_path / "cut", *words, observers=[Cut(5, how)])
    assert first.status is (Status.ERROR if how == "crash" else Status.PREEMPTED)
    second = run(tmp_path / "cut", *words)
    assert (tmp_path / "cut/history.jsonl").read_bytes() == (tmp_path / "reference/history.jsonl").read_bytes()
    assert (second.test, second.val, second.selection) == (reference.test, reference.val, reference.selection)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*LDS, "model=lru"), r"linear in the weights, as those of stu.* of LRU are not"),
        ((*LDS, *STU, "model.output=learned"), "of STU are not"),
        ((*LDS, "model=long_conv"), "of LongConv are not"),
        (("task=induction_heads", *tiny("induction_heads"), *EXACT, *STU), "a task whose targets are real numbers"),
    ],
)
def test_what_is_not_a_quadratic_is_an_error(tmp_path, words, message):
    record = run(tmp_path, *words)
    assert record.status is Status.ERROR
    assert record.message.startswith("ConfigError: optim.name=least_squares ")
    assert re.search(message, record.message), record.message


def test_too_many_weights_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(least_squares, "MOST_WEIGHTS", 80)
    assert "takes up to 80 weights, the model has 81" in run(tmp_path, *LDS, *STU).message


@pytest.mark.parametrize(
    "word",
    [
        "optim.weight_decay=0.1",
        "optim.schedule=cosine",
        "optim.warmup_steps=3",
        "optim.grad_clip=1.0",
        "train.devices=2",
        "train.accumulate=2",
        "train.strategy=ddp",
        "train.compile=true",
        "train.precision=bf16-mixed",
        "backbone.dropout=0.1",
    ],
)
def test_what_plays_no_part_in_it_may_not_be_set(word):
    with pytest.raises(ConfigError, match=rf"{word.partition('=')[0]} must be .* with optim\.name=least_squares, got"):
        compose([*LDS, *STU, "train.global_batch_size=2", word])


def test_it_trains_alone():
    assert "optim.name=least_squares" in refusal(compose([*LDS, *STU]).config)
