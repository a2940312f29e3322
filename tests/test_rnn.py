"""LSTM and GRU against their equations, written out in float64."""

import pytest
import torch
from torch import Tensor

from lra_bench.core.errors import ConfigError
from lra_bench.core.specs import MixerContext
from lra_bench.models.rnn import RNN, RNNConfig

CELLS = ["lstm", "gru"]


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def make(cell: str, *, d_state: int = 5, max_len: int = 40) -> RNN:
    torch.manual_seed(0)
    return RNN(RNNConfig(cell=cell, d_state=d_state), MixerContext(3, 2, max_len)).double()


def slow_lstm(layer: RNN, x: Tensor) -> Tensor:
    r = layer.rnn
    h = c = x.new_zeros(len(x), layer.cfg.d_state)
    outputs = []
    for u in x.unbind(1):
        sums = u @ r.weight_ih_l0.T + r.bias_ih_l0 + h @ r.weight_hh_l0.T + r.bias_hh_l0
        i, f, g, o = sums.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(layer.out(h))
    return torch.stack(outputs, dim=1)


def slow_gru(layer: RNN, x: Tensor) -> Tensor:
    r = layer.rnn
    h = x.new_zeros(len(x), layer.cfg.d_state)
    outputs = []
    for u in x.unbind(1):
        from_input = (u @ r.weight_ih_l0.T + r.bias_ih_l0).chunk(3, dim=1)
        from_state = (h @ r.weight_hh_l0.T + r.bias_hh_l0).chunk(3, dim=1)
        reset = (from_input[0] + from_state[0]).sigmoid()
        keep = (from_input[1] + from_state[1]).sigmoid()
        new = (from_input[2] + reset * from_state[2]).tanh()
        h = keep * h + (1 - keep) * new
        outputs.append(layer.out(h))
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize(("cell", "slow"), [("lstm", slow_lstm), ("gru", slow_gru)])
@pytest.mark.parametrize("length", [1, 2, 37])
def test_rnn_is_its_equations(cell, slow, length):
    layer, x = make(cell), normal(2, length, 3)
    torch.testing.assert_close(layer(x), slow(layer, x), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_4096_steps_are_forward(cell):
    layer, x = make(cell, max_len=4096).float(), normal(1, 4096, 3).float()
    state, outputs = layer.init_state(1), []
    with torch.no_grad():
        for x_t in x.unbind(1):
            y_t, state = layer.step(x_t, state)
            outputs.append(y_t)
        torch.testing.assert_close(torch.stack(outputs, dim=1), layer(x), rtol=1e-4, atol=1e-4)


def test_state_is_the_hidden_units_and_the_cells_of_an_lstm():
    assert make("lstm").state_size(7) == 10
    assert make("gru").state_size(7) == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cell": "rnn"}, "model.cell must be lstm or gru, got rnn"),
        ({"d_state": 0}, "model.d_state must be at least 1, got 0"),
    ],
)
def test_rnn_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        RNNConfig(**fields)
