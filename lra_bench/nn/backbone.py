"""The one network that every mixer is put into.

encoder -> depth x [norm, mixer, activation, dropout, GLU, dropout, residual] -> pooling -> head
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lra_bench.core.batch import Batch
from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.settings import BackboneConfig
from lra_bench.core.specs import InputKind, MixerContext, OutputKind, TaskSpec
from lra_bench.nn.bidirectional import Bidirectional
from lra_bench.nn.layers import make_norm, pool

MixerFactory = Callable[[MixerContext], SequenceMixer]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "identity": lambda x: x,
}


class Block(nn.Module):
    """One mixer with what stands around it; (B, L, d_model) -> (B, L, ctx.d_out)."""

    def __init__(self, cfg: BackboneConfig, make_mixer: MixerFactory, ctx: MixerContext) -> None:
        super().__init__()
        d_in, d_out = ctx.d_model, ctx.d_out
        if cfg.directions == "one":
            self.mixer: nn.Module = make_mixer(ctx)
        else:
            self.mixer = Bidirectional(make_mixer, ctx, cfg.directions)
        self.norm = make_norm(cfg.norm, d_in if cfg.prenorm else d_out)
        self.prenorm = cfg.prenorm
        self.activation = ACTIVATIONS[cfg.activation]
        self.gate = nn.Linear(d_out, 2 * d_out) if cfg.glu else None
        self.dropout = nn.Dropout(cfg.dropout)
        self.residual = cfg.residual

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, d_model), (B, L) bool or None -> (B, L, d_out)."""
        z: Tensor = self.mixer(self.norm(x, mask) if self.prenorm else x, mask)
        z = self.dropout(self.activation(z))
        if self.gate is not None:
            z = self.dropout(F.glu(self.gate(z), dim=-1))
        if self.residual:
            z = z + x
        if not self.prenorm:
            z = self.norm(z, mask)
        return z


class Backbone(nn.Module):
    """Encoder, blocks, pooling and head for one task.

    Args:
        cfg: what stands around the mixers.
        spec: the task's contract; decides encoder, pooling and head.
        make_mixer: builds the mixer of one layer.
        mixes_channels: of the mixer class. If False, linear maps take the place of identity encoder and head, since
            a mixer that treats channels apart cannot map the task's inputs to its outputs alone.

    Raises:
        ConfigError: the parts do not fit, such as an identity encoder on tokens.
    """

    def __init__(
        self, cfg: BackboneConfig, spec: TaskSpec, make_mixer: MixerFactory, mixes_channels: bool = True
    ) -> None:
        super().__init__()
        self.output = spec.output
        self.pooling: Literal["mean", "last"] = cfg.pooling
        bare_in = cfg.encoder == "identity" and mixes_channels and spec.input is InputKind.CONTINUOUS
        bare_out = cfg.head == "identity" and mixes_channels and spec.output.per_step
        width = spec.input_size if bare_in else cfg.d_model
        self.encoder = nn.Identity() if bare_in else _encoder(spec, width)
        self.blocks = nn.ModuleList()
        for index in range(cfg.depth):
            d_out = spec.output_size if bare_out and index == cfg.depth - 1 else width
            ctx = MixerContext(width, d_out, spec.seq_len, index, cfg.depth, cfg.causal)
            self.blocks.append(Block(cfg, make_mixer, ctx))
        self.final_norm = make_norm(cfg.norm if cfg.prenorm else "none", width)
        self.head = nn.Identity() if bare_out else _head(spec, width)

    @property
    def mixers(self) -> dict[str, SequenceMixer]:
        """Module path -> mixer, in order of depth."""
        return {path: module for path, module in self.named_modules() if isinstance(module, SequenceMixer)}

    def forward(self, batch: Batch) -> Tensor:
        """(B, output_size), logits of whole sequences; or (B, L, output_size), logits or values at each step."""
        if self.output is OutputKind.CLASSIFY_PAIR:
            first, second = self._features(*stacked(batch)).chunk(2)
            features = torch.cat([first, second, first - second, first * second], dim=-1)
        else:
            features = self._features(batch.x, batch.mask)
        output: Tensor = self.head(features)
        return output

    def _features(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, d) where there is one output for a sequence, (B, L, d) where there is one for each step."""
        x = self.encoder(x)
        for block in self.blocks:
            x = block(x, mask)
        x = self.final_norm(x, mask)
        return x if self.output.per_step else pool(x, mask, self.pooling)


def stacked(batch: Batch) -> tuple[Tensor, Tensor]:
    """Both documents of each pair as one batch, all firsts before all seconds, and the mask.

    One pass over both is what S4 does (state-spaces/s4, src/dataloaders/lra.py), so batch statistics are joint.
    """
    assert batch.x2 is not None, "a pair task must give x2"
    length = max(batch.x.shape[1], batch.x2.shape[1])
    documents, masks = [], []
    for x, mask in ((batch.x, batch.mask), (batch.x2, batch.mask2)):
        missing = length - x.shape[1]
        real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
        documents.append(F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing)))
        masks.append(F.pad(real, (0, missing)))
    return torch.cat(documents), torch.cat(masks)


def _encoder(spec: TaskSpec, width: int) -> nn.Module:
    if spec.input is InputKind.TOKENS:
        return nn.Embedding(spec.input_size, width, padding_idx=spec.pad_id)
    return nn.Linear(spec.input_size, width)


def _head(spec: TaskSpec, width: int) -> nn.Module:
    """Linear; for pairs, the non-linear read-out of the four joint features, as in LRA's dual encoder."""
    if spec.output is OutputKind.CLASSIFY_PAIR:
        return nn.Sequential(nn.Linear(4 * width, width), nn.ReLU(), nn.Linear(width, spec.output_size))
    return nn.Linear(width, spec.output_size)
