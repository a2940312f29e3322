"""Trials in this process: outcomes, selection, exact resumption."""

import json
import os
import signal

import pytest
import torch

from lra_bench import building, experiment
from lra_bench.config.compose import compose
from lra_bench.core.record import RunRecord, Status
from lra_bench.training.guard import Guard
from lra_bench.training.history import read_history, thinned
from tests.conftest import TINY

RAMP = ["task=lds", "model=tests.strangers:Ramp", *TINY]


def run(folder, *words: str) -> RunRecord:
    return experiment.run(compose([*RAMP, *words]).config, folder)


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_a_trial_leaves_a_complete_record(tmp_path):
    record = run(tmp_path, "optim.lr=0.05", "train.max_steps=12", "seed=2")
    assert record == RunRecord.read(tmp_path / "record.json")
    assert record.status is Status.OK
    assert record.model.parameters == 12
    assert record.model.origin == "local file"
    assert (record.seed, record.data_seed, record.track, record.protocol) == (2, 2, "uniform", "clean")
    assert (record.budget.steps, record.budget.examples) == (12, 12)
    assert record.budget.seconds > 0
    assert record.budget.peak_memory_mb > 0
    assert record.learning_rates == {"main": 0.05}
    assert record.task.baselines["zero_predictor"]["nmse"] == pytest.approx(1, abs=0.1)
    assert record.environment.device == "cpu"
    assert {"torch", "lightning", "lra-bench"} <= set(record.environment.packages)
    assert record.config["optim"]["lr"] == 0.05


def test_the_best_validation_step_is_selected_and_tested(tmp_path):
    record = run(tmp_path, "optim.lr=0.3", "train.max_steps=30")
    validations = {point["step"]: point["val"]["nmse"] for point in lines(tmp_path) if "val" in point}
    assert list(validations) == list(range(3, 31, 3))
    assert record.val["nmse"] == min(validations.values())
    assert record.selection.step == min(validations, key=validations.get)
    weights = torch.load(tmp_path / "checkpoints" / f"best-{record.selection.step}.ckpt", weights_only=True)
    config = compose([*RAMP, "optim.lr=0.3", "train.max_steps=30"]).config
    task = building.build_task(config)
    net = building.build_net(config, task.spec)
    net.load_state_dict({name.removeprefix("net."): value for name, value in weights.items() if name[:4] == "net."})
    (batch,) = task.eval_loader("test")
    assert record.test["mse"] == pytest.approx(((net.eval()(batch) - batch.y) ** 2).mean().item(), rel=1e-5)


def test_the_progress_bar_counts_steps_and_shows_the_last_validation(tmp_path, capsys):
    config = compose([*RAMP, "optim.lr=0.05"]).config
    record = experiment.run(config, tmp_path, show_progress=True)
    shown = capsys.readouterr().err
    assert "6/6 steps" in shown
    assert f"val nmse {record.curve[-1].val['nmse']:.4g}" in shown


