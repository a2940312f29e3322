"""Every fast operation against its definition, written out in float64."""

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.func import grad, vmap

from lra_bench.nn.ops import recurrence, scan, spectral_conv
from lra_bench.nn.ops.fft_conv import channel_conv, fft_length
from lra_bench.nn.ops.precision import at_least_float32
from lra_bench.nn.ops.recurrence import autoregression, two_step_sum
from lra_bench.nn.ops.scan import diagonal_scan
from lra_bench.nn.ops.spectral_conv import bank_conv, bank_spectrum

LENGTHS = [1, 2, 3, 7, 16, 17, 63, 64, 65, 100]


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


def decays(count: int, dtype: torch.dtype = torch.complex128) -> Tensor:
    """Numbers of modulus 0.9 to 0.9999."""
    modulus = torch.linspace(0.9, 0.9999, count, dtype=torch.float64)
    if dtype.is_complex:
        return torch.polar(modulus, torch.linspace(0.0, 6.0, count, dtype=torch.float64)).to(dtype)
    return modulus.to(dtype)


def slow_channel_conv(u: Tensor, kernels: Tensor) -> Tensor:
    y = torch.zeros_like(u)
    for t in range(u.shape[1]):
        for s in range(t + 1):
            y[:, t] += kernels[:, s] * u[:, t - s]
    return y


def slow_bank_conv(u: Tensor, bank: Tensor, weights: Tensor) -> Tensor:
    y = u.new_zeros(*u.shape[:2], weights.shape[-1])
    for t in range(u.shape[1]):
        for s in range(t + 1):
            y[:, t] += u[:, t - s] @ torch.einsum("j,jdo->do", bank[s], weights)
    return y


def slow_diagonal_scan(decay: Tensor, x: Tensor) -> Tensor:
    h, states = torch.zeros_like(x[:, 0]), []
    for x_t in x.unbind(1):
        h = decay * h + x_t
        states.append(h)
    return torch.stack(states, dim=1)


def slow_autoregression(taps: Tensor, x: Tensor) -> Tensor:
    outputs: list[Tensor] = []
    for t, x_t in enumerate(x.unbind(1)):
        past = [outputs[t - lag] @ taps[lag - 1] for lag in range(1, len(taps) + 1) if lag <= t]
        outputs.append(x_t + sum(past))
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("seq_len", [*range(1, 200), 784, 1000, 4097, 16384])
def test_fft_length_holds_a_linear_convolution_and_is_smooth(seq_len):
    n = fft_length(seq_len)
    assert n % 2 == 0
    assert 2 * seq_len <= n <= 2.3 * seq_len + 2
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    assert n == 1


@pytest.mark.parametrize("L", LENGTHS)
def test_channel_conv(L):
    u, kernels = normal(2, L, 3), normal(3, L)
    torch.testing.assert_close(channel_conv(u, kernels), slow_channel_conv(u, kernels), rtol=0, atol=1e-12)


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize("chunk", [1, 10**6])
def test_bank_conv(L, chunk, monkeypatch):
    monkeypatch.setitem(spectral_conv.CHUNK_ELEMENTS, "cpu", chunk)
    u, bank, weights = normal(2, L, 3), normal(L, 5), normal(5, 3, 4)
    actual = bank_conv(u, bank_spectrum(bank), weights)
    torch.testing.assert_close(actual, slow_bank_conv(u, bank, weights), rtol=0, atol=1e-12)


def test_bank_conv_in_chunks_has_the_same_gradients(monkeypatch):
    spectrum = bank_spectrum(normal(33, 5))
    gradients = []
    for chunk in (10**6, 40):
        monkeypatch.setitem(spectral_conv.CHUNK_ELEMENTS, "cpu", chunk)
        u, weights = normal(2, 33, 3).requires_grad_(), normal(5, 3, 4).requires_grad_()
        bank_conv(u, spectrum, weights).square().sum().backward()
        gradients.append((u.grad, weights.grad))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_bank_conv_keeps_little_for_the_backward_pass(monkeypatch):
    """Never the filtered copies of the input, B L J D numbers, nor the whole response, 2 F D D_out."""
    monkeypatch.setitem(spectral_conv.CHUNK_ELEMENTS, "cpu", 2**12)
    B, L, J, D = 2, 256, 51, 32
    u, weights = normal(B, L, D).requires_grad_(), normal(J, D, D).requires_grad_()
    spectrum = bank_spectrum(normal(L, J))
    kept: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes() // 8
        return tensor

    with saved_tensors_hooks(remember, lambda tensor: tensor):
        bank_conv(u, spectrum, weights)
    assert sum(kept.values()) < B * L * J * D / 4
    assert sum(kept.values()) < 2 * L * D * D / 2


