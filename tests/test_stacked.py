"""Several trials as one program: each as if it had run alone."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from lra_bench import experiment
from lra_bench.config.compose import compose
from lra_bench.core.record import RunRecord, Status
from lra_bench.stacked.checkpoints import saved_step
from lra_bench.stacked.eligibility import refusal, stack_key
from lra_bench.stacked.program import Program, StackFailedError, StackTooLargeError, run_stack
from lra_bench.stacked.seats import Member
from tests.conftest import TINY, tiny

EXACT = "train.precision=64-true"
TIED = ("backbone.causal=false", "backbone.directions=tied")
CYCLE = (
    EXACT,
    "model=lru",
    *TIED,
    "optim.schedule=cosine",
    "optim.warmup_steps=5",
    "train.max_steps=20",
    "train.log_every=3",
    "train.val_every=4",
)
CELLS = (("optim.lr=0.003", "seed=0"), ("optim.lr=0.01", "seed=1"), ("optim.lr=0.03", "seed=0"))


def members(folder: Path, *words: str, cells=CELLS, task=("task=lds", *TINY)) -> list[Member]:
    found = [Member(compose([*task, *words, *cell]).config, folder / str(number)) for number, cell in enumerate(cells)]
    assert len({stack_key(member.config) for member in found}) == 1
    return found


def stacked(folder: Path, *words: str, **how) -> list[RunRecord]:
    """What a stack of the cells gives."""
    ours = members(folder, *words, **how)
    run_stack(ours)
    return [RunRecord.read(member.folder / "record.json") for member in ours]


def alone(folder: Path, *words: str, **how) -> list[RunRecord]:
    """What each of the cells gives in a run of its own."""
    return [experiment.run(member.config, member.folder) for member in members(folder, *words, **how)]


def numbers(folder: Path) -> dict[str, float]:
    """Every number of a trial's history, and those of its record that do not depend on time."""
    record = json.loads((folder / "record.json").read_text())
    names = ("val", "test", "learning_rates", "selection", "failed_step")
    found = {name: record[name] for name in names}
    for number, line in enumerate((folder / "history.jsonl").read_text().splitlines()):
        found[f"line {number}"] = json.loads(line)
    return dict(_flat("", found))


def _flat(name: str, value):
    if isinstance(value, dict):
        for key in value:
            yield from _flat(f"{name}/{key}", value[key])
    elif isinstance(value, float | int):
        yield name, value


def what_it_says(record: RunRecord) -> dict:
    """All of a record but measured numbers."""
    left_out = {"val": ..., "test": ..., "curve": ..., "digest": ..., "engine": ..., "environment": ...}
    content = record.model_dump(mode="json", exclude=left_out)
    return content | {"budget": {key: content["budget"][key] for key in ("steps", "examples")}}


def compared(folder: Path, *words: str, rel: float = 1e-12, **how) -> list[RunRecord]:
    """Run the cells both ways, see that they agree, and return the records of the stack."""
    together = stacked(folder / "stacked", *words, **how)
    for number, (one, other) in enumerate(zip(together, alone(folder / "alone", *words, **how), strict=True)):
        assert what_it_says(one) == what_it_says(other)
        pair = [numbers(folder / way / str(number)) for way in ("stacked", "alone")]
        assert pair[0] == pytest.approx(pair[1], rel=rel)
        assert list(pair[0]) == list(pair[1])
    return together


@pytest.mark.parametrize("model", ["stu", "lru", "s4d"])
def test_a_stacked_trial_is_the_trial_alone(tmp_path, model):
    compared(tmp_path, f"model={model}", EXACT)


def test_a_weight_may_have_two_names(tmp_path):
    compared(tmp_path, "model=lru", EXACT, *TIED)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    ["stu_ar", "s5", "mamba", "stu_released", "stu_t", "stu_t_released", "s4", "dss", "long_conv", "linear_attention"],
)
def test_other_models_too(tmp_path, model):
    compared(tmp_path, f"model={model}", EXACT)


