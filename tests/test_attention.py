"""Softmax and linear attention, against their definitions written out in float64."""

import math

import pytest
import torch
from torch import Tensor

from lra_bench.core.errors import ConfigError
from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.specs import MixerContext
from lra_bench.models import linear_attention
from lra_bench.models.linear_attention import LinearAttention, LinearAttentionConfig, causal_products
from lra_bench.models.transformer import Attention, AttentionConfig

POSITIONS = ["rope", "learned", "none"]
MASK = torch.arange(11) < torch.tensor([[7], [11], [1]])


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def context(*, d_model: int = 3, d_out: int = 5, max_len: int = 130, causal: bool = True) -> MixerContext:
    return MixerContext(d_model, d_out, max_len, causal=causal)


def attention(positions: str, ctx: MixerContext, **fields: float) -> Attention:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    try:
        return Attention(AttentionConfig(heads=2, positions=positions, **fields), ctx)
    finally:
        torch.set_default_dtype(torch.float32)


def linear(ctx: MixerContext) -> LinearAttention:
    torch.manual_seed(0)
    return LinearAttention(LinearAttentionConfig(heads=2), ctx).double()


def projections(layer: Attention | LinearAttention, x: Tensor) -> Tensor:
    """Queries, keys and values of each head, (3, heads, B, L, d_head)."""
    weights = layer.qkv.weight.view(3, layer.cfg.heads, layer.d_head, -1)
    return torch.stack([torch.stack([x @ W.T for W in part]) for part in weights])


def allowed(t: int, x: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """(B, L): what step t may attend to."""
    steps = torch.arange(x.shape[1])
    allowed = steps <= t if causal else steps >= 0
    return allowed.expand(len(x), -1) if mask is None else allowed & mask


def turned(z: Tensor) -> Tensor:
    """Rotary positions as complex products, (..., L, d_head)."""
    half = z.shape[-1] // 2
    pairs = torch.complex(z[..., :half], z[..., half:])
    for t in range(z.shape[-2]):
        for c in range(half):
            angle = torch.tensor(t * 10000.0 ** (-2 * c / z.shape[-1]), dtype=torch.float64)
            pairs[..., t, c] *= torch.polar(torch.ones_like(angle), angle)
    return torch.cat([pairs.real, pairs.imag], dim=-1)


def slow_attention(layer: Attention, x: Tensor, mask: Tensor | None = None) -> Tensor:
    if layer.cfg.positions == "learned":
        x = x + layer.positions[: x.shape[1]]
    q, k, v = projections(layer, x)
    if layer.cfg.positions == "rope":
        q, k = turned(q), turned(k)
    outputs = []
    for t in range(x.shape[1]):
        scores = (q[:, :, t, None] * k).sum(-1) / math.sqrt(layer.d_head)
        scores = scores.masked_fill(~allowed(t, x, mask, layer.ctx.causal), -math.inf)
        heads = (scores.exp()[..., None] * v).sum(2) / scores.exp().sum(2)[..., None]
        outputs.append(torch.cat(list(heads), dim=-1) @ layer.out.weight.T)
    return torch.stack(outputs, dim=1)


def slow_linear_attention(layer: LinearAttention, x: Tensor, mask: Tensor | None = None) -> Tensor:
    q, k, v = projections(layer, x)
    q, k = (torch.where(z > 0, z + 1, z.exp()) for z in (q, k))
    outputs = []
    for t in range(x.shape[1]):
        weights = (q[:, :, t, None] * k).sum(-1) * allowed(t, x, mask, layer.ctx.causal)
        heads = (weights[..., None] * v).sum(2) / (weights.sum(2)[..., None] + 1e-6)
        outputs.append(torch.cat(list(heads), dim=-1) @ layer.out.weight.T)
    return torch.stack(outputs, dim=1)


def unrolled(layer: SequenceMixer, x: Tensor) -> Tensor:
    state, outputs = layer.init_state(len(x)), []
    for x_t in x.unbind(1):
        y_t, state = layer.step(x_t, state)
        outputs.append(y_t)
    return torch.stack(outputs, dim=1)


# Softmax attention


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [1, 2, 17])
def test_attention_is_its_definition(positions, causal, length):
    layer, x = attention(positions, context(causal=causal)), normal(2, length, 3)
    torch.testing.assert_close(layer(x), slow_attention(layer, x), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("positions", POSITIONS)
def test_attention_leaves_padding_out(positions):
    layer, x = attention(positions, context(causal=False)), normal(3, 11, 3)
    expected = slow_attention(layer, x, MASK)
    torch.testing.assert_close(layer(x, MASK)[MASK], expected[MASK], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("causal", [True, False])
def test_a_sequence_of_padding_alone_is_finite(causal):
    mask = torch.tensor([[True] * 5, [False] * 5])
    for make in (lambda ctx: attention("rope", ctx), linear):
        layer, x = make(context(causal=causal)), normal(2, 5, 3).requires_grad_()
        y = layer(x, mask)
        y.square().sum().backward()
        assert y.isfinite().all()
        assert x.grad.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_rope_sees_distances_alone():
    """Where all steps are alike, a score depends on how far apart its two steps are."""
    layer = attention("rope", context(max_len=64))
    q, k, _ = layer._projections(normal(1, 1, 3).repeat(1, 64, 1), start=0)
    scores = q @ k.transpose(2, 3)
    for lag in (0, 1, 30):
        diagonal = scores.diagonal(-lag, dim1=2, dim2=3)
        torch.testing.assert_close(diagonal, diagonal[..., :1].expand_as(diagonal))
    assert scores[..., 0].std(dim=-1).min() > 0.1


@pytest.mark.parametrize("positions", POSITIONS)
def test_attention_in_4096_steps_is_forward(positions):
    layer = attention(positions, context(max_len=4096)).float()
    x = normal(1, 4096, 3).float()
    with torch.no_grad():
        torch.testing.assert_close(unrolled(layer, x), layer(x), rtol=1e-4, atol=1e-4)


def test_attention_drops_weights_in_training_alone():
    layer, x = attention("rope", context(), dropout=0.5), normal(2, 9, 3)
    assert not torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


@pytest.mark.parametrize(("d_model", "d_head"), [(3, 2), (8, 2), (12, 4), (64, 16)])
def test_heads_have_even_widths_that_cover_the_model(d_model, d_head):
    layer = Attention(AttentionConfig(heads=4), context(d_model=d_model))
    assert layer.d_head == d_head
    assert layer.state_size(10) == 2 * 10 * 4 * d_head
    assert Attention(AttentionConfig(heads=8, d_head=6), context(d_model=d_model)).out.in_features == 48


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 0}, "model.heads must be at least 1, got 0"),
        ({"d_head": 0}, "model.d_head must be at least 1 or null, got 0"),
        ({"d_head": 3}, "model.d_head must be even when model.positions is rope, got 3"),
        ({"positions": "sine"}, "model.positions must be rope, learned or none, got sine"),
        ({"dropout": 1.0}, r"model.dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_attention_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        AttentionConfig(**fields)


# Linear attention


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [1, 2, 17, 64, 65, 130])
def test_linear_attention_is_its_definition(causal, length):
    layer, x = linear(context(causal=causal)), normal(2, length, 3)
    torch.testing.assert_close(layer(x), slow_linear_attention(layer, x), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 3, 16, 64])
