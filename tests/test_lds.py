from dataclasses import replace
from itertools import islice
from typing import get_args

import numpy as np
import pytest
import torch

from lra_bench.config.compose import compose
from lra_bench.core.settings import TrainConfig
from lra_bench.tasks.lds import LDS, LDSConfig
from lra_bench.tasks.linear_systems import (
    COMPLEX_SPECTRA,
    ONE_SIGN,
    Spectrum,
    diagonal_scan,
    draw_eigenvalues,
    draw_noise,
    draw_system,
    kalman_one_step,
    monic_chebyshev,
    output_variance,
    simulate,
)

CASES = [
    (spectrum, symmetric)
    for spectrum in get_args(Spectrum)
    for symmetric in (True, False)
    if not (symmetric and spectrum in COMPLEX_SPECTRA) and (symmetric or spectrum not in ONE_SIGN)
]


def make(data_seed: int = 0, **fields) -> LDS:
    cfg = LDSConfig(**{"name": "lds", "seq_len": 40, "val_size": 6, "test_size": 5, **fields})
    return LDS(cfg, data_seed, "clean", TrainConfig(global_batch_size=4), seed=0)


def step_by_step(system, u, noise=None):
    """The definition, one step at a time, with the real matrices."""
    x, outputs = np.zeros((len(u), len(system.A))), []
    for t in range(u.shape[1]):
        x = x @ system.A.T + u[:, t] @ system.B.T + (noise[0][:, t] if noise else 0)
        outputs.append(x @ system.C.T + u[:, t] @ system.D.T + (noise[1][:, t] if noise else 0))
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize(("spectrum", "symmetric"), CASES)
@pytest.mark.parametrize("length", [1, 2, 37])
def test_the_scan_equals_the_definition(spectrum, symmetric, length):
    rng = np.random.default_rng(1)
    system = draw_system(rng, 3, 6, 2, spectrum, 0.9999, symmetric, process_noise=0.3, observation_noise=0.2)
    u = rng.standard_normal((4, length, 3))
    noise = tuple(np.stack(part) for part in zip(*(draw_noise(rng, system, length) for _ in u), strict=True))
    assert system.A.dtype == np.float64
    np.testing.assert_allclose(simulate(system, u), step_by_step(system, u), atol=1e-10)
    np.testing.assert_allclose(simulate(system, u, noise), step_by_step(system, u, noise), atol=1e-10)


@pytest.mark.parametrize(("spectrum", "symmetric"), CASES)
def test_spectra_are_what_they_say(spectrum, symmetric):
    system = draw_system(np.random.default_rng(0), 3, 64, 3, spectrum, 0.9, symmetric)
    moduli = np.abs(np.linalg.eigvals(system.A))
    assert np.allclose(system.A, system.A.T) == symmetric
    assert moduli.max() <= 0.9 + 1e-9
    if spectrum.endswith("marginal"):
        np.testing.assert_allclose(moduli, 0.9, atol=1e-9)
    if spectrum in ONE_SIGN:
        assert (np.sign(system.eigenvalues) == ONE_SIGN[spectrum]).all()
    if spectrum == "gap":
        assert sorted(moduli)[-2] <= 0.45 + 1e-9
    np.testing.assert_allclose(sorted(np.abs(system.eigenvalues)), sorted(moduli), atol=1e-9)
    assert np.iscomplexobj(system.eigenvalues) == (spectrum in COMPLEX_SPECTRA)


@pytest.mark.parametrize("data_seed", range(3))
def test_the_asymmetric_preset_has_the_papers_spectrum_and_a_skewed_eigenbasis(data_seed):
    """On the data seeds of its sweep. Eigenvalues of one sign make A a multiple of the identity, as of data seed 4."""
    cfg = compose(["task=lds_asymmetric", "model=stu", f"seed={data_seed}"]).config.task
    paper = compose(["task=lds", "model=stu"]).config.task
    assert replace(cfg, name="lds", symmetric=True) == paper
    system, usual = (LDS(each, data_seed, "clean", TrainConfig(), 0).system for each in (cfg, paper))
    assert not np.allclose(system.A, system.A.T)
    assert np.linalg.cond(system.from_modal) == pytest.approx(10)
    np.testing.assert_array_equal(system.eigenvalues, usual.eigenvalues)
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(system.A)), np.sort(usual.eigenvalues), atol=1e-12)