def test_in_float32_they_agree_to_rounding(tmp_path):
    compared(tmp_path, "model=stu", "optim.lr=0.01", rel=1e-5)


def test_members_may_share_their_data(tmp_path):
    records = compared(tmp_path, "model=lru", EXACT, "data_seed=0")
    assert len({record.task.fingerprint for record in records}) == 1


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_all_numbers_of_an_optimizer_may_differ(tmp_path, name):
    cells = (
        ("optim.lr=0.003", "optim.weight_decay=0.1", "optim.grad_clip=0.5", "optim.lr_floor=1e-4"),
        ("optim.lr=0.001", "optim.beta1=0.5", "optim.beta2=0.9", "optim.grad_clip=100", "optim.warmup_steps=4"),
        ("optim.lr=0.002", "optim.weight_decay=0.01", "optim.grad_clip=0.01", "optim.schedule=cosine"),
    )
    records = compared(tmp_path, "model=lru", EXACT, f"optim.name={name}", cells=cells)
    assert records[0].learning_rates["main"] == 0.003


@pytest.mark.parametrize(("task", "model"), [("induction_heads", "lru"), ("adding", "s5")])
def test_other_kinds_of_tasks(tmp_path, task, model):
    """Tokens, masks, groups and lengths that differ from batch to batch."""
    small = (f"task={task}", f"model={model}", "train.global_batch_size=3", "train.threads=1", "train.accelerator=cpu")
    for words in (("data_seed=0",), ("backbone.depth=1", "backbone.d_model=8")):
        folder = tmp_path / words[0]
        cells = (("optim.lr=0.01", "seed=0"), ("optim.lr=0.003", "seed=1"))
        if words != ("data_seed=0",):
            cells = tuple((*cell, f"data_seed={number}") for number, cell in enumerate(cells))
        how = {"cells": cells, "task": (*small, "backbone.depth=1", "backbone.d_model=8", *tiny(task))}
        compared(folder, EXACT, *words, rel=1e-9, **how)


def test_a_member_that_diverges_disturbs_nobody(tmp_path):
    words = ("train.max_steps=30", "train.log_every=2", "train.val_every=10", "model=lru", EXACT)
    cells = (*CELLS, ("optim.lr=1e30", "seed=0"), ("optim.lr=1e6", "seed=1"))
    records = compared(tmp_path, *words, cells=cells)
    assert [record.status for record in records[3:]] == [Status.DIVERGED] * 2
    without = stacked(tmp_path / "without", *words)
    for number, record in enumerate(without):
        assert numbers(tmp_path / "without" / str(number)) == pytest.approx(
            numbers(tmp_path / "stacked" / str(number)), rel=1e-12
        )
        assert record.status.finished


def test_each_record_says_how_it_was_trained(tmp_path):
    records = stacked(tmp_path, "model=lru", "train.max_steps=3")
    assert [(record.engine.name, record.engine.members) for record in records] == [("stacked", 3)] * 3
    assert json.loads((tmp_path / "0/record.json").read_text())["engine"] == {"name": "stacked", "members": 3}
    assert all(record.budget.seconds > 0 and record.budget.peak_memory_mb > 0 for record in records)
    (single, *_) = alone(tmp_path / "alone", "model=lru", "train.max_steps=3")
    assert (single.engine.name, single.engine.members) == ("alone", 1)
    assert "engine" not in json.loads((tmp_path / "alone/0/record.json").read_text())


@pytest.fixture
def stop_at(monkeypatch):
    """Makes the program stop after a step: by a signal, or by an error."""

    def at(step: int, how: str) -> None:
        original = Program._train_step

        def patched(self):
            values = original(self)
            if self.step + 1 == step:
                if how == "crash":
                    raise RuntimeError("pulled the plug")
                os.kill(os.getpid(), signal.SIGTERM)
            return values

        monkeypatch.setattr(Program, "_train_step", patched)

    yield at
    monkeypatch.undo()


