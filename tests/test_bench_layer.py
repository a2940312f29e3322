"""`lra-bench bench layer` and `scaling`, at sizes that take a moment."""

import json

import numpy as np
import pytest
import torch

from lra_bench.benchmarks.cases import Case, Shape, our_maker, shape_of
from lra_bench.benchmarks.contestant import Contestant
from lra_bench.benchmarks.roofline import Operations, Rates, least_bytes
from lra_bench.benchmarks.scaling import fitted_exponent
from lra_bench.core.errors import ConfigError

TINY = ("--shape", "2,32,4", "--seconds", "0", "--threads", "1")

PEERS = """
import torch

def module(batch, length, width):
    return torch.nn.Linear(width, width)

def function(batch, length, width):
    x, W = torch.randn(batch, length, width), torch.randn(width, width, requires_grad=True)
    return lambda: (x @ W).sum().backward()

def raises(batch, length, width):
    raise ValueError("no such thing\\nhere")

def dies(batch, length, width):
    import os
    os._exit(3)

def nothing(batch, length, width):
    return 3
"""


@pytest.fixture
def peers(folder):
    (folder / "their code.py").write_text(PEERS)
    return "their code.py"


def test_a_table_beside_peers(cli, folder, peers):
    words = ("s4d", "lru", "--peer", f"{peers}:module", "--peer", f"{peers}:function", "--json", "now.json", *TINY)
    output = cli("bench", "layer", *words).output
    assert max(map(len, output.splitlines())) <= 100
    found = json.loads((folder / "now.json").read_text())
    rows = {row["model"]: row for row in found["rows"]}
    assert list(rows) == ["s4d", "lru", "module", "function"]
    assert rows["function"]["forward"] is None
    assert rows["function"]["error"] is None
    for name in ("s4d", "lru", "module"):
        assert 0 < rows[name]["forward"] < rows[name]["both"]
        assert 0 < rows[name]["error"] < 1e-4
        assert 0 < rows[name]["share"] < 1
    assert rows["s4d"]["time/module"] == pytest.approx(rows["s4d"]["both"] / rows["module"]["both"])
    assert rows["s4d"]["memory/function"] == pytest.approx(rows["s4d"]["megabytes"] / rows["function"]["megabytes"])
    assert "time/module" not in rows["module"]
    assert found["conditions"]["threads"] == "1"


def test_dtypes_and_blocks(cli, folder):
    words = ("stu", "--block", "--dtype", "float64", "--dtype", "bfloat16", "--json", "now.json", *TINY)
    cli("bench", "layer", *words)
    errors = {row["dtype"]: row["error"] for row in json.loads((folder / "now.json").read_text())["rows"]}
    assert errors["float64"] == 0
    assert 1e-4 < errors["bfloat16"] < 0.1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nosuch"], "there is no model 'nosuch'"),
        (["--shape", "huge"], "--shape: 'huge' is none of image, image256"),
        (["--shape", "1,2"], "--shape: '1,2' is none of"),
        (["--shape", "0,2,3"], "--shape: '0,2,3' is none of"),
        (["s4d", "stu", "model.lr_scale=0.5"], "model.lr_scale: Key 'lr_scale' not in 'STUConfig'"),
        (["stu", "optim.lr=1"], "a layer has settings of its model alone: model.KEY=VALUE, not 'optim.lr=1'"),
        (["--peer", "nosuch.py:make"], "--peer: there is no file nosuch.py"),
        (["--peer", "their code.py"], "--peer: 'their code.py' is not of the form FILE.py:FACTORY"),
        (["--device", "quantum"], "--device: there is no device 'quantum'"),
        (["--device", "cuda:99"], "--device: there is no 'cuda:99' here"),
        (["--compare", "their code.py"], "their code.py is no benchmark"),
        (["s4d", "--peer", "their code.py:raises", *TINY], "raises at 2x32x4: ValueError: no such thing here"),
        (["s4d", "--peer", "their code.py:dies", *TINY], "dies at 2x32x4: its process ended with 3"),
        (["s4d", "--peer", "their code.py:nothing", *TINY], "nothing must give a module or a function, not int"),
        (["s4d", "--peer", "their code.py:missing", *TINY], "missing at 2x32x4: AttributeError"),
        (["s4d", *["--peer", "their code.py:module"] * 2, *TINY], "two layers are called module"),
    ],
)
def test_one_line_says_what_is_wrong(cli, peers, words, line):
    output = cli("bench", "layer", *words, expect=2).output
    assert line in output
    assert "Traceback" not in output