@pytest.mark.parametrize("L", [*LENGTHS, 300])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_diagonal_scan(L, dtype):
    decay, x = decays(5, dtype), normal(2, L, 5, dtype=dtype)
    torch.testing.assert_close(diagonal_scan(decay, x), slow_diagonal_scan(decay, x), rtol=1e-12, atol=1e-12)


def test_diagonal_scan_in_float32_over_a_long_sequence():
    decay, x = decays(8, torch.complex64), normal(1, 16384, 8, dtype=torch.complex64)
    expected = slow_diagonal_scan(decay.to(torch.complex128), x.to(torch.complex128))
    error = (diagonal_scan(decay, x) - expected).abs().max() / expected.abs().max()
    assert error < 1e-4


@pytest.mark.parametrize("L", LENGTHS)
def test_two_step_sum(L):
    x = normal(2, L, 3)
    expected = x.clone()
    for t in range(2, L):
        expected[:, t] += expected[:, t - 2]
    torch.testing.assert_close(two_step_sum(x), expected)


@pytest.mark.parametrize("L", [*LENGTHS, 300])
@pytest.mark.parametrize("k", [1, 2, 4, 20])
@pytest.mark.parametrize("carried", [0, 512])
def test_autoregression(L, k, carried, monkeypatch):
    monkeypatch.setattr(recurrence, "MAX_CARRIED_STATE", carried)
    taps, x = normal(k, 3, 3) / (3 * k), normal(2, L, 3)
    torch.testing.assert_close(autoregression(taps, x), slow_autoregression(taps, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (channel_conv, (normal(1, 5, 2), normal(2, 5))),
        (bank_conv, (normal(1, 5, 2), bank_spectrum(normal(5, 3)), normal(3, 2, 1))),
        (diagonal_scan, (decays(2), normal(1, 11, 2, dtype=torch.complex128))),
        (two_step_sum, (normal(1, 5, 2),)),
        (autoregression, (normal(2, 2, 2) / 4, normal(1, 11, 2))),
    ],
)
def test_gradients(function, inputs, monkeypatch):
    monkeypatch.setattr(scan, "CHUNK", 2)
    monkeypatch.setattr(recurrence, "CHUNK", 2)
    assert torch.autograd.gradcheck(function, [value.clone().requires_grad_() for value in inputs])


SPECTRUM = bank_spectrum(normal(40, 5))


@pytest.mark.parametrize(
    ("function", "parameter", "x"),
    [
        (lambda k, u: channel_conv(u, k), normal(3, 2, 40), normal(1, 40, 2)),
        (lambda w, u: bank_conv(u, SPECTRUM, w), normal(3, 5, 2, 2), normal(1, 40, 2)),
        (diagonal_scan, decays(6, torch.float64).view(3, 2), normal(1, 40, 2)),
        (autoregression, normal(3, 2, 2, 2) / 4, normal(1, 40, 2)),
    ],
)
def test_stacked_parameters(function, parameter, x):
    """`torch.func` over a stack of models gives each one's own gradient."""

    def loss(parameter: Tensor, x: Tensor) -> Tensor:
        return function(parameter, x).square().sum()

    stacked = vmap(grad(loss), (0, None))(parameter, x)
    separate = torch.stack([grad(loss)(one, x) for one in parameter])
    torch.testing.assert_close(stacked, separate)


def test_precision_is_raised_but_never_lowered():
    assert at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert at_least_float32(torch.zeros(1, dtype=torch.float16)).dtype == torch.float32
    assert at_least_float32(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