@pytest.mark.parametrize(("step", "how"), [(10, "signal"), (11, "crash")])
@pytest.mark.parametrize("then", ["together", "alone"])
def test_interrupted_members_go_on_together_or_alone(tmp_path, stop_at, monkeypatch, step, how, then):
    alone(tmp_path / "reference", *CYCLE)
    stop_at(step, how)
    before = signal.getsignal(signal.SIGTERM)
    if how == "crash":
        with pytest.raises(StackFailedError, match=r"3 trials cannot be one program .*pulled the plug"):
            stacked(tmp_path / "cut", *CYCLE)
        assert not (tmp_path / "cut/0/record.json").exists()
    else:
        for record in stacked(tmp_path / "cut", *CYCLE):
            assert (record.status, record.message) == (Status.PREEMPTED, f"stopped by SIGTERM at step {step}")
    assert signal.getsignal(signal.SIGTERM) is before
    assert {saved_step(tmp_path / "cut" / str(number)) for number in range(3)} == {8 if how == "crash" else step}
    monkeypatch.undo()
    for record in (stacked if then == "together" else alone)(tmp_path / "cut", *CYCLE):
        assert record.status is not Status.PREEMPTED
    for number in range(3):
        ended, reference = numbers(tmp_path / "cut" / str(number)), numbers(tmp_path / "reference" / str(number))
        assert ended == pytest.approx(reference, rel=1e-10)


def test_the_same_stack_goes_on_to_the_bit(tmp_path, stop_at, monkeypatch):
    stacked(tmp_path / "reference", *CYCLE)
    stop_at(10, "signal")
    stacked(tmp_path / "cut", *CYCLE)
    monkeypatch.undo()
    stacked(tmp_path / "cut", *CYCLE)
    for number in range(3):
        assert numbers(tmp_path / "cut" / str(number)) == numbers(tmp_path / "reference" / str(number))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_trials_that_began_alone_go_on_together(tmp_path, monkeypatch, name):
    from lra_bench.training.guard import Guard

    words = (*CYCLE, f"optim.name={name}")
    alone(tmp_path / "reference", *words)
    original = Guard.on_train_batch_end

    def interrupted(self, trainer, *rest):
        original(self, trainer, *rest)
        if trainer.global_step == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Guard, "on_train_batch_end", interrupted)
    assert {record.status for record in alone(tmp_path / "cut", *words)} == {Status.PREEMPTED}
    monkeypatch.undo()
    stacked(tmp_path / "cut", *words)
    for number in range(3):
        ended, reference = numbers(tmp_path / "cut" / str(number)), numbers(tmp_path / "reference" / str(number))
        assert ended == pytest.approx(reference, rel=1e-10)


def test_the_files_of_a_member_are_those_of_a_trial_alone(tmp_path):
    words = ("model=stu", "optim.schedule=cosine")
    stacked(tmp_path / "stacked", *words)
    alone(tmp_path / "alone", *words)
    for number in range(len(CELLS)):
        names = [
            sorted(path.name for path in (tmp_path / way / str(number)).rglob("*")) for way in ("stacked", "alone")
        ]
        assert names[0] == names[1]
        ours, theirs = (
            torch.load(tmp_path / way / str(number) / "checkpoints/last.ckpt", weights_only=True)
            for way in ("stacked", "alone")
        )
        assert ours["lr_schedulers"] == theirs["lr_schedulers"]
        assert ours["optimizer_states"][0]["param_groups"] == theirs["optimizer_states"][0]["param_groups"]
        assert torch.equal(ours["rng"][0]["cpu"], theirs["rng"][0]["cpu"])
        assert ours["callbacks"].keys() == theirs["callbacks"].keys()
        for name, state in ours["callbacks"].items():
            assert state.keys() == theirs["callbacks"][name].keys()
        for name, progress in ours["loops"]["fit_loop"].items():
            if name != "epoch_loop.state_dict":
                assert progress == theirs["loops"]["fit_loop"][name]


