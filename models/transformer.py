"""Multi-head softmax attention, the mixer of the Transformer."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext

Cache = tuple[Tensor, Tensor]
"""Keys, already rotated, and values of the past: each (B, heads, steps, d_head)."""


@dataclass(frozen=True)
class AttentionConfig(MixerConfig):
    """Knobs of attention.

    Attributes:
        heads: number of heads.
        d_head: channels of each head; null is d_model / heads, rounded up to an even number.
        positions: rope, queries and keys are rotated (needs an even d_head); learned, a table is added to the input of
            every layer; none.
        dropout: probability, on the attention weights.
    """

    heads: int = 4
    d_head: int | None = None
    positions: Literal["rope", "learned", "none"] = "rope"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require(self.heads >= 1, "model.heads", "at least 1", self.heads)
        require(self.d_head is None or self.d_head >= 1, "model.d_head", "at least 1 or null", self.d_head)
        known = self.positions in ("rope", "learned", "none")
        require(known, "model.positions", "rope, learned or none", self.positions)
        rotates = self.positions != "rope" or self.d_head is None or self.d_head % 2 == 0
        require(rotates, "model.d_head", "even when model.positions is rope", self.d_head)
        require(0 <= self.dropout < 1, "model.dropout", "in [0, 1)", self.dropout)


class Attention(SequenceMixer):
    """Softmax attention with its projections; norm, residual and what is applied pointwise are the backbone's.

        head_h = softmax(Q_h K_h^T / sqrt(d_head)) V_h,    y = [head_1, ..., head_H] W_out

    where ctx.causal, over the past and the present alone. Paper: Vaswani et al., "Attention Is All You Need", arXiv
    1706.03762, section 3.2.2; rope is Su et al., "RoFormer", arXiv 2104.09864, equation 34, with channel c paired with
    channel c + d_head / 2. Follows `SelfAttention` as used in lra_benchmarks/models/transformer/transformer.py of
    google-research/long-range-arena: no biases, Xavier-uniform projections.

    Differences: there, positions are added once, before the first layer. Padding is never attended to; a sequence that
    is nothing but padding attends to itself.
    """

    Config = AttentionConfig
    cfg: AttentionConfig
    rotation: Tensor

    def __init__(self, cfg: AttentionConfig, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        self.d_head = cfg.d_head or 2 * math.ceil(ctx.d_model / cfg.heads / 2)
        inner = cfg.heads * self.d_head
        self.qkv = nn.Linear(ctx.d_model, 3 * inner, bias=False)
        self.out = nn.Linear(inner, ctx.d_out, bias=False)
        for weight in (*self.qkv.weight.chunk(3), self.out.weight):
            nn.init.xavier_uniform_(weight)
        if cfg.positions == "rope":
            self.register_buffer("rotation", _rotation(ctx.max_len, self.d_head), persistent=False)
        if cfg.positions == "learned":
            self.positions = nn.Parameter(0.02 * torch.randn(ctx.max_len, ctx.d_model))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, d_model) -> (B, L, d_out). Right-padded keys need no mask where attention is causal."""
        queries, keys, values = self._projections(x, start=0)
        heard = None
        if mask is not None and not self.ctx.causal:
            heard = (mask | ~mask.any(1, keepdim=True))[:, None, None]
        dropout = self.cfg.dropout if self.training else 0.0
        heads = scaled_dot_product_attention(queries, keys, values, heard, dropout, is_causal=self.ctx.causal)
        return self._outputs(heads).to(x.dtype)

    def init_state(self, batch_size: int) -> Cache:
        """No steps."""
        empty = self.qkv.weight.new_zeros(batch_size, self.cfg.heads, 0, self.d_head)
        return empty, empty

    def step(self, x_t: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        """(B, d_model), keys and values of the past -> (B, d_out), the same with those of this step."""
        queries, keys, values = self._projections(x_t[:, None], start=state[0].shape[2])
        keys, values = torch.cat([state[0], keys], dim=2), torch.cat([state[1], values], dim=2)
        heads = scaled_dot_product_attention(queries, keys, values)
        return self._outputs(heads)[:, 0].to(x_t.dtype), (keys, values)

    def _projections(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, heads, L, d_head), of steps start, start + 1, ..."""
        here = slice(start, start + x.shape[1])
        if self.cfg.positions == "learned":
            x = x + self.positions[here].to(x.dtype)
        queries, keys, values = self.qkv(x).unflatten(2, (3, self.cfg.heads, self.d_head)).permute(2, 0, 3, 1, 4)
        if self.cfg.positions == "rope":
            rotation = self.rotation[:, here]
            queries, keys = _rotated(queries, rotation), _rotated(keys, rotation)
        return queries, keys, values

    def _outputs(self, heads: Tensor) -> Tensor:
        """(B, heads, L, d_head) -> (B, L, d_out)."""
        y: Tensor = self.out(heads.transpose(1, 2).flatten(2))
        return y

    def state_size(self, seq_len: int) -> int:
        """Keys and values of all steps."""
        return 2 * seq_len * self.cfg.heads * self.d_head


def _rotation(max_len: int, d_head: int) -> Tensor:
    """(2, max_len, d_head / 2): cosine and sine of t 10000^(-2c / d_head)."""
    frequencies = 10000.0 ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    angles = torch.arange(max_len, dtype=torch.float64)[:, None] * frequencies
    return torch.stack([angles.cos(), angles.sin()]).to(torch.get_default_dtype())


def _rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """Each pair of channels (c, c + d_head / 2) of x (B, heads, L, d_head), turned by the angle of its step."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1).to(x.dtype)
