"""The spectral filters, against definitions evaluated in long arithmetic."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mpmath
import numpy as np
import pytest

from lra_bench.core.errors import ConfigError
from lra_bench.nn.ops import spectral
from lra_bench.nn.ops.spectral import compute_filters, spectral_filters


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_BENCH_CACHE_DIR", str(tmp_path))
    spectral_filters.cache_clear()
    yield tmp_path / "filters"
    spectral_filters.cache_clear()


def hankel(L: int, bits: int) -> np.ndarray:
    """Z as integers with `bits` fractional bits."""
    i = np.arange(1, L + 1).astype(object)
    s = i[:, None] + i[None, :]
    return (2 << bits) // (s**3 - s)


def normalised(phi: np.ndarray) -> np.ndarray:
    """Unit columns whose entry of largest magnitude is positive."""
    peak = np.abs(phi).argmax(0)
    return phi * np.sign(phi[peak, np.arange(phi.shape[1])]) / np.linalg.norm(phi, axis=0)


def direct_eigenpairs(L: int) -> tuple[np.ndarray, np.ndarray]:
    """All eigenpairs, descending: mpmath's eigensolver on Z itself."""
    with mpmath.workprec(600):
        Z = mpmath.matrix(hankel(L, 600).tolist()) / mpmath.mpf(2) ** 600
        values, vectors = mpmath.eigsy(Z)
        sigma = np.array(values.T.tolist()[0], dtype=object)[::-1].astype(np.float64)
        phi = np.array(vectors.tolist(), dtype=object)[:, ::-1].astype(np.float64)
    return sigma, normalised(phi)


