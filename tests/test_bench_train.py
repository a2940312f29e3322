"""`lra-bench bench train` on tiny sizes: what it says, not how fast things are."""

import json

import pytest
import torch

from lra_bench.benchmarks import training
from lra_bench.benchmarks.bare_loop import PHASES, BareLoop
from lra_bench.benchmarks.synthetic import POOL, Synthetic
from lra_bench.benchmarks.training import covered, turn_steps
from lra_bench.building import build_net, build_task
from lra_bench.config.compose import compose
from lra_bench.core.registry import TASKS
from lra_bench.core.specs import InputKind, OutputKind
from lra_bench.data.residence import CPU
from lra_bench.training.objectives import make_objective
from tests.conftest import TINY

QUICK = ("--seconds", "0.01", "train.log_every=2")


def test_it_writes_what_it_measured_and_compares_with_it(cli, folder, monkeypatch):
    monkeypatch.setattr(training, "TURN", 0.001)
    shown = cli("bench", "train", "lds", "lru", TINY[0], *QUICK, "--json", "now.json").output
    found = json.loads((folder / "now.json").read_text())
    (row,) = found["rows"]
    assert (found["kind"], row["task"], row["model"], row["data_from"]) == ("train", "lds", "lru", "generated")
    assert row["shape"] == "1 x 24 x 16, 1" or row["shape"] == "1 x 24 x 3, 1"
    assert row["examples"] == pytest.approx(1000 / row["step"])
    assert row["ratio"] == pytest.approx(row["step"] / row["bare"])
    assert sum(row[part] for part in (*PHASES, "rest")) == pytest.approx(100)
    assert all(row[phase] > 0 for phase in PHASES)
    assert row["idle"] is None
    assert row["turns"] >= 3
    assert all(len(line) <= 100 for line in shown.splitlines())
    assert "Now / then" in cli("bench", "train", "lds", "lru", TINY[0], *QUICK, "--compare", "now.json").output
    assert not (folder / "runs").exists()


def test_missing_data_name_the_command_and_the_stand_in(cli):
    words = ("bench", "train", "image", "s4d", "backbone.depth=1", "backbone.d_model=4", "train.global_batch_size=2")
    said = cli(*words, *QUICK, expect=2).output
    assert "lra-bench data prepare image" in said
    assert "--synthetic" in said
    assert "synthetic" in cli(*words, *QUICK, "--synthetic").output


@pytest.mark.parametrize("words", [("lds",), ("lds", "stu", "more")])
def test_a_task_needs_a_model(cli, words):
    assert "name a task and a model" in cli("bench", "train", *words, expect=2).output


def test_several_devices_are_not_measured(cli):
    assert (
        "one device"
        in cli(
            "bench",
            "train",
            "lds",
            "lru",
            "train.accumulate=1",
            "train.devices=1",
            "train.accumulate=2",
            "train.global_batch_size=2",
            expect=2,
        ).output
    )


def test_a_failing_model_is_said(cli):
    said = cli("bench", "train", "lds", "tests.strangers:Raises", TINY[0], *QUICK, expect=2).output
    assert "the stranger's own mistake" in said


@pytest.mark.parametrize("name", sorted(TASKS.entries()))
def test_synthetic_batches_have_the_shape_of_the_task(name):
    config = compose([f"task={name}", "model=lru"]).config
    task = Synthetic(build_task(config))
    spec, batch = task.spec, task.source("train").__getitems__([0, POOL - 1])
    tokens = spec.input is InputKind.TOKENS
    assert batch.x.shape == ((2, spec.seq_len) if tokens else (2, spec.seq_len, spec.input_size))
    assert batch.x.dtype == (torch.int64 if tokens else torch.float32)
    assert (batch.x2 is not None) == (spec.output is OutputKind.CLASSIFY_PAIR)
    assert (batch.group is not None) == bool(spec.groups)
    if tokens:
        assert batch.x.max() < spec.input_size
        assert spec.pad_id is None or bool((batch.x != spec.pad_id).all())
    short = batch._replace(x=batch.x[:, :9], x2=None if batch.x2 is None else batch.x2[:, :9])
    if spec.output.per_step:
        short = short._replace(y=batch.y[:, :9])
    loss = make_objective(spec).loss(build_net(config, spec)(short), short)
    assert loss.isfinite()


def test_the_bare_loop_learns():
    config = compose(["task=lds", "model=stu", "optim.lr=0.05", "data_seed=0", *TINY]).config
    task = build_task(config)
    loop = BareLoop(config, task, CPU)
    before = [parameter.detach().clone() for parameter in loop.net.parameters()]
    turn = loop.turn(3)
    assert len(turn.spent) == len(PHASES)
    assert sum(turn.spent) <= turn.seconds
    assert any(not torch.equal(old, new) for old, new in zip(before, loop.net.parameters(), strict=True))


def test_turns_are_whole_periods_of_logging_where_steps_are_short():
    assert turn_steps(10.0, 50) == 1
    assert turn_steps(0.01, 50) == 10
    assert turn_steps(0.001, 40) == 120


def test_time_in_which_a_device_works_counts_once():
    assert covered([(3.0, 4.0), (0.0, 1.0), (0.5, 2.0), (3.2, 3.4)]) == pytest.approx(3.0)
    assert covered([]) == 0
