"""LSTM and GRU, the gated recurrent networks."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.settings import require
from lra_bench.core.specs import MixerContext
from lra_bench.nn.ops.precision import at_least_float32

State = tuple[Tensor, Tensor] | Tensor
"""Hidden and cell state of an LSTM, hidden state of a GRU: each (1, B, d_state)."""


@dataclass(frozen=True)
class RNNConfig(MixerConfig):
    """Knobs of the recurrent networks.

    Attributes:
        cell: lstm or gru.
        d_state: hidden units.
    """

    cell: Literal["lstm", "gru"] = "lstm"
    d_state: int = 64

    def __post_init__(self) -> None:
        require(self.cell in ("lstm", "gru"), "model.cell", "lstm or gru", self.cell)
        require(self.d_state >= 1, "model.d_state", "at least 1", self.d_state)


class RNN(SequenceMixer):
    """One layer of gated recurrence, then a linear map to d_out.

        LSTM:  i, f, o = sigmoid(W u_t + U h_{t-1} + b),    c_t = f c_{t-1} + i tanh(W' u_t + U' h_{t-1} + b'),
               h_t = o tanh(c_t)
        GRU:   r, z = sigmoid(W u_t + U h_{t-1} + b),    h_t = z h_{t-1} + (1 - z) tanh(W' u_t + r (U' h_{t-1} + b'))

    Papers: Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9, 1997, with the forget gate of
    Gers et al., 2000; Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", arXiv 1406.1078.
    Equations, numbers and initial values are those of `torch.nn.LSTM` and `torch.nn.GRU`, which run in cuDNN on a GPU.

    Differences: none in the cell; the linear map is ours, so that d_state is free. One step after another: slow on
    long sequences.
    """

    Config = RNNConfig
    cfg: RNNConfig

    def __init__(self, cfg: RNNConfig, ctx: MixerContext) -> None:
        super().__init__(cfg, ctx)
        kind = nn.LSTM if cfg.cell == "lstm" else nn.GRU
        self.rnn = kind(ctx.d_model, cfg.d_state, batch_first=True)
        self.out = nn.Linear(cfg.d_state, ctx.d_out)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, d_model) -> (B, L, d_out), computed in float32 or better, returned in the dtype of `x`."""
        with torch.autocast(x.device.type, enabled=False):
            hidden, _ = self.rnn(at_least_float32(x))
            y: Tensor = self.out(hidden)
            return y.to(x.dtype)

    def init_state(self, batch_size: int) -> State:
        """Zeros."""
        zeros = self.out.weight.new_zeros(1, batch_size, self.cfg.d_state)
        return (zeros, zeros) if self.cfg.cell == "lstm" else zeros

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, d_model), state -> (B, d_out), state."""
        with torch.autocast(x_t.device.type, enabled=False):
            hidden, state = self.rnn(at_least_float32(x_t)[:, None], state)
            return self.out(hidden[:, 0]).to(x_t.dtype), state

    def state_size(self, seq_len: int) -> int:
        """Hidden units, and as many cells in an LSTM."""
        return self.cfg.d_state * (2 if self.cfg.cell == "lstm" else 1)
