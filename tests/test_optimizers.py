import pytest
import torch
from torch import nn

from lra_bench.core.errors import ConfigError
from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.settings import OptimConfig
from lra_bench.core.specs import MixerContext, OptimHint
from lra_bench.training.optimizers import lr_factor, make_optimizer, parameter_groups


class Hinted(SequenceMixer):
    hints: dict[str, OptimHint]

    def __init__(self, hints):
        super().__init__(MixerConfig(), MixerContext(2, 2, 8))
        self.hints = hints
        self.a, self.b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))

    def forward(self, x, mask=None):
        return x

    def state_size(self, seq_len):
        return 1

    def optim_hints(self):
        return self.hints


def groups_of(hints, allow_absolute=False, **optim):
    mixer = Hinted(hints)
    net = nn.ModuleDict({"mixer": mixer, "head": nn.Linear(2, 1)})
    return parameter_groups(
        net, {"mixer": mixer}, OptimConfig(**{"lr": 0.1, "weight_decay": 0.01, **optim}), allow_absolute
    )


def test_without_hints_there_is_one_group():
    (group,) = groups_of({})
    assert (group.name, group.lr, group.weight_decay) == ("main", 0.1, 0.01)
    assert set(group.parameters) == {"mixer.a", "mixer.b", "head.weight", "head.bias"}
    assert "0.1" in group.describe()
    assert "8 numbers" in group.describe()


def test_hints_scale_the_swept_rate():
    groups = {g.name: g for g in groups_of({"a": OptimHint(lr_scale=0.5, weight_decay=0.0)})}
    assert set(groups) == {"main", "lr x0.5, decay=0"}
    small = groups["lr x0.5, decay=0"]
    assert (small.lr, small.weight_decay, set(small.parameters)) == (0.05, 0.0, {"mixer.a"})


def test_a_hint_that_matches_nothing_is_an_error():
    with pytest.raises(ConfigError, match=r"mixer\.c.*matches no parameter"):
        groups_of({"c": OptimHint(lr_scale=0.5)})


def test_a_fixed_rate_needs_the_recipe_track():
    hints = {"a": OptimHint(lr_abs=0.001)}
    with pytest.raises(ConfigError, match=r"fixes its learning rate at 0\.001"):
        groups_of(hints)
    assert {g.lr for g in groups_of(hints, allow_absolute=True)} == {0.1, 0.001}


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_the_optimizer_gets_each_groups_settings(name, kind):
    cfg = OptimConfig(name=name, lr=0.1, beta1=0.8)
    optimizer = make_optimizer(groups_of({"a": OptimHint(lr_scale=0.5)}, name=name), cfg)
    assert type(optimizer) is kind
    assert sorted(g["lr"] for g in optimizer.param_groups) == [0.05, 0.1]


def test_a_constant_schedule_is_constant():
    factor = lr_factor(OptimConfig(), 100)
    assert {factor(step) for step in range(100)} == {1.0}


def test_warmup_and_cosine_begin_and_end_at_the_floor():
    cfg = OptimConfig(lr=0.1, schedule="cosine", warmup_steps=10, lr_floor=1e-7)
    rates = [0.1 * lr_factor(cfg, 101)(step) for step in range(101)]
    assert rates[0] == pytest.approx(1e-7)
    assert rates[5] == pytest.approx(0.05, rel=1e-4)
    assert rates[10] == pytest.approx(0.1)
    assert rates[55] == pytest.approx(0.05, rel=1e-4)
    assert rates[100] == pytest.approx(1e-7)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_warmup_works_with_a_constant_rate_too():
    factor = lr_factor(OptimConfig(lr=0.1, warmup_steps=4), 20)
    assert factor(0) == pytest.approx(1e-6)
    assert [factor(step) for step in (4, 10, 19)] == [1.0, 1.0, 1.0]
