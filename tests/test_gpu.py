"""What only a CUDA device can show; `make test-gpu` runs it."""

import json
from importlib import import_module

import pytest
import torch
from torch import Tensor

from lra_bench import building, experiment
from lra_bench.config.compose import compose
from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.record import RunRecord
from lra_bench.core.registry import MODELS
from lra_bench.core.specs import MixerContext
from lra_bench.data.prepared import Order
from lra_bench.nn.ops import kernels, spectral_conv
from lra_bench.nn.ops.kernels import definitions
from tests.conftest import TINY
from tests.op_cases import CASES, Draw, assert_close, outputs_and_gradients
from tests.test_cli import small

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

GPU = torch.device("cuda", 0)
LARGE = {
    "channel_conv": {"B": 4, "L": 1000, "H": 40},
    "bank_conv": {"B": 5, "L": 777, "J": 27, "D": 40, "Do": 33},
    "two_step_sum": {"B": 3, "L": 1001, "D": 65},
    "autoregression": {"B": 3, "L": 1000, "D": 40, "k": 2},
    "diagonal_scan": {"B": 3, "L": 2000, "N": 70},
    "diagonal_scan of real numbers": {"B": 3, "L": 2000, "N": 70},
    "state_space": {"B": 3, "L": 1000, "N": 70, "D": 30, "Do": 20},
    "selective_scan": {"B": 2, "L": 500, "D": 20, "N": 16},
    "exponential_sums": {"L": 1000, "H": 20, "N": 32},
    "conjugate_poles": {"L": 1000, "H": 10, "J": 3, "M": 32},
}
"""Sizes at which an operation fills several blocks, and none of them exactly."""


def without_kernels(monkeypatch) -> None:
    monkeypatch.setattr(kernels, "find", lambda name, device: None)


# Kernels


@pytest.mark.parametrize("name", sorted(kernels.FILES))
def test_a_kernel_proves_itself(name):
    assert kernels.find(name, GPU) is not None


@pytest.mark.parametrize("name", sorted(kernels.FILES))
def test_a_kernel_that_raises_leaves_the_operation_to_torch(monkeypatch, caplog, name):
    file = import_module(f"{kernels.__name__}.{kernels.FILES[name]}")

    def raising(*arguments):
        raise RuntimeError("out of resources: shared memory")

    monkeypatch.setattr(file, name, raising)
    assert kernels.find.__wrapped__(name, GPU) is None
    assert "out of resources" in caplog.text


def test_the_largest_taps_that_fit():
    taps, x = torch.randn(2, 128, 128, device=GPU) / 40, torch.randn(16, 1024, 128, device=GPU)
    kernel = kernels.find("recurrence", GPU)
    for reverse in (False, True):
        expected = definitions.recurrence(taps, x, reverse)
        assert (kernel(taps, x, reverse) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_gradient_of_the_weights_is_the_same_to_the_bit_each_time():
    kernel = kernels.find("spectral_product_weights", GPU)
    U, G = (torch.randn(2049, 16, 128, dtype=torch.complex64, device=GPU) for _ in range(2))
    spectrum = torch.randn(2049, 2, 27, device=GPU)
    first = kernel(U, G, spectrum)
    assert all(torch.equal(kernel(U, G, spectrum), first) for _ in range(5))


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.mem_get_info()[0] < 30e9, reason="needs 30 GB of free GPU memory"
)
def test_a_scan_of_more_numbers_than_32_bits_count():
    x = torch.zeros(3, 2**19, 700, dtype=torch.complex64, device=GPU)
    x[:, ::1000] = 1
    h = kernels.find("scan", GPU)(torch.full((700,), 0.5 + 0j, device=GPU), x, False)
    assert torch.equal(h[:, ::1000].real, torch.ones_like(h[:, ::1000].real))
    assert torch.equal(h[:, 1::1000].real, torch.full_like(h[:, 1::1000].real, 0.5))


# Operations


def on_gpu(function):
    """The same from and to the CPU."""
    return lambda **given: function(**{n: v.to(GPU) if isinstance(v, Tensor) else v for n, v in given.items()}).cpu()


@pytest.mark.parametrize("by_kernels", [True, False])
@pytest.mark.parametrize("at", ["small", "large"])
@pytest.mark.parametrize("name", CASES)
def test_an_operation_and_its_gradients_are_those_of_float64(monkeypatch, name, at, by_kernels):
    if not by_kernels:
        without_kernels(monkeypatch)
    case = CASES[name]
    sizes = case.typical if at == "small" else LARGE[name]
    reference = case.oracle if at == "small" else case.fast
    expected = outputs_and_gradients(reference, case.arguments(sizes), case.differentiable)
    given = case.arguments(sizes, dtype=torch.float32)
    assert_close(outputs_and_gradients(on_gpu(case.fast), given, case.differentiable), expected, 1e-4)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.weights])
