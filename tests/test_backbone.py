import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lra_bench.core.batch import Batch
from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.settings import BackboneConfig
from lra_bench.core.specs import InputKind, OutputKind, TaskSpec
from lra_bench.nn.backbone import Backbone
from lra_bench.nn.layers import pool
from lra_bench.training.objectives import (
    SequenceRegression,
    StepClassification,
    make_objective,
    masked_cross_entropy,
    masked_mse,
)

SPEC = TaskSpec(
    name="fake", version=1, input=InputKind.TOKENS, output=OutputKind.CLASSIFY, seq_len=9, input_size=11,
    output_size=4, metric="accuracy", higher_is_better=True, chance=0.25, chance_margin=0.05, train_size=10,
    val_size=5, test_size=5, source="made up", licence="none", pad_id=0,
)  # fmt: skip
CONTINUOUS = dataclasses.replace(SPEC, input=InputKind.CONTINUOUS, input_size=3, pad_id=None)
STEPS = dataclasses.replace(SPEC, output=OutputKind.CLASSIFY_STEPS)
REGRESSION = dataclasses.replace(CONTINUOUS, output=OutputKind.REGRESS_SEQUENCE, output_size=2, metric="nmse")


class Running(SequenceMixer):
    """Running mean of a linear map: causal, ignores what comes after, mixes channels."""

    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.map = nn.Linear(ctx.d_model, ctx.d_out)

    def forward(self, x, mask=None):
        z = self.map(x)
        return z.cumsum(1) / torch.arange(1, x.shape[1] + 1, device=x.device).unsqueeze(-1)

    def state_size(self, seq_len):
        return self.ctx.d_out + 1


def build(spec, **fields):
    torch.manual_seed(0)
    cfg = BackboneConfig(d_model=8, depth=2, **fields)
    return Backbone(cfg, spec, lambda ctx: Running(MixerConfig(), ctx))


def batch_for(spec, lengths=(9, 5, 1), fill=0):
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(9) < torch.tensor(lengths).unsqueeze(1)

    def document():
        if spec.input is InputKind.TOKENS:
            x = torch.randint(1, spec.input_size, (3, 9), generator=generator)
            return torch.where(mask, x, torch.tensor(fill))
        x = torch.randn(3, 9, spec.input_size, generator=generator)
        return torch.where(mask.unsqueeze(-1), x, torch.tensor(float(fill)))

    pair = (document(), mask) if spec.output is OutputKind.CLASSIFY_PAIR else (None, None)
    x, y = document(), torch.tensor([0, 1, 2])
    if spec.output is OutputKind.REGRESS_SEQUENCE:
        y = torch.randn(3, 9, 2, generator=generator)
    if spec.output is OutputKind.CLASSIFY_STEPS:
        y = torch.randint(spec.output_size, (3, 9), generator=generator)
    return Batch(x, y, mask, mask if spec.output.per_step else None, *pair)


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
@pytest.mark.parametrize("prenorm", [True, False])
@pytest.mark.parametrize(
    "spec", [SPEC, STEPS, CONTINUOUS, REGRESSION, dataclasses.replace(SPEC, output=OutputKind.CLASSIFY_PAIR)],
    ids=["tokens", "steps", "continuous", "regression", "pair"],
)  # fmt: skip
def test_every_kind_of_task_trains(spec, norm, prenorm):
    net, objective, batch = build(spec, norm=norm, prenorm=prenorm, dropout=0.1), make_objective(spec), batch_for(spec)
    output = net(batch)
    assert output.shape == ((3, 9, spec.output_size) if spec.output.per_step else (3, 4))
    objective.loss(output, batch).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    scores = objective.scores()
    scores.update(output, batch)
    assert spec.metric in scores.compute()


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_padding_changes_nothing_at_real_steps(norm):
    net, batch = build(STEPS, norm=norm), batch_for(STEPS, fill=0)
    torch.testing.assert_close(net(batch)[batch.mask], net(batch_for(STEPS, fill=7))[batch.mask])


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_padding_changes_nothing(norm, pooling):
    net = build(CONTINUOUS, norm=norm, pooling=pooling)
    torch.testing.assert_close(net(batch_for(CONTINUOUS, fill=0)), net(batch_for(CONTINUOUS, fill=50)))


