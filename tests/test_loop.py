"""The training loop beside a plain one, and what it may not do at every step."""

import logging
from collections import Counter

import pytest
import torch
from lightning import Callback

from lra_bench import building, experiment
from lra_bench.config.compose import compose
from lra_bench.core.batch import Batch
from lra_bench.core.record import RunRecord, Status
from lra_bench.data import residence
from lra_bench.data.prepared import Order
from lra_bench.data.residence import CPU
from lra_bench.training.objectives import make_objective
from lra_bench.training.optimizers import lr_factor, make_optimizer, parameter_groups
from tests.conftest import TINY

WORDS = ("task=lds", "model=lru", "optim.lr=0.01", *TINY)
CYCLE = ("optim.schedule=cosine", "optim.warmup_steps=3", "optim.grad_clip=0.05", "train.log_every=1")


def run(folder, *words: str, observers=()) -> RunRecord:
    return experiment.run(compose([*WORDS, *words]).config, folder, observers=observers)


def losses(record: RunRecord) -> list[float]:
    return [point.train_loss for point in record.curve if not point.val]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_it_takes_the_steps_of_a_plain_loop_to_the_bit(tmp_path, name):
    words = (*CYCLE, f"optim.name={name}", "optim.weight_decay=0.1", "train.max_steps=12")
    config = compose([*WORDS, *words]).config
    task = building.build_task(config)
    net = building.build_net(config, task.spec)
    groups = parameter_groups(net, net.mixers, config.optim, allow_absolute=False)
    optimizer, factor = make_optimizer(groups, config.optim), lr_factor(config.optim, 12)
    objective, expected = make_objective(task.spec), []
    for step in range(12):
        batch = task.source("train").__getitems__([step])
        optimizer.zero_grad()
        loss = objective.loss(net(batch), batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for group in groups for p in group.parameters.values()], 0.05)
        for group, peak in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = peak.lr * factor(step)
        optimizer.step()
        expected.append(loss.item())
    assert losses(run(tmp_path, *words)) == expected


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_optimizers_are_those_of_the_textbook(name):
    config = compose([*WORDS, f"optim.name={name}", "optim.weight_decay=0.1"]).config
    task = building.build_task(config)
    nets = [building.build_net(config, task.spec) for _ in range(2)]
    for net in nets:
        groups = parameter_groups(net, net.mixers, config.optim, allow_absolute=False)
        optimizer = make_optimizer(groups, config.optim)
        assert optimizer.defaults["fused"]
        if net is nets[1]:
            for group in optimizer.param_groups:
                group["fused"] = group["foreach"] = False
        for step in range(5):
            for index, parameter in enumerate(net.parameters()):
                draw = torch.Generator().manual_seed(100 * step + index)
                parameter.grad = torch.randn(parameter.shape, generator=draw)
            optimizer.step()
    for fused, plain in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-7)


class Waits(Callback):
    """Counts by step what would make a training process wait for its device."""

    ASKING = ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__")

    def __init__(self, monkeypatch) -> None:
        self.step: int | None = None
        self.found: Counter[tuple[int, str]] = Counter()
        for name in self.ASKING:
            monkeypatch.setattr(torch.Tensor, name, self._counting(name, getattr(torch.Tensor, name)))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.step = trainer.global_step + 1

    def on_train_end(self, trainer, pl_module) -> None:
        self.step = None

    def _counting(self, name, original):
        def asked(tensor, *arguments, **options):
            if self.step is not None:
                self.found[self.step, name] += 1
            return original(tensor, *arguments, **options)

        return asked


@pytest.mark.parametrize("model", ["lru", "stu"])
def test_nobody_waits_for_the_device_between_two_points_of_the_curve(tmp_path, monkeypatch, model):
    waits = Waits(monkeypatch)
    words = (*CYCLE, f"model={model}", "train.log_every=10", "train.max_steps=40", "train.val_every=40")
    assert run(tmp_path, *words, observers=[waits]).status in (Status.OK, Status.CHANCE)
    assert {step for step, _ in waits.found} == {10, 20, 30, 40}