def test_the_default_is_the_papers_system():
    task = make()
    assert (task.cfg.d_in, task.cfg.d_state, task.cfg.d_out) == (3, 4, 3)
    assert set(np.abs(np.diag(task.system.A))) == {0.9999}
    np.testing.assert_array_equal(task.system.D, np.diag(np.diag(task.system.D)))
    entries = np.concatenate([make(seed).system.B.ravel() for seed in range(200)])
    assert abs(entries.mean()) < 0.1
    assert abs(entries.std() - 1) < 0.05


def test_the_variance_is_exact():
    rng = np.random.default_rng(2)
    system = draw_system(rng, process_noise=0.5, observation_noise=2.0, spectrum="real_uniform")
    u = rng.standard_normal((4000, 30, 3))
    noise = tuple(np.stack(part) for part in zip(*(draw_noise(rng, system, 30) for _ in u), strict=True))
    assert simulate(system, u, noise).var() == pytest.approx(output_variance(system, 30), rel=0.03)


def test_normalised_outputs_have_unit_variance():
    task = make(normalize=True, test_size=2000)
    assert task.examples("test", range(2000))[1].var() == pytest.approx(1, rel=0.05)


def test_the_kalman_filter_is_the_best_that_knows_the_past():
    """With d_out = n = 1 its steady state is known in closed form: p = a^2 p r / (p + r) + q."""
    rng = np.random.default_rng(3)
    system = draw_system(rng, 1, 1, 1, "real_marginal", 0.9, process_noise=0.7, observation_noise=1.3)
    u = rng.standard_normal((400, 300, 1))
    noise = tuple(np.stack(part) for part in zip(*(draw_noise(rng, system, 300) for _ in u), strict=True))
    y = simulate(system, u, noise)
    p, c2, q, r = 1.0, float(system.C[0, 0] ** 2), 0.49, 1.69
    for _ in range(500):
        p = 0.81 * (p - p * c2 * p / (c2 * p + r)) + q
    errors = (y - kalman_one_step(system, u, y))[:, 100:] ** 2
    assert errors.mean() == pytest.approx(c2 * p + r, rel=0.03)


def test_baselines_bracket_every_model():
    noisy = make(process_noise=0.3, observation_noise=1.0, test_size=64).baselines()
    assert noisy["kalman_given_past_outputs"]["mse"] < noisy["noise_floor"]["mse"] < noisy["zero_predictor"]["mse"]
    assert noisy["zero_predictor"]["nmse"] == pytest.approx(1, rel=0.05)
    assert set(make().baselines()) == {"zero_predictor"}


def test_the_noise_floor_is_observation_noise_where_there_is_no_other():
    task = make(observation_noise=0.5, test_size=400)
    assert task.baselines()["noise_floor"]["mse"] == pytest.approx(0.25, rel=0.05)
    assert task.baselines()["kalman_given_past_outputs"]["mse"] == pytest.approx(0.25, rel=0.05)


def test_an_example_is_a_function_of_seed_split_and_index():
    task, again = make(), make()
    batch = task.source("train").__getitems__([5, 6, 7])
    other = again.source("train").__getitems__([7, 5])
    assert torch.equal(batch.x[[2, 0]], other.x)
    assert torch.equal(batch.y[[2, 0]], other.y)
    assert batch.x.dtype == batch.y.dtype == torch.float32
    splits = [task.source(split).__getitems__([0]).x for split in ("train", "val", "test")]
    assert not any(torch.equal(a, b) for a in splits for b in splits if a is not b)
    assert not torch.equal(make(1).source("train").__getitems__([5]).x, batch.x[:1])


def test_noisy_examples_are_reproducible_too():
    task, again = (make(process_noise=0.1, observation_noise=0.1) for _ in range(2))
    assert torch.equal(task.source("test").__getitems__([3]).y, again.source("test").__getitems__([1, 3]).y[1:])


def test_a_delay_shifts_the_outputs():
    plain, late = make(), make(delay=3)
    _, y = plain.examples("val", range(2))
    _, shifted = late.examples("val", range(2))
    np.testing.assert_allclose(shifted[:, 3:], y[:, :-3], atol=1e-9)
    assert np.all(shifted[:, :3] == 0)


