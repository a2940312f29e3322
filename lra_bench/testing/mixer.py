"""Properties of the mixer contract that one process can check in seconds."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.specs import MixerContext

MixerFactory = Callable[[MixerContext], SequenceMixer]

TOLERANCE = 1e-5
"""Of equalities that hold exactly, in float64, relative to the largest output: mixers may work in float32 inside."""


@dataclass(frozen=True)
class MixerCase:
    """A mixer under test, and the sizes it is tested at.

    Attributes:
        factory: builds the mixer for a context.
        d_model: input channels.
        max_len: longest sequence.
    """

    factory: MixerFactory
    d_model: int = 4
    max_len: int = 64

    @classmethod
    def of(
        cls, mixer: type[SequenceMixer] | MixerFactory, cfg: MixerConfig | None = None, *, d_model: int, max_len: int
    ) -> "MixerCase":
        """From a mixer class, built with `cfg` or its default config; or from a factory, which knows its own."""
        if not isinstance(mixer, type):
            return cls(mixer, d_model, max_len)
        assert issubclass(mixer, SequenceMixer), f"{mixer.__name__} is not a SequenceMixer"
        return cls(partial(mixer, mixer.Config() if cfg is None else cfg), d_model, max_len)

    def fresh(self, *, d_out: int | None = None, causal: bool = True, seed: int = 0) -> SequenceMixer:
        """As initialised, from a seed of torch's default generator, which is left as it was."""
        ctx = MixerContext(self.d_model, d_out or self.d_model, self.max_len, causal=causal)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.factory(ctx)

    def perturbed(self, *, d_out: int | None = None, causal: bool = True) -> SequenceMixer:
        """With noise on every parameter, so that matrices that start at zero take part."""
        mixer = self.fresh(d_out=d_out, causal=causal)
        noise = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in mixer.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
        return mixer

    def exact(self, *, causal: bool = True) -> SequenceMixer:
        """Perturbed, in float64, without dropout."""
        return self.perturbed(causal=causal).double().eval()

    def input(self, length: int | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
        """(2, length, d_model) normal numbers."""
        generator = torch.Generator().manual_seed(2)
        return torch.randn(2, length or self.max_len, self.d_model, generator=generator, dtype=dtype)


@dataclass(frozen=True)
class MixerCheck:
    """One property of the contract.

    Attributes:
        name: what must hold, in a few words.
        property: raises AssertionError where it does not; returns why it does not apply, or None.
    """

    name: str
    property: Callable[[MixerCase], str | None]

    def run(self, case: MixerCase) -> str | None:
        """Why the property does not apply to this mixer, or None if it was checked and holds.

        Raises:
            AssertionError: it does not hold; begins with its name.
        """
        try:
            return self.property(case)
        except Exception as error:
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            raise AssertionError(f"{self.name}: {kind}{error}") from error


def check_mixer(
    mixer: type[SequenceMixer] | MixerFactory, cfg: MixerConfig | None = None, *, d_model: int = 4, max_len: int = 64
) -> None:
    """Check every property of the contract.

    Args:
        mixer: a mixer class, or a function from a context to a mixer.
        cfg: config to build a class with; its defaults if None.
        d_model: input channels to test at.
        max_len: longest sequence to test at.

    Raises:
        AssertionError: a property does not hold; the message begins with its name.
    """
    case = MixerCase.of(mixer, cfg, d_model=d_model, max_len=max_len)
    for check in mixer_checks():
        check.run(case)


def mixer_checks() -> tuple[MixerCheck, ...]:
    """Every property, in the order in which to look at them."""
    return (
        MixerCheck("output shape and dtype", _shape_and_dtype),
        MixerCheck("any length up to max_len", _any_length),
        MixerCheck("d_out other than d_model", _other_width),
        MixerCheck("real parameters and buffers", _real),
        MixerCheck("finite under bf16 autocast", _autocast),
        MixerCheck("a gradient for every parameter", _gradients),
        MixerCheck("causality", _causality),
        MixerCheck("padding invariance", _padding),
        MixerCheck("step equals forward", _step),
        MixerCheck("optimizer hints name parameters", _hints),
        MixerCheck("same seed, same weights", _same_seed),
        MixerCheck("no random numbers but torch's", _no_other_randomness),
        MixerCheck("state dict round trip", _state_dict),
        MixerCheck("state size", _state_size),
    )


def _shape_and_dtype(case: MixerCase) -> None:
    mixer = case.perturbed().eval()
    for dtype in (torch.float32, torch.float64):
        x = case.input(dtype=dtype)
        _assert_like(mixer.to(dtype)(x), x)


def _any_length(case: MixerCase) -> None:
    mixer = case.perturbed().eval()
    for length in (1, 2, 7, case.max_len - 1, case.max_len):
        x = case.input(length, torch.float32)
        y = mixer(x)
        _assert_like(y, x)
        assert y.isfinite().all(), f"output at length {length} is not finite"


def _other_width(case: MixerCase) -> str | None:
    if not case.fresh().mixes_channels:
        return "does not mix channels"
    for d_out in (1, case.d_model + 1):
        y = case.perturbed(d_out=d_out)(case.input(dtype=torch.float32))
        expected = (2, case.max_len, d_out)
        assert y.shape == expected, f"output is {tuple(y.shape)}, expected {expected}"
    return None


def _real(case: MixerCase) -> None:
    mixer = case.fresh()
    for name, tensor in [*mixer.named_parameters(), *mixer.named_buffers()]:
        assert not tensor.is_complex(), f"{name} is {tensor.dtype}; store a complex number as a real pair"


def _autocast(case: MixerCase) -> None:
    mixer = case.perturbed()
    x = case.input(dtype=torch.float32).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for given in (x, x.bfloat16()):
            y = mixer(given)
            assert y.isfinite().all(), f"output for {given.dtype} input is not finite"
            y.float().square().mean().backward()
    for name, parameter in [*mixer.named_parameters(), ("the input", x)]:
        assert parameter.grad is None or parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"


def _gradients(case: MixerCase) -> None:
    mixer = case.perturbed()
    mixer(case.input(dtype=torch.float32)).square().mean().backward()
    for name, parameter in mixer.named_parameters():
        assert parameter.grad is not None, f"{name} has none"
        assert parameter.grad.isfinite().all(), f"that of {name} is not finite"
        assert parameter.grad.any(), f"that of {name} is zero"


def _causality(case: MixerCase) -> None:
    mixer = case.exact()
    x = case.input()
    y = mixer(x)
    for start in (1, case.max_len // 2, case.max_len - 1):
        changed = x.clone()
        changed[:, start:] += 1.0
        later, alone = mixer(changed), mixer(x[:, :start])
        assert_close(later[:, :start], y[:, :start], f"input from step {start} on changes earlier output", scale=y)
        assert_close(alone, y[:, :start], f"the first {start} steps alone give other output", scale=y)


def _padding(case: MixerCase) -> None:
    x = case.input()
    length = case.max_len // 2
    mask = torch.arange(case.max_len) < torch.tensor([[length], [case.max_len]])
    changed = x.clone()
    changed[~mask] += 1.0
    for causal in (True, False):
        mixer = case.exact(causal=causal)
        message = f"padded input changes real output (causal={causal})"
        assert_close(mixer(changed, mask)[mask], mixer(x, mask)[mask], message)


def _step(case: MixerCase) -> str | None:
    mixer = case.exact()
    if not mixer.has_step():
        return "has no step mode"
    x = case.input()
    state = mixer.init_state(len(x))
    outputs = []
    for x_t in x.unbind(1):
        y_t, state = mixer.step(x_t, state)
        outputs.append(y_t)
    assert_close(torch.stack(outputs, dim=1), mixer(x), "unrolled steps and forward differ")
    return None


def _hints(case: MixerCase) -> None:
    mixer = case.fresh()
    known = dict(mixer.named_parameters())
    for name, hint in mixer.optim_hints().items():
        assert name in known, f"there is no parameter '{name}'; there are {', '.join(known)}"
        assert hint.lr_scale >= 0, f"the learning rate of '{name}' is multiplied by {hint.lr_scale}"


def _same_seed(case: MixerCase) -> None:
    second = case.fresh().state_dict()
    for name, value in case.fresh().state_dict().items():
        assert torch.equal(value, second[name]), f"{name} differs between two mixers built from one seed"


def _no_other_randomness(case: MixerCase) -> None:
    before = random.getstate(), _numpy_state()
    case.fresh()(case.input(dtype=torch.float32))
    assert random.getstate() == before[0], "python's global generator was used"
    assert _numpy_state() == before[1], "numpy's global generator was used"


def _numpy_state() -> tuple[bytes, int]:
    """State of numpy's global generator."""
    state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 (the global one is meant)
    return state["key"].tobytes(), state["pos"]


def _state_dict(case: MixerCase) -> None:
    mixer = case.perturbed().eval()
    other = case.fresh(seed=3).eval()
    other.load_state_dict(mixer.state_dict())
    x = case.input(dtype=torch.float32)
    assert_close(other(x), mixer(x), "a mixer that loaded the state of another gives other output")


def _state_size(case: MixerCase) -> None:
    mixer = case.fresh()
    for length in (1, case.max_len):
        size = mixer.state_size(length)
        assert isinstance(size, int), f"at length {length} it is {size!r}, not an int"
        assert size > 0, f"at length {length} it is {size}"


def _assert_like(y: Tensor, x: Tensor) -> None:
    assert isinstance(y, Tensor), f"output is a {type(y).__name__}, not one tensor"
    assert y.shape == x.shape, f"output is {tuple(y.shape)}, expected {tuple(x.shape)}"
    assert y.dtype == x.dtype, f"output is {y.dtype} for {x.dtype} input"


def assert_close(actual: Tensor, expected: Tensor, message: str, scale: Tensor | None = None) -> None:
    """Equal up to `TOLERANCE` times the largest entry of `scale`, which is `expected` if None."""
    assert actual.shape == expected.shape, f"{message}: {tuple(actual.shape)} and {tuple(expected.shape)}"
    largest = (expected if scale is None else scale).abs().max().item()
    error = (actual - expected).abs().max().item()
    assert error <= TOLERANCE * largest, f"{message}: by {error:.1e}, where outputs reach {largest:.1e}"
