"""Lengths of transforms."""

import pytest

from lra_bench.nn.ops.fft_conv import fft_length


@pytest.mark.parametrize("seq_len", [*range(1, 200), 784, 1000, 4097, 16384])
def test_fft_length_holds_a_linear_convolution_and_is_smooth(seq_len):
    n = fft_length(seq_len)
    assert n % 2 == 0
    assert 2 * seq_len <= n <= 2.3 * seq_len + 2
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    assert n == 1
