"""Our layers against frozen float64 outputs and gradients of the official implementations.

Cases are the `.npz` files of `LRA_BENCH_GOLDEN_DIR` (default: tests/golden) of the families tested here. Sizes and
options are read from each file, so that new cases are dropped in; one that no checker understands fails.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import gelu, glu, linear, pad

from lra_bench.core.specs import MixerContext
from lra_bench.models import stu as stu_module
from lra_bench.models.lru import LRU, LRUConfig
from lra_bench.models.s4 import S4, S4Config, initial_dynamics
from lra_bench.models.s4d import S4D, S4DConfig, initial_frequencies
from lra_bench.models.s5 import S5, S5Config
from lra_bench.models.stu import STU, STUConfig
from lra_bench.nn.ops.hippo import legs, legs_spectrum
from lra_bench.nn.ops.spectral import spectral_filters

FOLDER = Path(os.environ.get("LRA_BENCH_GOLDEN_DIR") or Path(__file__).parent / "golden")
FAMILIES = ("stu_", "hankel_", "lru_", "s4_", "s4d_", "s5_", "hippo_")
FILES = sorted(path for path in FOLDER.glob("*.npz") if path.name.startswith(FAMILIES))

OUTPUT_TOLERANCE = 1e-10
GRADIENT_TOLERANCE = 1e-9

Params = dict[str, Tensor]


@dataclass(frozen=True)
class Golden:
    """One file: its arrays and its description."""

    name: str
    meta: dict
    arrays: dict[str, np.ndarray]

    @classmethod
    def read(cls, path: Path) -> "Golden":
        with np.load(path) as stored:
            arrays = {key: stored[key] for key in stored.files}
        return cls(path.stem, json.loads(str(arrays.pop("meta", "{}"))), arrays)

    def params(self) -> Params:
        names = [key for key in self.arrays if key.startswith("param/")]
        return {name.removeprefix("param/"): self.tensor(name).requires_grad_() for name in names}

    def tensor(self, key: str) -> Tensor:
        return torch.tensor(self.arrays[key])


def relative_error(actual: Tensor | np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(actual) - expected).max() / np.abs(expected).max())


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_there_are_cases():
    assert FILES, f"no case in {FOLDER}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_parity(path, monkeypatch):
    golden = Golden.read(path)
    if golden.name.startswith("hankel_"):
        check_hankel(golden)
    elif golden.name == "lru_ring_init_stats":
        check_ring(golden)
    elif golden.name.startswith("hippo_"):
        check_hippo(golden)
    else:
        check_layer(golden, monkeypatch)


def check_hankel(golden: Golden) -> None:
    sigma, phi = spectral_filters(golden.meta["L"], golden.meta["K"])
    np.testing.assert_allclose(sigma, golden.arrays["ref_vals"], rtol=1e-6)
    np.testing.assert_allclose(phi, golden.arrays["ref_vecs"], rtol=0, atol=1e-6)


def check_ring(golden: Golden) -> None:
    """Our initial eigenvalues against a million of theirs: quantiles and moments, within five sampling errors."""
    levels = golden.arrays["quantile_levels"]
    names = {key.partition("/")[0] for key in golden.arrays} - {"quantile_levels"}
    assert names
    samples = 100_000
    for name in sorted(names):
        r_min, r_max, max_phase = map(float, re.fullmatch(r"rmin(.+)_rmax(.+)_phase(.+)", name).groups())
        torch.manual_seed(0)
        cfg = LRUConfig(d_state=samples, r_min=r_min, r_max=r_max, max_phase=max_phase)
        layer = LRU(cfg, MixerContext(1, 1, 1))
        modulus = layer.nu_log.detach().exp().neg().exp().numpy()
        phase = layer.theta_log.detach().exp().numpy()
        gamma = layer.gamma_log.detach().exp().numpy()
        ours = {"abs": modulus, "phase": phase, "gamma": gamma}
        deviation = 5 * np.sqrt(levels * (1 - levels) * (1 / samples + 1e-6)) + 1e-3
        for quantity, values in ours.items():
            below = [np.mean(values <= q) for q in golden.arrays[f"{name}/{quantity}_quantiles"]]
            np.testing.assert_array_less(np.abs(below - levels), deviation, f"{name} {quantity}")
        moments = [modulus.mean(), (modulus**2).mean(), modulus.std(), phase.mean(), phase.std(), gamma.mean()]
        np.testing.assert_allclose(moments, golden.arrays[f"{name}/moments"], rtol=0.01)


def check_hippo(golden: Golden) -> None:
    """The matrices, and the normal form; s4.py keeps half of it, and clips B."""
    theirs, (A, B, P), (eigenvalues, V) = golden.arrays, legs(64), legs_spectrum(64)
    np.testing.assert_allclose(A, theirs["A"], rtol=1e-14)
    np.testing.assert_allclose(B, theirs["B"], rtol=1e-14)
    if "V_half" in theirs:
        signs = np.sign(theirs["V_half"][0].real)
        np.testing.assert_allclose(V[:, :32] * signs, theirs["V_half"], atol=1e-11)
        np.testing.assert_allclose(V[:, :32].conj().T @ B * signs, theirs["B_half_unclipped"], atol=1e-11)
        frequencies, clipped_B, our_P = initial_dynamics(64)
        np.testing.assert_allclose(frequencies, theirs["Lambda_half"].imag, rtol=1e-12)
        np.testing.assert_allclose(
            torch.view_as_complex(clipped_B).numpy() * signs, theirs["B_half_clipped2"], atol=1e-11
        )
        np.testing.assert_allclose(torch.view_as_complex(our_P).numpy() * signs, theirs["P_half"][0], atol=1e-11)
    else:
        signs = np.sign(theirs["V"][0].real)
        np.testing.assert_allclose(P, theirs["P"], rtol=1e-14)
        np.testing.assert_allclose(eigenvalues, theirs["Lambda"], rtol=1e-12)
        np.testing.assert_allclose(V * signs, theirs["V"], atol=1e-11)
        np.testing.assert_allclose(V.conj().T @ B * signs, theirs["B_tilde"], atol=1e-10)
        np.testing.assert_allclose(V.conj().T @ P * signs, theirs["P_tilde"], atol=1e-10)


def check_layer(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    params = golden.params()
    x = golden.tensor("input").requires_grad_()
    output = reference_path(golden)(golden, params, x, monkeypatch)
    assert relative_error(output.detach(), golden.arrays["output"]) < OUTPUT_TOLERANCE
    (output * golden.tensor("cotangent")).sum().backward()
    leaves = params | ({"input": x} if x.numel() else {})
    for name, leaf in leaves.items():
        assert leaf.grad is not None, f"{name} is not used"
        assert relative_error(leaf.grad, golden.arrays[f"grad/{name}"]) < GRADIENT_TOLERANCE, name


def reference_path(golden: Golden) -> Callable[[Golden, Params, Tensor, pytest.MonkeyPatch], Tensor]:
    function = golden.meta.get("function", "")
    for pattern, path in REFERENCE_PATHS.items():
        if re.search(pattern, function):
            return path
    raise AssertionError(f"{golden.name}: no checker for {function!r}")


def stu(golden: Golden, p: Params, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Eigenvalues ascend; m_phi (K * d_in, d_out) filter by filter, m_u (d_out, d_in, k_u), m_y (d_out, k_y, d_out)."""
    meta = golden.meta
    K, own_filters = meta["K"], golden.name.endswith("_e2e")
    if not own_filters:
        stored = golden.arrays["extra/eig_vals"], golden.arrays["extra/eig_vecs"]
        monkeypatch.setattr(stu_module, "spectral_filters", lambda *_: stored)
    cfg = STUConfig(
        num_filters=K,
        alternating=False,
        input_taps=meta["k_u"],
        output="learned",
        output_taps=meta["k_y"],
        output_alpha=0,
    )
    layer = STU(cfg, MixerContext(meta["d_in"], meta["d_out"], meta["L"]))
    M_plus = p["m_phi"].reshape(K, meta["d_in"], meta["d_out"])
    mapped = {
        "M_plus": M_plus.flip(0) if own_filters else M_plus,
        "M_input": p["m_u"].permute(2, 1, 0),
        "M_output": p["m_y"].permute(1, 2, 0),
    }
    return functional_call(layer, mapped, x)