@pytest.mark.parametrize("L", [1, 2, 3, 8, 16, 21, 48])
def test_every_filter_is_exact_at_small_lengths(L):
    sigma, phi = direct_eigenpairs(L)
    for K in {1, (L + 1) // 2, L}:
        ours, filters = compute_filters(L, K)
        np.testing.assert_allclose(ours, sigma[:K], rtol=1e-9)
        np.testing.assert_allclose(filters, phi[:, :K], atol=1e-9)


def test_filters_below_the_resolution_of_float64_are_exact():
    """Rayleigh-Ritz in long arithmetic on the span of 38 filters at L = 512, where the 30th eigenvalue is 1e-20.

    Ritz values lie below the eigenvalues, and their sum below the trace: what the trace leaves over bounds all errors.
    """
    L, K, size, bits = 512, 30, 38, 300
    sigma, _ = compute_filters(L, K)
    assert sigma[-1] < 1e-19
    Z = hankel(L, bits)
    span = np.array([[int(v * 2**80) for v in row] for row in compute_filters(L, size)[1]], dtype=object)
    with mpmath.workprec(bits):
        unit = mpmath.mpf(2) ** bits
        projected = mpmath.matrix((span.T @ Z @ span >> 160).tolist()) / unit
        gram = mpmath.matrix((span.T @ span << bits - 160).tolist()) / unit
        whiten = mpmath.cholesky(gram) ** -1
        values, vectors = mpmath.eigsy(whiten * projected * whiten.T)
        left_over = float(int(Z.trace()) / unit - mpmath.fsum(values))
        rotation = np.array((whiten.T * vectors).tolist(), dtype=object).astype(np.float64)[:, ::-1]
        exact = np.array(values.T.tolist()[0], dtype=object).astype(np.float64)[::-1]
    assert 0 < left_over < 1e-3 * sigma[-1]
    np.testing.assert_allclose(sigma, exact[:K], rtol=1e-8)
    np.testing.assert_allclose(np.abs(rotation[:K, :K]), np.eye(K), atol=1e-8)


@pytest.mark.parametrize(("L", "K"), [(64, 24), (64, 64), (512, 40), (4096, 24)])
def test_orthonormal_descending_and_signed(L, K):
    sigma, phi = compute_filters(L, K)
    assert sigma.shape == (K,)
    assert phi.shape == (L, K)
    assert sigma.dtype == phi.dtype == np.float64
    assert sigma[-1] > 0
    assert np.all(np.diff(sigma) < 0)
    np.testing.assert_allclose(phi.T @ phi, np.eye(K), atol=1e-13)
    assert (phi[np.abs(phi).argmax(0), np.arange(K)] > 0).all()


@pytest.mark.parametrize(("L", "K"), [(200, 6), (257, 24), (1500, 24), (1500, 40)])
def test_interpolated_rows_are_those_of_the_whole_matrix(monkeypatch, L, K):
    sigma, phi = compute_filters(L, K)
    monkeypatch.setattr(spectral, "_panels", lambda seq_len, nodes: [np.arange(1.0, seq_len + 1)])
    all_rows = compute_filters(L, K)
    np.testing.assert_allclose(sigma, all_rows[0], rtol=1e-9)
    np.testing.assert_allclose(phi, all_rows[1], atol=1e-10)


def test_more_filters_do_not_change_the_first():
    few, many = compute_filters(300, 10), compute_filters(300, 30)
    np.testing.assert_allclose(few[0], many[0][:10], rtol=1e-9)
    np.testing.assert_allclose(few[1], many[1][:, :10], atol=1e-9)


def test_same_call_same_bits():
    first, second = compute_filters(128, 24), compute_filters(128, 24)
    assert first[0].tobytes() == second[0].tobytes()
    assert first[1].tobytes() == second[1].tobytes()


@pytest.mark.parametrize("K", [0, 9])
def test_impossible_number_of_filters(K):
    with pytest.raises(ConfigError, match=rf"between 1 and the sequence length, 8; got {K}"):
        spectral_filters(8, K)


class TestCache:
    def test_second_process_reads_what_the_first_wrote(self, cache, monkeypatch):
        first = spectral_filters(40, 5)
        assert [path.suffix for path in sorted(cache.glob("*.npz"))] == [".npz"]
        spectral_filters.cache_clear()
        monkeypatch.setattr(spectral, "compute_filters", _must_not_run)
        second = spectral_filters(40, 5)
        np.testing.assert_array_equal(first[1], second[1])

    def test_version_is_part_of_the_name(self, cache):
        spectral_filters(40, 5)
        assert [path.name for path in cache.glob("*.npz")] == [f"stu_v{spectral.FILTERS_VERSION}_L40_K5.npz"]

    def test_result_cannot_be_changed_by_its_users(self):
        _, phi = spectral_filters(40, 5)
        with pytest.raises(ValueError, match="read-only"):
            phi[0] = 0

    @pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 cut short"])
    def test_corrupt_file_is_made_anew(self, cache, content):
        expected = spectral_filters(40, 5)
        (file,) = cache.glob("*.npz")
        whole = file.read_bytes()
        file.write_bytes(content)
        spectral_filters.cache_clear()
        np.testing.assert_array_equal(spectral_filters(40, 5)[1], expected[1])
        assert file.read_bytes() == whole

    def test_flipped_bytes_are_noticed(self, cache):
        expected = spectral_filters(40, 5)
        (file,) = cache.glob("*.npz")
        whole = bytearray(file.read_bytes())
        middle = len(whole) // 2
        whole[middle : middle + 8] = b"\x00" * 8
        file.write_bytes(whole)
        spectral_filters.cache_clear()
        np.testing.assert_array_equal(spectral_filters(40, 5)[1], expected[1])

    def test_pickled_file_is_not_unpickled(self, cache):
        cache.mkdir()
        bomb = np.array([_Bomb()], dtype=object)
        np.savez(cache / f"stu_v{spectral.FILTERS_VERSION}_L40_K5.npz", sigma=bomb, phi=bomb)
        assert spectral_filters(40, 5)[0].shape == (5,)

    def test_file_of_another_shape_is_made_anew(self, cache):
        cache.mkdir()
        np.savez(cache / f"stu_v{spectral.FILTERS_VERSION}_L40_K5.npz", sigma=np.ones(4), phi=np.ones((40, 4)))
        assert spectral_filters(40, 5)[1].shape == (40, 5)

    def test_unwritable_folder_only_skips_the_cache(self, tmp_path, monkeypatch):
        blocked = tmp_path / "a_file"
        blocked.write_text("")
        monkeypatch.setenv("LRA_BENCH_CACHE_DIR", str(blocked))
        np.testing.assert_array_equal(spectral_filters(40, 5)[1], compute_filters(40, 5)[1])

    @pytest.mark.usefixtures("cache")
    def test_read_only_folder_is_still_read(self, monkeypatch):
        expected = spectral_filters(40, 5)
        spectral_filters.cache_clear()
        monkeypatch.setattr(spectral, "compute_filters", _must_not_run)
        monkeypatch.setattr(spectral, "FileLock", _no_lock)
        np.testing.assert_array_equal(spectral_filters(40, 5)[1], expected[1])

    def test_many_at_once(self, cache, monkeypatch):
        calls = []
        monkeypatch.setattr(spectral, "compute_filters", lambda L, K: calls.append(L) or compute_filters(L, K))
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: spectral_filters.__wrapped__(100, 20), range(8)))
        assert len(calls) == 1
        assert len({phi.tobytes() for _, phi in results}) == 1
        assert not list(cache.glob("*.part"))


def test_needs_no_torch():
    code = "import sys, lra_bench.nn.ops.spectral as s; s.spectral_filters(32, 4); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, cwd=Path.cwd()).returncode == 0


class _Bomb:
    def __reduce__(self):
        return (os._exit, (3,))


def _must_not_run(L: int, K: int) -> None:
    raise AssertionError("computed again")


def _no_lock(path: Path) -> None:
    raise PermissionError(path)
