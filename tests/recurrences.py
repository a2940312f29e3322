"""What the tests of linear recurrences share."""

import torch
from torch import Tensor

from lra_bench.core.mixer import SequenceMixer


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers that depend on the shape alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def perturbed(layer: SequenceMixer, scale: float = 0.1) -> SequenceMixer:
    """With noise on every parameter."""
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=noise, dtype=parameter.dtype))
    return layer


def unrolled(layer: SequenceMixer, x: Tensor) -> Tensor:
    """Outputs for (B, L, d_model), one step at a time."""
    state, outputs = layer.init_state(len(x)), []
    for x_t in x.unbind(1):
        y_t, state = layer.step(x_t, state)
        outputs.append(y_t)
    return torch.stack(outputs, dim=1)
