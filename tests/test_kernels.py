"""The CUDA kernels without a GPU: interpreted, compiled, and the probe that decides whether they are used."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from lra_bench.nn.ops import kernels
from lra_bench.nn.ops.kernels.definitions import DEFINITIONS
from lra_bench.nn.ops.kernels.proof import prove

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
KERNELS = sorted(kernels.FILES)
with_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton, which there is for Linux alone")


def program(*words: str, **environment: str) -> dict:
    """What `python -m words` prints."""
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


# In Triton's interpreter


@pytest.fixture(scope="module")
def interpreted():
    return program("tests.interpreted_kernels", TRITON_INTERPRET="1")


@with_triton
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_computes_its_definition(interpreted, name):
    assert interpreted[name] <= 1e-6


@with_triton
@pytest.mark.parametrize(
    ("operation", "used"),
    [
        ("diagonal_scan", ["scan"]),
        ("autoregression", ["recurrence"]),
        ("bank_conv", ["spectral_product", "spectral_product_weights"]),
    ],
)
def test_an_operation_and_its_gradients_by_kernels(interpreted, operation, used):
    error, launched = interpreted[operation]
    assert launched == used
    assert error <= 1e-5


# As machine code


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return program("tests.compiled_kernels", "80", TRITON_CACHE_DIR=str(tmp_path_factory.mktemp("triton")))


@with_triton
@pytest.mark.parametrize("name", ["scan", "scan ends", *KERNELS[:1], *KERNELS[2:]])
def test_a_kernel_compiles_for_a_gpu(compiled, name):
    build = compiled[name]
    assert build["bytes"] > 0
    assert build["shared"] <= 99 * 1024, "more shared memory than consumer GPUs have"
    assert "mma" not in build["kinds"], "tensor cores would round to TF32"


@with_triton
@pytest.mark.parametrize("name", ["scan", "scan ends"])
def test_a_thread_scans_its_channels_without_the_others(compiled, name):
    assert compiled[name]["kinds"] == ["ld.global.v4", "st.global.v4"]


# The probe


def right(name):
    definition, _ = DEFINITIONS[name]
    return lambda *arguments: definition(*arguments).to(torch.float32 if name in REAL else torch.complex64)


REAL = {"recurrence", "spectral_product_weights"}


def tried(name, load):
    definition, cases = DEFINITIONS[name]
    return prove(name, load, definition, cases(CPU), kernels.TOLERANCE)


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_that_agrees_is_used(name, caplog):
    kernel = right(name)
    assert tried(name, lambda: kernel) is kernel
    assert not caplog.records


def missing():
    raise ModuleNotFoundError("No module named 'triton'")


def raising(*arguments):
    raise RuntimeError("no kernel image is available\nfor execution on the device")


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (missing, "ModuleNotFoundError: No module named 'triton'"),
        (lambda: raising, "RuntimeError: no kernel image is available"),
        (
            lambda: lambda *given: right("scan")(*given) * (1 + 1e-4),
            "its numbers differ from the definition's by 1.0e-04",
        ),
        (lambda: lambda *given: right("scan")(*given) * torch.nan, "its numbers differ from the definition's by nan"),
        (lambda: lambda *given: right("scan")(*given)[:, :-1], "its numbers differ from the definition's by inf"),
        (lambda: lambda decay, x, reverse: right("scan")(decay, x, False), "its numbers differ"),
    ],
)
def test_a_kernel_that_does_not_do_is_not_used_and_the_log_says_why(caplog, load, reason):
    assert tried("scan", load) is None
    (record,) = caplog.records
    assert record.getMessage().startswith(f"no kernel for scan, PyTorch takes its place: {reason}")


def test_a_device_is_probed_once(monkeypatch, caplog):
    """Here, where there is no CUDA device, the probe fails on the first tensor that it makes there."""
    monkeypatch.setattr(kernels, "find", kernels.find.__wrapped__)
    probes = []
    monkeypatch.setattr("lra_bench.nn.ops.kernels.proof.prove", lambda name, *others: probes.append(name))
    assert kernels.find("scan", GPU) is None
    assert probes == ["scan"]
    assert kernels.find("scan", CPU) is None
    assert probes == ["scan"]


def test_nothing_of_triton_is_imported_without_cuda():
    code = (
        "import json, sys, torch; from lra_bench.nn.ops import kernels, recurrence, scan, spectral_conv; "
        "found = [kernels.find(name, torch.device('cpu')) for name in kernels.FILES]; "
        "scan.diagonal_scan(torch.ones(2), torch.ones(1, 9, 2)); "
        "recurrence.autoregression(torch.ones(1, 2, 2), torch.ones(1, 9, 2)); "
        "ours = [name for name in sys.modules if name.startswith(('triton', kernels.__name__ + '.'))]; "
        "print(json.dumps([found, ours]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[None] * len(kernels.FILES), []]


@pytest.mark.parametrize(
    ("k", "D", "fits"), [(1, 1, True), (2, 128, True), (3, 64, True), (2, 129, False), (3, 128, False)]
)
def test_taps_fit_into_registers(k, D, fits):
    assert kernels.recurrence_fits(k, D) is fits
