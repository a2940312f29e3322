"""Linear recurrences along time in a few steps, not one for each time step. Plain autograd, any L."""

import torch
from torch import Tensor
from torch.nn.functional import pad

CHUNK = 16
"""Steps that are taken one after another; all chunks take them at once."""


def diagonal_scan(decay: Tensor, x: Tensor) -> Tensor:
    """h_t = decay * h_{t-1} + x_t with h_{-1} = 0, for each of N channels.

    Chunks of `CHUNK` steps run side by side; what they hand on is the same problem on one state a chunk.
    Time O(L), depth O(CHUNK log L), memory about four times x.

    Args:
        decay: (N,), real or complex.
        x: (B, L, N), of the same dtype.

    Returns:
        (B, L, N).
    """
    B, L, N = x.shape
    steps = min(CHUNK, L)
    chunks = -(-L // steps)
    x = pad(x, (0, 0, 0, chunks * steps - L)) if chunks * steps > L else x
    factor = decay.expand(B, chunks, N)
    inputs = x.reshape(B, chunks, steps, N).unbind(2)
    states = [inputs[0]]
    for x_t in inputs[1:]:
        states.append(torch.addcmul(x_t, factor, states[-1]))
    local = torch.stack(states, dim=2)
    if chunks == 1:
        return local[:, 0, :L]
    powers = decay.expand(steps, N).cumprod(0)
    ends = diagonal_scan(powers[-1], local[:, :-1, -1])
    carried = pad(ends, (0, 0, 1, 0)).unsqueeze(2)
    return torch.addcmul(local, powers, carried).flatten(1, 2)[:, :L]