def test_preconditioning_leaves_a_short_memory():
    """Beyond lag n the response of the targets is C p_n(A) A^j B, where p_n is at most 2^(1-n) on the spectrum."""
    degree, length = 6, 200
    assert np.abs(np.polyval(monic_chebyshev(degree), np.linspace(-1, 1, 1001))).max() == pytest.approx(
        2.0 ** (1 - degree)
    )
    task = make(precondition=degree, seq_len=length)
    system, p_n = task.system, np.zeros((4, 4))
    for coefficient in monic_chebyshev(degree):
        p_n = p_n @ system.A + coefficient * np.eye(4)
    impulse = np.zeros((3, length, 3))
    impulse[:, 0] = np.eye(3)
    response = task._targets(simulate(system, impulse))
    expected = [system.C @ p_n @ np.linalg.matrix_power(system.A, j) @ system.B for j in range(length - degree)]
    np.testing.assert_allclose(response[:, degree + 1 :], np.stack(expected[1:]).transpose(2, 0, 1), atol=1e-10)
    assert task.examples("test", [0])[1].std() < make(seq_len=length).examples("test", [0])[1].std()


def test_preconditioned_baselines_still_bracket():
    found = make(precondition=3, process_noise=0.3, observation_noise=1.0, test_size=64).baselines()
    plain = make(process_noise=0.3, observation_noise=1.0, test_size=64).baselines()
    errors = [found[name]["mse"] for name in ("kalman_given_past_outputs", "noise_floor", "zero_predictor")]
    assert errors == sorted(errors)
    assert errors[0] == pytest.approx(plain["kalman_given_past_outputs"]["mse"])


def test_the_fingerprint_moves_with_everything_that_decides_the_data():
    prints = [make().fingerprint(), make(1).fingerprint(), make(delay=1).fingerprint(), make(seq_len=41).fingerprint()]
    assert len(set(prints)) == 4
    assert make().fingerprint() == prints[0]


@pytest.mark.parametrize("name", ["lds", "lds_asymmetric", "lds_complex", "lds_noisy", "lds_large"])
def test_presets_give_finite_data(name):
    cfg = compose([f"task={name}", "model=stu", "task.seq_len=32", "task.test_size=3"]).config.task
    task = LDS(cfg, 0, "clean", TrainConfig(), 0)
    assert task.spec.name == name
    batch = task.source("test").__getitems__([0, 1, 2])
    assert torch.isfinite(batch.y).all()
    assert batch.y.std() > 0


def scan_by_definition(eigenvalues, drive):
    """As it was first written, all sequences at once: the same products and sums, so the same bits."""
    x = np.array(drive, dtype=np.result_type(eigenvalues, drive))
    power, shift = eigenvalues, 1
    while shift < x.shape[1]:
        x[:, shift:] += power * x[:, :-shift]
        power, shift = power * power, 2 * shift
    return x


@pytest.mark.parametrize("spectrum", ["real_uniform", "complex_disc"])
@pytest.mark.parametrize(("states", "length"), [(4, 1), (4, 37), (6, 512), (80, 33)])
def test_the_scan_has_kept_its_bits(spectrum, states, length):
    rng = np.random.default_rng(3)
    eigenvalues = draw_eigenvalues(rng, states, spectrum, 0.99)
    drive = rng.standard_normal((5, length, states)).astype(eigenvalues.dtype)
    assert np.array_equal(diagonal_scan(eigenvalues, drive), scan_by_definition(eigenvalues, drive))


@pytest.mark.parametrize("fields", [{}, {"process_noise": 0.3, "delay": 3, "precondition": 2}, {"normalize": True}])
@pytest.mark.parametrize("workers", [0, 2])
def test_blocks_of_steps_are_single_examples_to_the_bit(fields, workers):
    cfg = LDSConfig(name="lds", seq_len=40, val_size=6, test_size=5, **fields)
    task = LDS(cfg, 0, "clean", TrainConfig(global_batch_size=3, workers=workers), seed=0)
    source = task.source("train")
    assert source.block > 2 * 3
    batches = list(islice(task.train_loader(start=5), 2 * source.block // 3))
    for step, batch in enumerate(batches, start=5):
        singles = [source[3 * step + place] for place in range(3)]
        assert torch.equal(batch.x, torch.cat([single.x for single in singles]))
        assert torch.equal(batch.y, torch.cat([single.y for single in singles]))


def test_an_evaluation_set_is_simulated_once(monkeypatch):
    task = make()
    simulated = []
    original = LDS.examples
    monkeypatch.setattr(LDS, "examples", lambda self, *which: simulated.append(which) or original(self, *which))
    loader = task.eval_loader("val")
    assert [len(batch.y) for batch in loader] == [len(batch.y) for batch in loader]
    assert len(simulated) == 1
