"""Every operation as it is defined, step by step or term by term; as slow as it looks."""

import torch
from torch import Tensor


def channel_conv(u: Tensor, kernels: Tensor) -> Tensor:
    """y_t[h] = sum_{s <= t} kernels[h, s] u_{t-s}[h]."""
    outputs = []
    for t in range(u.shape[1]):
        past = u[:, : t + 1].flip(1)
        outputs.append(torch.einsum("hs,bsh->bh", kernels[:, : t + 1], past))
    return torch.stack(outputs, dim=1)


def bank_conv(u: Tensor, bank: Tensor, weights: Tensor) -> Tensor:
    """y_t = sum_j sum_{s <= t} bank[s, j] u_{t-s} weights[j]."""
    outputs = []
    for t in range(u.shape[1]):
        past = u[:, : t + 1].flip(1)
        outputs.append(torch.einsum("sj,bsd,jdo->bo", bank[: t + 1], past, weights))
    return torch.stack(outputs, dim=1)


def two_step_sum(x: Tensor) -> Tensor:
    """y_t = y_{t-2} + x_t."""
    outputs: list[Tensor] = []
    for t, x_t in enumerate(x.unbind(1)):
        outputs.append(outputs[t - 2] + x_t if t >= 2 else x_t)
    return torch.stack(outputs, dim=1)


def autoregression(taps: Tensor, x: Tensor) -> Tensor:
    """y_t = sum_{j=1..k} y_{t-j} taps[j-1] + x_t."""
    outputs: list[Tensor] = []
    for t, x_t in enumerate(x.unbind(1)):
        past = [outputs[t - lag] @ taps[lag - 1] for lag in range(1, len(taps) + 1) if lag <= t]
        outputs.append(x_t + sum(past))
    return torch.stack(outputs, dim=1)


def diagonal_scan(decay: Tensor, x: Tensor) -> Tensor:
    """h_t = decay h_{t-1} + x_t."""
    h, states = torch.zeros_like(x[:, 0]), []
    for x_t in x.unbind(1):
        h = decay * h + x_t
        states.append(h)
    return torch.stack(states, dim=1)


def state_space(decay: Tensor, B: Tensor, C: Tensor, u: Tensor) -> Tensor:
    """h_t = decay h_{t-1} + B u_t, y_t = Re(C h_t)."""
    return (diagonal_scan(decay, u.to(B.dtype) @ B.T) @ C.T).real


def selective_scan(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t, y_t = h_t C_t."""
    h = x.new_zeros(len(x), *A.shape)
    outputs = []
    for t in range(x.shape[1]):
        h = torch.exp(dt[:, t, :, None] * A) * h + torch.einsum("bd,bn->bdn", dt[:, t] * x[:, t], B[:, t])
        outputs.append(torch.einsum("bdn,bn->bd", h, C[:, t]))
    return torch.stack(outputs, dim=1)


def exponential_sums(weights: Tensor, rates: Tensor, seq_len: int) -> Tensor:
    """K[h, l] = Re sum_n weights[h, n] exp(l rates[h, n])."""
    return torch.stack([(weights * torch.exp(step * rates)).sum(-1).real for step in range(seq_len)], dim=-1)


def conjugate_poles(weights: Tensor, poles: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """sum_n v_n / (i sin - mu_n cos) + conj(v_n) / (i sin - conj(mu_n) cos)."""
    v, mu = torch.cat([weights, weights.conj()], dim=-1), torch.cat([poles, poles.conj()], dim=-1)
    values = [(v / (1j * s - mu * c)[:, None]).sum(-1) for c, s in zip(cos, sin, strict=True)]
    return torch.stack(values, dim=-1)