def test_scaling_has_an_exponent_for_each_part(cli, folder):
    words = ("s4d", "--lengths", "64,16,32", "--width", "4", "--seconds", "0", "--threads", "1", "--json", "now.json")
    output = cli("bench", "scaling", *words).output
    assert max(map(len, output.splitlines())) <= 100
    found = json.loads((folder / "now.json").read_text())
    assert [row["what"] for row in found["rows"]] == ["pass, ms", "memory, MB", "making, ms"]
    assert [column["key"] for column in found["columns"]] == ["model", "what", "16", "32", "64", "exponent"]
    assert "--lengths: '16' must be two or more" in cli("bench", "scaling", "--lengths", "16", expect=2).output


def test_the_exponent_and_its_interval():
    sizes = [1, 2, 4, 8, 16]
    exact = fitted_exponent(sizes, [3 * size**1.5 for size in sizes])
    assert (exact.value, exact.low, exact.high) == pytest.approx((1.5, 1.5, 1.5))
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        fit = fitted_exponent(sizes, [size * np.exp(0.1 * rng.standard_normal()) for size in sizes])
        inside += fit.low < 1 < fit.high
    assert 360 <= inside <= 396  # 380 expected
    assert str(fitted_exponent([1, 2], [1, 2])) == "1.00"


def test_operations_are_counted():
    a, b = torch.randn(3, 5), torch.randn(5, 7, dtype=torch.float32)
    with Operations() as real:
        _ = a @ b
    with Operations() as product:
        _ = a.cfloat() @ b.cfloat()
    with Operations() as transform:
        torch.fft.fft(torch.randn(2, 8, dtype=torch.cfloat))
    with Operations() as halves:
        torch.fft.irfft(torch.fft.rfft(torch.randn(2, 8)))
    assert (real.total, product.total) == (2 * 3 * 5 * 7, 8 * 3 * 5 * 7)
    assert (transform.total, halves.total) == (5 * 16 * 3, 5 * 16 * 3)
    assert least_bytes(torch.zeros(2, 3), torch.zeros(4), [torch.zeros(5)]) == 4 * (3 * 6 + 2 * 4 + 3 * 5)
    assert Rates(copy=10, product=100).seconds(moved=20, operations=100) == 2


def test_an_error_is_seen(monkeypatch):
    """Of the forward pass, of a gradient, and against single steps alone."""
    case = Case(
        our_maker("lru", ["model.d_state=4"]), Shape("tiny", 2, 16, 3), "float32", "cpu", torch.get_num_threads()
    )
    assert Contestant(case).error() < 1e-5
    from lra_bench.models.lru import LRU

    forward, step = LRU.forward, LRU.step
    monkeypatch.setattr(LRU, "step", lambda self, x, state: (1.01 * step(self, x, state)[0], step(self, x, state)[1]))
    assert 0.005 < Contestant(case).error() < 0.02
    monkeypatch.setattr(LRU, "step", step)
    monkeypatch.setattr(
        LRU, "forward", lambda self, x, mask=None: forward(self, x) * (1.01 if x.dtype == torch.float32 else 1)
    )
    assert 0.005 < Contestant(case).error() < 0.02


def test_the_shapes_are_those_of_the_tasks():
    assert shape_of("pathx").sizes == (1, 16384, 64)
    assert shape_of("2,3,4") == Shape("2x3x4", 2, 3, 4)
    with pytest.raises(ConfigError):
        shape_of("2,x,4")