def test_weights_and_data_are_equal_to_the_bit(tmp_path):
    """In float32: the first loss differs by rounding alone, as networks and examples are the same."""
    from lra_bench.building import build_net, build_task
    from lra_bench.stacked.network import StackedNet
    from lra_bench.stacked.streams import Streams

    ours = members(tmp_path, "model=lru")
    streams = Streams(torch.device("cpu"))
    nets = [build_net(member.config, streams.of(member.config).task.spec) for member in ours]
    stack = StackedNet(nets, torch.device("cpu"))
    for number, member in enumerate(ours):
        net = build_net(member.config, build_task(member.config).spec)
        weights = stack.weights(number)
        assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())
        theirs = next(iter(build_task(member.config).train_loader(5)))
        assert torch.equal(next(streams.of(member.config).training(5)).x, theirs.x)


def test_learning_nothing_and_time_end_one_member_alone(tmp_path):
    cells = (("model.pause=0", "optim.lr=0.05"), ("model.pause=0", "optim.lr=0.1"))
    records = stacked(tmp_path, "model=tests.strangers:Stuck", "train.chance_steps=4", cells=cells)
    assert [(record.status, record.budget.steps) for record in records] == [(Status.CHANCE, 4)] * 2
    (record, *_) = stacked(tmp_path / "late", "model=lru", "train.time_limit=0.0001", "train.max_steps=400")
    assert record.status is Status.TIMEOUT


def test_a_member_that_cannot_be_built_is_a_record_of_its_own(tmp_path, monkeypatch):
    from lra_bench.stacked import seats

    original = seats.build_net

    def build(config, spec):
        if config.seed == 1:
            raise ValueError("only this one")
        return original(config, spec)

    monkeypatch.setattr(seats, "build_net", build)
    records = stacked(tmp_path, "model=lru", EXACT)
    assert [record.status is Status.ERROR for record in records] == [False, True, False]
    assert records[1].message == "ValueError: only this one"


def test_no_memory_for_all_is_an_error_of_its_own(tmp_path, monkeypatch):
    def fail(self):
        raise torch.OutOfMemoryError("tried to allocate too much")

    monkeypatch.setattr(Program, "_train_step", fail)
    with pytest.raises(StackTooLargeError, match="3 trials in one program need more memory than there is"):
        stacked(tmp_path, "model=lru")
    assert not list(tmp_path.glob("*/record.json"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("model=lru",), None),
        (("model=stu",), None),
        (("model=lstm",), "torch.vmap cannot compute it"),
        (("model=transformer",), "one trial at a time"),
        (("model=tests.strangers:Ramp",), "called random operation"),
        (("model=tests.strangers:Raises",), "the stranger's own mistake"),
        (("model=lru", "backbone.dropout=0.1"), "dropout"),
        (("model=lru", "backbone.norm=batch"), "batch normalisation"),
        (("model=lru", "train.precision=bf16-mixed"), "mixed precision"),
        (("model=lru", "train.compile=true"), "compiled"),
        (("model=lru", "train.accumulate=2", "train.global_batch_size=2"), "splits its batches"),
        (("model=lru", "train.devices=2", "train.global_batch_size=2"), "several devices"),
        (("model=lru", "tracking.wandb=offline"), "W&B"),
    ],
)
def test_what_cannot_be_stacked_says_why(words, reason):
    found = refusal(compose(["task=lds", *TINY, *words]).config)
    assert found is None if reason is None else reason in found


def test_only_numbers_may_differ():
    def key(*words: str) -> str:
        return stack_key(compose(["task=lds", "model=lru", *words]).config)

    same = ("optim.lr=1", "optim.weight_decay=0.1", "optim.beta1=0.5", "seed=3", "study=other", "optim.lr_floor=0.1")
    for words in same:
        assert key(words) == key()
    for words in ("train.max_steps=7", "model.d_state=3", "optim.name=sgd", "optim.grad_clip=1", "task.seq_len=99"):
        assert key(words) != key()
    assert key("optim.grad_clip=1") == key("optim.grad_clip=2")
