"""Linear attention: a kernel in place of the softmax, so that the past is a matrix."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, linear, pad

from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext
from lra_bench.nn.ops.precision import at_least_float32

CHUNK = 64
"""Steps among which attention is computed pair by pair; between chunks a running sum goes on."""

EPSILON = 1e-6
"""Added to the sum of the weights."""


@dataclass(frozen=True)
class LinearAttentionConfig(MixerConfig):
    """Knobs of linear attention.

    Attributes:
        heads: number of heads.
        d_head: channels of each head; null is d_model / heads, rounded up.
    """

    heads: int = 4
    d_head: int | None = None

    def __post_init__(self) -> None:
        require(self.heads >= 1, "model.heads", "at least 1", self.heads)
        require(self.d_head is None or self.d_head >= 1, "model.d_head", "at least 1 or null", self.d_head)


class LinearAttention(SequenceMixer):
    """Attention whose weights are products of features.

        head_t = phi(q_t) sum_s phi(k_s)^T v_s / (phi(q_t) . sum_s phi(k_s)),    phi(x) = elu(x) + 1

    over s <= t where ctx.causal, over all real steps otherwise. Paper: Katharopoulos et al., "Transformers are RNNs:
    Fast Autoregressive Transformers with Linear Attention", arXiv 2006.16236, equations 5 to 12. Follows
    `LinearAttention` and `CausalLinearAttention` of idiap/fast-transformers.

    Differences: projections have no biases; the causal sums run over chunks, never over (L, d_head, d_head) products.
    It knows no positions: the model around it must, or causality alone tells steps apart.
    """

    Config = LinearAttentionConfig
    cfg: LinearAttentionConfig

    def __init__(self, cfg: LinearAttentionConfig, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        self.d_head = cfg.d_head or math.ceil(ctx.d_model / cfg.heads)
        inner = cfg.heads * self.d_head
        self.qkv = nn.Linear(ctx.d_model, 3 * inner, bias=False)
        self.out = nn.Linear(inner, ctx.d_out, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, d_model) -> (B, L, d_out); features and sums are float32 or better."""
        with torch.autocast(x.device.type, enabled=False):
            queries, keys, values = self._projections(at_least_float32(x))
            if self.ctx.causal:
                sums = causal_products(queries, keys, values)
            else:
                if mask is not None:
                    keys = keys * mask[:, None, :, None]
                sums = queries @ (keys.transpose(2, 3) @ values)
            return self._outputs(sums).to(x.dtype)

    def init_state(self, batch_size: int) -> Tensor:
        """(batch_size, heads, d_head, d_head + 1) zeros."""
        shape = (batch_size, self.cfg.heads, self.d_head, self.d_head + 1)
        return at_least_float32(self.qkv.weight.new_zeros(shape))

    def step(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, d_model), sum of phi(k)^T [v, 1] over the past -> (B, d_out), the same with this step."""
        with torch.autocast(x_t.device.type, enabled=False):
            queries, keys, values = self._projections(at_least_float32(x_t[:, None]))
            state = state + keys.transpose(2, 3) @ values
            return self._outputs(queries @ state)[:, 0].to(x_t.dtype), state

    def _projections(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """phi(q), phi(k), each (B, heads, L, d_head), and [v, 1], whose last column sums up the weights."""
        projected = linear(u, self.qkv.weight.to(u.dtype))
        split = projected.view(*u.shape[:2], 3, self.cfg.heads, self.d_head)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        return elu(queries) + 1, elu(keys) + 1, pad(values, (0, 1), value=1.0)

    def _outputs(self, sums: Tensor) -> Tensor:
        """Sums of [v, 1], (B, heads, L, d_head + 1) -> (B, L, d_out)."""
        heads = sums[..., :-1] / (sums[..., -1:] + EPSILON)
        return linear(heads.transpose(1, 2).flatten(2), self.out.weight.to(sums.dtype))

    def state_size(self, seq_len: int) -> int:
        """A matrix and the sum of the weights for each head."""
        return self.cfg.heads * self.d_head * (self.d_head + 1)


def causal_products(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """y_t = sum_{s <= t} (q_t . k_s) v_s: (B, H, L, E), (B, H, L, E), (B, H, L, M) -> (B, H, L, M)."""
    batch, heads, L, _ = queries.shape
    steps = min(CHUNK, L)
    padded = (pad(z, (0, 0, 0, -L % steps)) for z in (queries, keys, values))
    q, k, v = (z.reshape(batch, heads, -1, steps, z.shape[-1]) for z in padded)
    within = (q @ k.transpose(3, 4)).tril() @ v
    products = k.transpose(3, 4) @ v
    before = products.cumsum(2) - products
    return (within + q @ before).flatten(2, 3)[:, :, :L]