def test_a_stack_of_members_is_each_of_them(name):
    case = CASES[name]
    draws = [case.draw(Draw(torch.Generator().manual_seed(seed)), case.typical) for seed in range(3)]
    given = {n: v.to(GPU) if isinstance(v, Tensor) else v for n, v in draws[0].items()}
    stacked = {n: torch.stack([draw[n] for draw in draws]).to(GPU) for n in case.differentiable}
    found = torch.func.vmap(lambda own: case.fast(**{**given, **own}))(stacked)
    for i, y in enumerate(found):
        one = case.fast(**{**given, **{n: v[i] for n, v in stacked.items()}})
        assert (y - one).abs().max() <= 1e-10 * one.abs().max()


def test_the_route_names_the_kernel(monkeypatch):
    assert str(spectral_conv.route(16, 1024, 128, 128, 27, GPU)) == "kernel"
    without_kernels(monkeypatch)
    assert str(spectral_conv.route(16, 1024, 128, 128, 27, GPU)) != "kernel"


# Models


def made(name: str, width: int = 16, length: int = 257) -> SequenceMixer:
    cfg = compose(["task=lds", f"model={name}"]).config.model
    torch.manual_seed(0)
    mixer = MODELS.load(name, SequenceMixer)(cfg, MixerContext(width, width, length)).eval()
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return mixer


def passes(mixer: SequenceMixer, x: Tensor, forward=None) -> list[Tensor]:
    """Output and gradients, on the CPU."""
    mixer.zero_grad()
    y = (forward or mixer)(x)
    y.float().square().mean().backward()
    return [y.detach().cpu(), *(p.grad.cpu().clone() for p in mixer.parameters())]


@pytest.mark.parametrize("by_kernels", [True, False])
@pytest.mark.parametrize("length", [1, 257])
@pytest.mark.parametrize("name", sorted(MODELS.entries()))
def test_outputs_and_gradients_are_those_of_the_cpu(monkeypatch, name, length, by_kernels):
    if not by_kernels:
        without_kernels(monkeypatch)
    mixer, x = made(name), torch.randn(2, length, 16)
    expected = passes(mixer, x)
    for on_cpu, on_gpu in zip(expected, passes(mixer.to(GPU), x.to(GPU)), strict=True):
        assert (on_gpu - on_cpu).abs().max() <= 1e-3 * on_cpu.abs().max()


@pytest.mark.parametrize("name", sorted(MODELS.entries()))
def test_bf16_is_near_float32(name):
    mixer, x = made(name).to(GPU), torch.randn(2, 257, 16, device=GPU)
    expected, *_ = passes(mixer, x)
    with torch.autocast("cuda", torch.bfloat16):
        found = passes(mixer, x)
    assert all(part.isfinite().all() for part in found)
    assert (found[0] - expected).abs().max() <= 0.1 * expected.abs().max()


@pytest.mark.parametrize("name", ["stu", "lru", "s4d", "mamba"])
def test_a_compiled_model_has_the_same_numbers(name):
    mixer, x = made(name).to(GPU), torch.randn(2, 257, 16, device=GPU)
    found = passes(mixer, x, torch.compile(mixer))
    for ours, expected in zip(found, passes(mixer, x), strict=True):
        assert (ours - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("name", ["stu", "s4d", "lru"])
def test_a_layer_of_65536_steps_trains_in_4_gb(name):
    mixer, x = made(name, 64, 65536).to(GPU), torch.randn(1, 65536, 64, device=GPU)
    torch.cuda.reset_peak_memory_stats()
    assert all(part.isfinite().all() for part in passes(mixer, x))
    assert torch.cuda.max_memory_allocated() < 4e9


# Trials and benchmarks


def test_a_trial_on_the_gpu_names_it(cli, folder):
    cli("train", "task=lds", "model=stu", small("stu"), *TINY, "train.accelerator=gpu")
    (path,) = folder.glob("runs/train/*/record.json")
    record = RunRecord.read(path)
    assert record.environment.device == torch.cuda.get_device_name(0)
    assert record.budget.peak_memory_mb > 0


def test_data_on_the_gpu_give_the_trial_that_data_sent_to_it_give(tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "store"))
    words = ("task=tests.toy_prepared:Toy", "task.size=tiny", "model=lru", *TINY[3:], "train.global_batch_size=4")
    wheres = ("true", "false", "auto")
    configs = [compose([*words, "train.accelerator=gpu", f"train.data_on_device={where}"]).config for where in wheres]
    building.build_task(configs[0]).prepare(Order())
    kept, sent, auto = (experiment.run(config, tmp_path / str(n)) for n, config in enumerate(configs))
    assert len(kept.curve) == len(sent.curve) == len(auto.curve) > 0
    for a, b, c in zip(kept.curve, sent.curve, auto.curve, strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-5)
        assert a.train_loss == pytest.approx(c.train_loss, rel=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        ("layer", "stu", "lru", "--shape", "2,64,8", "--device", "cuda"),
        ("scaling", "stu", "--lengths", "64,128", "--width", "8", "--device", "cuda"),
        ("train", "lds", "lru", *TINY[:3], "train.log_every=2", "train.accelerator=gpu"),
    ],
)
def test_a_benchmark_on_the_gpu_names_it(cli, folder, words):
    cli("bench", *words, "--seconds", "0.01", "--json", "found.json")
    found = json.loads((folder / "found.json").read_text())
    assert torch.cuda.get_device_name(0) in json.dumps(found)
    assert found["rows"]