@pytest.mark.parametrize("length", [1, 5, 37])
def test_causal_products(monkeypatch, chunk, length):
    monkeypatch.setattr(linear_attention, "CHUNK", chunk)
    q, k, v = normal(2, 2, length, 3), normal(2, 2, length, 3), normal(2, 2, length, 4)
    expected = (q @ k.transpose(2, 3)).tril() @ v
    torch.testing.assert_close(causal_products(q, k, v), expected, rtol=1e-11, atol=1e-12)


def test_linear_attention_leaves_padding_out():
    layer, x = linear(context(causal=False)), normal(3, 11, 3)
    expected = slow_linear_attention(layer, x, MASK)
    torch.testing.assert_close(layer(x, MASK)[MASK], expected[MASK], rtol=1e-11, atol=1e-12)


def test_linear_attention_in_4096_steps_is_forward():
    layer = linear(context(max_len=4096)).float()
    x = normal(1, 4096, 3).float()
    with torch.no_grad():
        torch.testing.assert_close(unrolled(layer, x), layer(x), rtol=1e-4, atol=1e-4)


def test_linear_attention_carries_a_matrix_a_head():
    layer = LinearAttention(LinearAttentionConfig(heads=4), context(d_model=6))
    assert layer.d_head == 2
    assert layer.state_size(1) == layer.state_size(100) == 4 * 2 * 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 0}, "model.heads must be at least 1, got 0"),
        ({"d_head": 0}, "model.d_head must be at least 1 or null, got 0"),
    ],
)
def test_linear_attention_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        LinearAttentionConfig(**fields)