def test_pooling_sees_real_steps_only():
    x, mask = torch.arange(12.0).reshape(2, 3, 2), torch.tensor([[True, True, False], [True, True, True]])
    assert torch.equal(pool(x, mask, "mean"), torch.tensor([[1.0, 2.0], [8.0, 9.0]]))
    assert torch.equal(pool(x, mask, "last"), torch.tensor([[2.0, 3.0], [10.0, 11.0]]))
    assert torch.equal(pool(x, None, "mean")[0], torch.tensor([2.0, 3.0]))
    assert torch.equal(pool(x, None, "last")[0], torch.tensor([4.0, 5.0]))


@pytest.mark.parametrize("output", [OutputKind.REGRESS_SEQUENCE, OutputKind.CLASSIFY_STEPS])
def test_a_bare_layer_is_the_mixer_alone(output):
    cfg = BackboneConfig(
        depth=1, encoder="identity", head="identity", norm="none", activation="identity", glu=False, residual=False
    )
    spec = dataclasses.replace(REGRESSION, output=output)
    net = Backbone(cfg, spec, lambda ctx: Running(MixerConfig(), ctx))
    batch = batch_for(spec)
    assert torch.equal(net(batch), net.mixers["blocks.0.mixer"](batch.x))
    assert {name.split(".")[2] for name, _ in net.named_parameters()} == {"mixer"}


def test_a_mixer_that_treats_channels_apart_gets_linear_maps():
    cfg = BackboneConfig(d_model=8, depth=1, encoder="identity", head="identity", residual=False)
    net = Backbone(cfg, REGRESSION, lambda ctx: Running(MixerConfig(), ctx), mixes_channels=False)
    assert isinstance(net.encoder, nn.Linear)
    assert isinstance(net.head, nn.Linear)
    assert net.mixers["blocks.0.mixer"].ctx.d_out == 8


@pytest.mark.parametrize("spec", [STEPS, REGRESSION], ids=["steps", "regression"])
def test_targets_that_do_not_count_change_nothing(spec):
    batch, objective = batch_for(spec), make_objective(spec)
    output = torch.randn(3, 9, spec.output_size, generator=torch.Generator().manual_seed(2))
    other, counts = batch.y.clone(), batch.y_mask
    other[~counts] = 3
    output_there = torch.where(counts.unsqueeze(-1), output, torch.tensor(1e6))
    seen = []
    for given, y in ((output, batch.y), (output, other), (output_there, other)):
        scores = objective.scores()
        scores.update(given, batch._replace(y=y))
        seen.append((objective.loss(given, batch._replace(y=y)), scores.compute()))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("spec", [STEPS, REGRESSION], ids=["steps", "regression"])
def test_without_a_mask_all_targets_count(spec):
    batch, objective = batch_for(spec, lengths=(9, 9, 9)), make_objective(spec)
    output = torch.randn(3, 9, spec.output_size, generator=torch.Generator().manual_seed(2))
    assert objective.loss(output, batch) == objective.loss(output, batch._replace(y_mask=None))


def test_step_classification_is_the_mean_over_the_steps_that_count():
    batch, objective, scores = batch_for(STEPS), make_objective(STEPS), make_objective(STEPS).scores()
    output = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(2))
    losses, hits = [], []
    for example, length in enumerate((9, 5, 1)):
        for step in range(length):
            logits, label = output[example, step], int(batch.y[example, step])
            losses.append(float(logits.logsumexp(0) - logits[label]))
            hits.append(int(logits.argmax()) == label)
    assert objective.loss(output, batch).item() == pytest.approx(sum(losses) / 15)
    scores.update(output, batch)
    assert scores.compute()["accuracy"].item() == pytest.approx(sum(hits) / 15)


