"""STU-T and the filters of Z_L, against their definitions."""

from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from lra_bench.core.errors import ConfigError
from lra_bench.core.specs import MixerContext
from lra_bench.models.stu import STU, STUConfig
from lra_bench.models.stu_t import STUT, STUTConfig
from lra_bench.nn.ops import spectral
from lra_bench.nn.ops.spectral import compute_signed_filters, spectral_filters

# STU-T


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def stu_t(alternating: str = "own", d_out: int = 3, max_len: int = 40) -> STUT:
    torch.manual_seed(0)
    return STUT(STUTConfig(num_filters=6, alternating=alternating), MixerContext(3, d_out, max_len)).double()


def slow_stu_t(layer: STUT, x: Tensor) -> Tensor:
    """The sum over lags and filters, with M_k = M_in diag(F_k) written out."""
    K = layer.cfg.num_filters
    F_minus = layer.F_minus if layer.cfg.alternating == "own" else layer.F_plus
    y = x.new_zeros(len(x), x.shape[1], layer.ctx.d_out)
    for t in range(x.shape[1]):
        for i in range(t + 1):
            for k in range(K):
                filtered = layer.bank[i, k] * x[:, t - i]
                y[:, t] += filtered @ layer.M_in @ torch.diag(layer.F_plus[k])
                y[:, t] += (-1) ** i * filtered @ layer.M_in @ torch.diag(F_minus[k])
    return y


@pytest.mark.parametrize("alternating", ["own", "shared"])
@pytest.mark.parametrize(("length", "d_out"), [(1, 3), (2, 1), (7, 3), (23, 5), (40, 2)])
def test_stu_t_is_its_sum(alternating, length, d_out):
    layer, x = stu_t(alternating, d_out), normal(2, length, 3)
    torch.testing.assert_close(layer(x), slow_stu_t(layer, x), rtol=1e-11, atol=1e-12)


def test_stu_t_filters_are_scaled_by_the_fourth_root():
    sigma, phi = spectral_filters(40, 6)
    np.testing.assert_allclose(stu_t().bank[:, :6], sigma**0.25 * phi, atol=1e-7)


def test_stu_t_as_released_sees_no_odd_lag():
    """Moving an impulse by one step changes which outputs hear it: those at an odd distance never do."""
    impulse = torch.zeros(1, 40, 3, dtype=torch.float64)
    impulse[0, 0] = 1.0
    released, own = stu_t("shared")(impulse)[0], stu_t("own")(impulse)[0]
    assert released[1::2].abs().max() < 1e-15
    assert released[::2].abs().max() > 0.01
    assert own[1::2].abs().max() > 0.01


def test_stu_t_is_stu_with_factorised_matrices():
    """As a special case of STU: no taps, no outputs, and the delay of two steps taken off."""
    layer, x = stu_t(d_out=2), normal(2, 38, 3)
    plain = STU(STUConfig(num_filters=6, input_taps=0, output="none"), MixerContext(3, 2, 40)).double()
    with torch.no_grad():
        plain.M_plus.copy_(layer.M_in * layer.F_plus[:, None])
        plain.M_minus.copy_(layer.M_in * layer.F_minus[:, None])
    later = plain(torch.cat([x, x.new_zeros(2, 2, 3)], dim=1))[:, 2:]
    torch.testing.assert_close(layer(x), later, rtol=1e-6, atol=1e-7)


def test_stu_t_carries_the_narrower_of_input_and_output():
    assert stu_t(d_out=2).state_size(10) == 20
    assert stu_t(d_out=5).state_size(10) == 30


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_filters": 0}, "model.num_filters must be at least 1, got 0"),
        ({"alternating": "none"}, "model.alternating must be own or shared, got none"),
    ],
)
def test_stu_t_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        STUTConfig(**fields)


def test_stu_t_needs_a_sequence_as_long_as_it_has_filters():
    with pytest.raises(ConfigError, match=r"model.num_filters must be at most the longest sequence, 16, got 24"):
        STUT(STUTConfig(), MixerContext(3, 3, 16))


# The filters of Z_L


def hankel_l(L: int) -> mpmath.matrix:
    Z = mpmath.matrix(L, L)
    for i in range(1, L + 1):
        for j in range(1, L + 1):
            Z[i - 1, j - 1] = mpmath.mpf(8 * ((-1) ** (i + j) + 1)) / ((i + j + 3) * (i + j - 1) * (i + j + 1))
    return Z