def test_callbacks_see_every_step_and_its_loss(tmp_path):
    seen = []

    class Witness(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            group = trainer.optimizers[0].param_groups[0]
            rate = group["lr"] / group["initial_lr"]
            seen.append((trainer.global_step, batch_idx, rate, outputs["loss"].item(), outputs["loss"].requires_grad))

    record = run(tmp_path, *CYCLE, observers=[Witness()])
    assert [step for step, *_ in seen] == [1, 2, 3, 4, 5, 6]
    assert [index for _, index, *_ in seen] == [0, 1, 2, 3, 4, 5]
    assert [loss for *_, loss, _ in seen] == losses(record)
    assert not any(attached for *_, attached in seen)
    factor = lr_factor(compose([*WORDS, *CYCLE]).config.optim, 6)
    assert [rate for _, _, rate, *_ in seen] == pytest.approx([factor(step) for step in range(1, 7)])


def test_where_compiling_fails_training_goes_on_and_says_so(tmp_path, monkeypatch, caplog):
    def compile_nothing(net):
        def call(batch):
            raise RuntimeError("no C++ compiler\nanywhere")

        return call

    plain = run(tmp_path / "plain")
    monkeypatch.setattr(torch, "compile", compile_nothing)
    with caplog.at_level(logging.WARNING):
        record = run(tmp_path / "compiled", "train.compile=true")
    assert record.status is plain.status
    assert (losses(record), record.test) == (losses(plain), plain.test)
    assert record.model.backend.endswith("; not compiled: RuntimeError: no C++ compiler anywhere")
    assert plain.model.backend == record.model.backend.partition("; not")[0]
    assert [r.message for r in caplog.records if "torch.compile" in r.message] == [
        "going on without torch.compile: RuntimeError: no C++ compiler anywhere"
    ]


def test_a_mistake_of_the_model_is_not_the_compilers(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda net: net)
    record = run(tmp_path, "model=tests.strangers:Raises", "train.compile=true")
    assert record.status is Status.ERROR
    assert "ValueError: the stranger's own mistake" in record.message
    assert "not compiled" not in record.model.backend


def test_data_on_the_device_is_the_same_trial_with_the_same_history(tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "store"))
    words = ("task=tests.toy_prepared:Toy", "task.size=tiny", "model=lru", *TINY[3:], "train.global_batch_size=4")
    configs = {where: compose([*words, f"train.data_on_device={where}"]).config for where in ("true", "false", "auto")}
    building.build_task(configs["auto"]).prepare(Order())
    records = [experiment.run(config, tmp_path / where) for where, config in configs.items()]
    assert len({record.trial_id for record in records}) == 1
    assert records[0].status in (Status.OK, Status.CHANCE)
    assert records[0].curve == records[1].curve == records[2].curve
    assert records[0].test == records[1].test == records[2].test


def test_arrays_go_to_the_device_where_they_take_a_quarter_of_what_is_free(monkeypatch):
    gpu = torch.device("cuda")
    monkeypatch.setattr(residence, "free_memory", lambda device: 1000)
    assert [residence.belongs_on(gpu, size, "auto") for size in (1, 250, 251)] == [True, True, False]
    assert [residence.belongs_on(gpu, 10**9, wanted) for wanted in (True, False)] == [True, False]
    assert [residence.belongs_on(CPU, 1, wanted) for wanted in ("auto", True, False)] == [False, True, False]
    assert not any(residence.belongs_on(gpu, 0, wanted) for wanted in ("auto", True, False))


def test_a_batch_that_is_there_is_not_copied():
    batch = Batch(torch.ones(2, 3), torch.ones(2))
    there = residence.batch_on(batch, CPU)
    assert there.x is batch.x
    assert there.mask is None