def test_nmse_is_mse_over_the_variance_of_all_targets():
    scores, batch = make_objective(REGRESSION).scores(), batch_for(REGRESSION, lengths=(9, 9, 9))
    for part in range(3):
        piece = Batch(batch.x[part : part + 1], batch.y[part : part + 1])
        scores.update(torch.full((1, 9, 2), 0.5), piece)
    mse = ((batch.y - 0.5) ** 2).mean()
    assert scores.compute()["mse"] == pytest.approx(mse.item())
    assert scores.compute()["nmse"] == pytest.approx((mse / batch.y.var(unbiased=False)).item(), rel=1e-5)


GROUPS = ("near", "far", "nowhere", "once")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("spec", [SPEC, STEPS, REGRESSION], ids=["tokens", "steps", "regression"])
def test_group_metrics_are_those_of_the_group_alone(spec, size):
    """Whatever the batches. A group of which there is nothing is left out; the metrics over all stay as they are."""
    generator = torch.Generator().manual_seed(3)
    spec, plain = dataclasses.replace(spec, groups=GROUPS), spec
    parts = [batch_for(spec, lengths) for lengths in ((9, 5, 1), (2, 9, 3), (4, 1, 8))]
    whole = Batch(*(None if part[0] is None else torch.cat(part) for part in zip(*parts, strict=True)))
    whole = whole._replace(group=torch.tensor([0, 1, 3, 0, 0, 1, 0, 0, 1]))
    shape = (9, 9, spec.output_size) if spec.output.per_step else (9, spec.output_size)
    output = torch.randn(shape, generator=generator)
    scores = make_objective(spec).scores()
    for _ in range(2):
        for start in range(0, 9, size):
            scores.update(output[start : start + size], whole.select(list(range(start, min(start + size, 9)))))
        found = scores.compute()
        scores.reset()

    def alone(examples):
        fresh = make_objective(plain).scores()
        fresh.update(output[examples], whole.select(examples))
        return fresh.compute()

    expected = alone(list(range(9)))
    expected |= {f"{name}/near": value for name, value in alone([0, 3, 4, 6, 7]).items()}
    expected |= {f"{name}/far": value for name, value in alone([1, 5, 8]).items()}
    expected |= {f"{name}/once": value for name, value in alone([2]).items()}
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    assert set(alone([0])) == ({"mse", "nmse"} if spec.output is OutputKind.REGRESS_SEQUENCE else {"accuracy"})


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_documents_of_a_pair_of_different_lengths_are_encoded_as_one_batch(norm):
    spec = dataclasses.replace(SPEC, output=OutputKind.CLASSIFY_PAIR)
    net = build(spec, norm=norm).train()
    x, x2 = torch.randint(1, spec.input_size, (3, 5)), torch.randint(1, spec.input_size, (3, 7))
    mask = torch.arange(5) < torch.tensor([[5], [2], [4]])
    both = net._features(
        torch.cat([F.pad(x * mask, (0, 2)), x2]), torch.cat([F.pad(mask, (0, 2)), torch.ones(3, 7) > 0])
    )
    first, second = both[:3], both[3:]
    expected = net.head(torch.cat([first, second, first - second, first * second], dim=-1))
    found = net(Batch(x * mask, torch.zeros(3, dtype=torch.int64), mask, None, x2, None))
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_losses_that_select_nothing_are_those_that_do(seed):
    draw = torch.Generator().manual_seed(seed)
    output = torch.randn(3, 7, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(3, 7, generator=draw) < 0.4
    labels, target = torch.randint(5, (3, 7), generator=draw), torch.randn(3, 7, 5, generator=draw, dtype=torch.float64)
    for objective, y, masked in (
        (StepClassification(5), labels, masked_cross_entropy),
        (SequenceRegression(), target, masked_mse),
    ):
        expected = objective.loss(output, Batch(output, y, y_mask=mask))
        found = masked(output, y, mask)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
        gradients = [torch.autograd.grad(loss, output)[0] for loss in (found, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)
    assert masked_mse(output, target, mask & False).isnan()
    assert masked_cross_entropy(output, labels, mask & False).isnan()