@pytest.mark.parametrize("L", [1, 2, 3, 8, 17, 32])
def test_every_signed_filter_is_exact_at_small_lengths(L):
    with mpmath.workprec(600):
        values, vectors = mpmath.eigsy(hankel_l(L))
        sigma = np.array(values.T.tolist()[0], dtype=object)[::-1].astype(np.float64)
        phi = np.array(vectors.tolist(), dtype=object)[:, ::-1].astype(np.float64)
    for K in {1, (L + 1) // 2, L}:
        ours, filters = compute_signed_filters(L, K)
        np.testing.assert_allclose(ours, sigma[:K], rtol=1e-9)
        np.testing.assert_allclose(np.abs(filters), np.abs(phi[:, :K]), atol=1e-9)


@pytest.mark.parametrize(("L", "K"), [(64, 48), (257, 33), (1500, 48)])
def test_signed_filters_are_orthonormal_descending_and_signed(L, K):
    sigma, phi = compute_signed_filters(L, K)
    assert sigma[-1] > 0
    assert np.all(np.diff(sigma) < 0)
    np.testing.assert_allclose(phi.T @ phi, np.eye(K), atol=1e-13)
    assert (phi[np.abs(phi).argmax(0), np.arange(K)] > 0).all()


@pytest.mark.parametrize(("L", "K"), [(513, 12), (1500, 48)])
def test_interpolated_signed_rows_are_those_of_the_whole_matrix(monkeypatch, L, K):
    sigma, phi = compute_signed_filters(L, K)
    monkeypatch.setattr(spectral, "_panels", lambda seq_len, nodes: [np.arange(1.0, seq_len + 1)])
    all_rows = compute_signed_filters(L, K)
    np.testing.assert_allclose(sigma, all_rows[0], rtol=1e-9)
    np.testing.assert_allclose(phi, all_rows[1], atol=1e-10)


def test_signed_filters_have_a_cache_file_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_BENCH_CACHE_DIR", str(tmp_path))
    spectral_filters.cache_clear()
    _, phi = spectral_filters(40, 5, "Z_L")
    np.testing.assert_array_equal(phi, compute_signed_filters(40, 5)[1])
    assert not np.array_equal(phi, spectral_filters(40, 5)[1])
    version = spectral.FILTERS_VERSION
    names = {path.name for path in (tmp_path / "filters").glob("*.npz")}
    assert names == {f"stu_v{version}_L40_K5.npz", f"stu_zl_v{version}_L40_K5.npz"}
    spectral_filters.cache_clear()


def test_signed_filters_represent_eigenvalues_of_both_signs():
    """Projections of (a^2 - 1) a^j on the first K filters, for a of either sign."""
    decay = np.stack([(a**2 - 1) * np.power(a, np.arange(256)) for a in (0.9999, 0.9, 0.5, -0.5, -0.9, -0.9999)], 1)
    errors = []
    for K in (2, 10, 20, 30, 40):
        phi = compute_signed_filters(256, K)[1]
        errors.append(np.linalg.norm(decay - phi @ (phi.T @ decay)))
    assert all(later < earlier / 10 for earlier, later in pairwise(errors))
    assert errors[-1] < 1e-7


def test_stu_of_z_l_has_no_alternating_copies():
    cfg = STUConfig(num_filters=6, hankel="Z_L", alternating=False, input_taps=0)
    sigma, phi = spectral_filters(40, 6, "Z_L")
    bank = STU(cfg, MixerContext(3, 3, 40)).bank
    np.testing.assert_allclose(bank[2:], (sigma**0.25 * phi)[:-2], atol=1e-7)
    assert not bank[:2].any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hankel": "Z_M"}, "model.hankel must be Z or Z_L, got Z_M"),
        ({"hankel": "Z_L"}, "model.alternating must be false when model.hankel is Z_L, got True"),
    ],
)
def test_stu_of_z_l_refuses(fields, message):
    with pytest.raises(ConfigError, match=message):
        STUConfig(**fields)


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5])
def test_stu_filters_are_scaled_by_a_power_of_their_eigenvalues(power):
    layer = STU(STUConfig(num_filters=6, sigma_power=power), MixerContext(3, 3, 40)).double()
    sigma, phi = spectral_filters(40, 6)
    np.testing.assert_allclose(layer.bank[2:, :6], (sigma**power * phi)[:38], atol=1e-7)