def lru(golden: Golden, p: Params, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    layer = LRU(LRUConfig(d_state=golden.meta["N"]), MixerContext(golden.meta["H"], golden.meta["H"], golden.meta["L"]))
    mapped = {name: p[name] for name in ("nu_log", "theta_log", "gamma_log", "D")}
    mapped["B"] = torch.stack([p["B_re"], p["B_im"]], dim=-1)
    mapped["C"] = torch.stack([p["C_re"], p["C_im"]], dim=-1)
    return functional_call(layer, mapped, x)


def s5(golden: Golden, p: Params, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Their backward states are a second scan over the same inputs, from the end; both count the present."""
    meta = golden.meta
    cfg = S5Config(
        d_state=meta["ssm_size"],
        blocks=meta["blocks"],
        conj_sym=meta["conj_sym"],
        discretization=meta["discretization"],
        clip_eigs=meta["clip_eigs"],
        step_rescale=meta["step_rescale"],
    )
    layer = S5(cfg, MixerContext(meta["H"], meta["H"], meta["L"]))
    mapped = {name: p[name] for name in ("Lambda_re", "Lambda_im", "B", "D")} | {"log_step": p["log_step"][:, 0]}
    if not meta["bidirectional"]:
        return functional_call(layer, mapped | {"C": p["C"]}, x)
    forward_C, backward_C = (p["C1"], p["C2"]) if "C1" in p else p["C"].chunk(2, dim=1)
    backward = mapped | {"C": backward_C, "D": torch.zeros(meta["H"])}
    return functional_call(layer, mapped | {"C": forward_C}, x) + functional_call(layer, backward, x.flip(1)).flip(1)


class Kernels(torch.nn.Module):
    """The kernels of a layer, called through its parameters."""

    def __init__(self, layer: S4 | S4D) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, seq_len: int) -> Tensor:
        assert seq_len <= self.layer.ctx.max_len
        return self.layer.kernels(seq_len, torch.float64)


def s4_layer(golden: Golden) -> S4:
    meta = golden.meta
    cfg = S4Config(d_state=meta["N"], n_ssm=meta.get("n_ssm"), rank=meta.get("rank", 1))
    return S4(cfg, MixerContext(meta["H"], meta["H"], meta["L"]))


def s4d_layer(golden: Golden, *, discretization: str, train_b: bool) -> S4D:
    H = golden.meta["H"]
    cfg = S4DConfig(d_state=golden.meta["N"], discretization=discretization, train_b=train_b)
    return S4D(cfg, MixerContext(H, H, golden.meta["L"]))


def kernels_of(layer: S4 | S4D, mapped: Params, seq_len: int) -> Tensor:
    return functional_call(Kernels(layer), {f"layer.{name}": value for name, value in mapped.items()}, seq_len)


def minimal_params(p: Params, prefix: str = "") -> Params:
    """Of s4d.py: B is one."""
    return {name: p[prefix + name] for name in ("log_dt", "log_A_real", "A_imag", "C")}


def full_params(golden: Golden, p: Params, prefix: str = "") -> Params:
    """Of s4.py: opposite imaginary part; C keeps its channels. S4D has no copies that channels share."""
    mapped = {
        "log_dt": p[prefix + "inv_dt"][:, 0],
        "log_A_real": p[prefix + "A_real"],
        "A_imag": -p[prefix + "A_imag"],
        "B": p[prefix + "B"][0],
        "C": p[prefix + "C"],
    }
    if golden.meta["mode"] == "dplr":
        return mapped | {"P": p[prefix + "P"]}
    assert golden.meta["mode"] == "diag"
    copies = golden.meta["H"] // len(mapped["A_imag"])
    return mapped | {name: torch.cat([mapped[name]] * copies) for name in ("log_A_real", "A_imag", "B")}


def full_layer(golden: Golden) -> S4 | S4D:
    if golden.meta["mode"] == "dplr":
        return s4_layer(golden)
    return s4d_layer(golden, discretization=golden.meta.get("disc", "zoh"), train_b=True)


def minimal_kernel(golden: Golden, p: Params, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    layer = s4d_layer(golden, discretization="zoh", train_b=False)
    return kernels_of(layer, minimal_params(p), golden.meta["L"])


def full_kernel(golden: Golden, p: Params, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    layer = full_layer(golden)
    mapped = full_params(golden, p)
    channels = [mapped | {"C": C} for C in mapped["C"]]
    return torch.stack([kernels_of(layer, channel, golden.meta["L"]) for channel in channels])


def minimal_layer(golden: Golden, p: Params, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    layer = s4d_layer(golden, discretization="zoh", train_b=False)
    u = x.transpose(1, 2) if golden.meta["transposed"] else x
    y = gelu(functional_call(layer, minimal_params(p, "kernel.") | {"D": p["D"]}, u))
    y = glu(linear(y, p["output_linear.0.weight"].squeeze(-1), p["output_linear.0.bias"]))
    return y.transpose(1, 2) if golden.meta["transposed"] else y


def fft_conv(golden: Golden, p: Params, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    y = full_conv(golden, p, x, "")
    activation = golden.meta.get("activation", "gelu")
    assert activation in (None, "gelu")
    return y if activation is None else gelu(y)


def block(golden: Golden, p: Params, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    u = x.transpose(1, 2) if golden.meta["transposed"] else x
    y = gelu(full_conv(golden, p, u, "layer."))
    y = glu(linear(y, p["output_linear.0.weight"], p["output_linear.0.bias"]))
    return y.transpose(1, 2) if golden.meta["transposed"] else y


def full_conv(golden: Golden, p: Params, u: Tensor, prefix: str) -> Tensor:
    """Both directions of s4.py, of which the backward one starts one step ahead of the present."""
    layer = full_layer(golden)
    mapped = full_params(golden, p, prefix + "kernel.") | {"D": p[prefix + "D"][0]}
    directions = mapped.pop("C")
    y = functional_call(layer, mapped | {"C": directions[0]}, u)
    if not golden.meta.get("bidirectional"):
        assert len(directions) == 1
        return y
    backward = mapped | {"C": directions[1], "D": torch.zeros(golden.meta["H"])}
    return y + pad(functional_call(layer, backward, u.flip(1)).flip(1)[:, 1:], (0, 0, 0, 1))


REFERENCE_PATHS = {
    r"apply_stu$": stu,
    r"lru\.model\.LRU$": lru,
    r"s5\.ssm\.S5SSM$": s5,
    r"S4DKernel\.forward": minimal_kernel,
    r"SSMKernel(Diag|DPLR)\.forward": full_kernel,
    r"s4d\.py S4D$": minimal_layer,
    r"FFTConv": fft_conv,
    r"S4Block": block,
}


def test_a_case_without_a_checker_fails(monkeypatch):
    golden = Golden("s4d_new", {"function": "models/s4/s4d.py S4DTwice"}, {"input": np.zeros(1)})
    with pytest.raises(AssertionError, match=r"s4d_new: no checker for .*S4DTwice"):
        check_layer(golden, monkeypatch)


def test_legs_starts_at_the_spectrum_of_the_authors():
    golden = Golden.read(Path(__file__).parent / "golden" / "s4d_legs_zoh_kernel_init_exact_h2_n64_l128.npz")
    theirs = np.sort(golden.arrays["param/A_imag"][0])
    np.testing.assert_allclose(np.sort(initial_frequencies("legs", 64)), theirs, rtol=1e-5)  # born in float32