def test_same_seed_same_curve_and_another_seed_another(tmp_path):
    records = [run(tmp_path / name, f"seed={seed}", "data_seed=0") for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert records[0].curve == records[1].curve
    assert records[0].test == records[1].test
    assert records[0].curve != records[2].curve


@pytest.fixture
def interrupt(monkeypatch):
    """Makes training stop after a step, by an exception or by a signal."""

    def at(step: int, how: str) -> None:
        original = Guard.on_train_batch_end

        def patched(self, trainer, *rest):
            original(self, trainer, *rest)
            if trainer.global_step == step:
                if how == "crash":
                    raise RuntimeError("pulled the plug")
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(Guard, "on_train_batch_end", patched)

    yield at
    monkeypatch.undo()


CYCLE = (
    "optim.lr=0.05",
    "optim.schedule=cosine",
    "optim.warmup_steps=5",
    "train.max_steps=20",
    "train.log_every=3",
    "train.val_every=4",
)


@pytest.mark.parametrize(("step", "how"), [(3, "crash"), (8, "crash"), (10, "crash"), (8, "signal"), (10, "signal")])
def test_an_interrupted_trial_ends_as_if_nothing_had_happened(tmp_path, interrupt, monkeypatch, step, how):
    reference = run(tmp_path / "reference", *CYCLE)
    interrupt(step, how)
    first = run(tmp_path / "cut", *CYCLE)
    assert first.status is (Status.ERROR if how == "crash" else Status.PREEMPTED)
    assert first.budget.steps == step
    monkeypatch.undo()
    second = run(tmp_path / "cut", *CYCLE)
    assert second.status is reference.status is Status.OK
    assert (tmp_path / "cut/history.jsonl").read_bytes() == (tmp_path / "reference/history.jsonl").read_bytes()
    assert (second.test, second.val, second.selection) == (reference.test, reference.val, reference.selection)
    assert second.budget.seconds > 0


def test_a_signal_to_stop_leaves_the_handlers_as_they_were(tmp_path, interrupt):
    before = signal.getsignal(signal.SIGTERM)
    interrupt(2, "signal")
    assert "SIGTERM at step 2" in run(tmp_path).message
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_half_written_history_line_is_cut_off(tmp_path, interrupt, monkeypatch):
    reference = run(tmp_path / "reference", *CYCLE)
    interrupt(10, "crash")
    run(tmp_path / "cut", *CYCLE)
    with (tmp_path / "cut/history.jsonl").open("a") as file:
        file.write('{"step": 11, "tra')
    monkeypatch.undo()
    assert run(tmp_path / "cut", *CYCLE).curve == reference.curve


def test_checkpoints_hold_plain_types_only(tmp_path):
    run(tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names[-1] == "last.ckpt"
    assert len(names) == 2
    for path in (tmp_path / "checkpoints").iterdir():
        torch.load(path, weights_only=True)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_rate_beyond_reason_is_diverged_with_its_step(tmp_path, name):
    record = run(tmp_path, "optim.lr=1e6", f"optim.name={name}", "train.max_steps=50", "train.val_every=25")
    assert record.status is Status.DIVERGED
    assert 2 <= record.failed_step <= 50
    assert str(record.failed_step) in record.message
    assert record.test == {}
    curve = [point.train_loss for point in record.curve if not point.val]
    assert curve[-1] is None or curve[-1] > 1e9


def test_a_divergence_that_nobody_had_looked_at_outlasts_an_interruption(tmp_path, interrupt, monkeypatch):
    words = ("optim.lr=1e6", "train.max_steps=30", "train.log_every=20", "train.val_every=30")
    step = run(tmp_path / "reference", *words).failed_step
    assert step < 15
    interrupt(step, "signal")
    assert run(tmp_path / "cut", *words).status is Status.PREEMPTED
    monkeypatch.undo()
    second = run(tmp_path / "cut", *words)
    assert (second.status, second.failed_step) == (Status.DIVERGED, step)


def test_divergence_in_the_last_steps_is_seen(tmp_path):
    record = run(tmp_path, "optim.lr=1e30", "train.max_steps=3", "train.log_every=100")
    assert record.status is Status.DIVERGED


def test_learning_nothing_is_chance(tmp_path):
    record = run(tmp_path, "model=tests.strangers:Stuck")
    assert record.status is Status.CHANCE
    assert record.test["nmse"] == pytest.approx(1, abs=0.1)


def test_learning_nothing_can_end_a_trial_early(tmp_path):
    record = run(tmp_path, "model=tests.strangers:Stuck", "train.chance_steps=4", "train.max_steps=100")
    assert record.status is Status.CHANCE
    assert record.budget.steps == 4
    assert "by step 4" in record.message


def test_a_time_limit_is_a_timeout_that_can_be_continued(tmp_path):
    slow = ("optim.lr=0.05", "model.pause=0.05", "train.max_steps=40", "train.val_every=2")
    record = run(tmp_path, "train.time_limit=0.5", *slow)
    assert record.status is Status.TIMEOUT
    assert 0 < record.budget.steps < 40
    assert record.test
    longer = run(tmp_path, "train.time_limit=60", *slow)
    assert longer.status is Status.OK
    assert longer.budget.seconds > record.budget.seconds


@pytest.mark.parametrize(
    ("model", "status", "message"),
    [
        ("Raises", Status.ERROR, "ValueError: the stranger's own mistake"),
        ("NeedsMemory", Status.OOM, "OutOfMemoryError: tried to allocate too much"),
        ("BadHint", Status.ERROR, "matches no parameter"),
        ("Quits", Status.ERROR, "SystemExit: 7"),
    ],
)
def test_a_failing_model_is_a_record(tmp_path, model, status, message):
    record = run(tmp_path, f"model=tests.strangers:{model}")
    assert record.status is status
    assert message in record.message
    assert "\n" not in record.message
    assert record.test == {}


def test_precision_64_trains_in_float64(tmp_path):
    for precision, is_double in (("32-true", False), ("64-true", True)):
        record = run(tmp_path / precision, f"train.precision={precision}", "train.log_every=1")
        losses = torch.tensor([p.train_loss for p in record.curve if not p.val], dtype=torch.float64)
        assert bool((losses.float().double() != losses).any()) == is_double


def test_precision_64_has_filters_in_float64(tmp_path):
    config = compose(["task=lds", "model=stu", "train.precision=64-true", *TINY]).config
    net = building.build_net(config, building.build_task(config).spec)
    assert {tensor.dtype for tensor in net.state_dict().values()} == {torch.float64}
    bank = dict(net.named_buffers())["blocks.0.mixer.bank"]
    assert bank.dtype == torch.float64
    assert not torch.equal(bank, bank.float().double())
    assert torch.get_default_dtype() == torch.float32


def test_bf16_trains(tmp_path):
    assert run(tmp_path, "train.precision=bf16-mixed", "optim.lr=0.05").status is Status.OK


def test_micro_batches_train_the_same_network(tmp_path):
    words = ("model=lru", "train.global_batch_size=6", "train.precision=64-true", "optim.grad_clip=0.01")
    whole, parts = (run(tmp_path / n, *words, f"train.accumulate={n}") for n in ("1", "3"))
    assert whole.trial_id == parts.trial_id
    assert parts.val == pytest.approx(whole.val, rel=1e-12)
    curves = [[p.train_loss for p in record.curve if not p.val] for record in (whole, parts)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-12)


def test_gradients_are_clipped(tmp_path):
    plain = run(tmp_path / "plain", "optim.name=sgd", "optim.lr=0.001")
    clipped = run(tmp_path / "clipped", "optim.name=sgd", "optim.lr=0.001", "optim.grad_clip=1e-6")
    first, last = (point.val["mse"] for point in clipped.curve if point.val)
    assert last == pytest.approx(first, rel=1e-4)
    assert plain.val["mse"] < clipped.val["mse"]


def test_long_curves_are_thinned_but_keep_every_validation(tmp_path):
    run(tmp_path, "train.max_steps=60", "train.log_every=1", "train.val_every=20")
    points = read_history(tmp_path / "history.jsonl")
    few = thinned(points, most=10)
    assert [p for p in few if p.val] == [p for p in points if p.val]
    assert len([p for p in few if not p.val]) <= 10
    assert few[-2].step == 60
