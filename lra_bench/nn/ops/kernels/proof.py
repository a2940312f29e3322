"""Whether a kernel gives the numbers of its definition, tried on the device where it is to run."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Kernel = Callable[..., Any]


def prove(
    name: str, load: Callable[[], Kernel], definition: Kernel, cases: Iterable[tuple[Any, ...]], tolerance: float
) -> Kernel | None:
    """The kernel, or None if it cannot be loaded, fails, or gives other numbers; the log then says why.

    Args:
        name: for the log.
        load: imports the kernel.
        definition: what it shall compute; a tensor or a tuple of them.
        cases: arguments to try.
        tolerance: of each tensor, relative to its largest number.
    """
    try:
        kernel = load()
        errors = [_error(kernel(*arguments), definition(*arguments)) for arguments in cases]
    except Exception as problem:
        reason = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0] if str(problem).strip() else ''}"
    else:
        if all(error <= tolerance for error in errors):
            return kernel
        reason = f"its numbers differ from the definition's by {max(errors, key=_nan_last):.1e}"
    log.warning("no kernel for %s, PyTorch takes its place: %s", name, reason)
    return None


def _error(found: Tensor | tuple[Tensor, ...], expected: Tensor | tuple[Tensor, ...]) -> float:
    """Largest difference, relative to the largest number; NaN if there is one."""
    if isinstance(found, tuple):
        return max((_error(a, b) for a, b in zip(found, expected, strict=True)), key=_nan_last)
    assert isinstance(expected, Tensor)
    if found.shape != expected.shape:
        return torch.inf
    return ((found - expected).abs().max() / expected.abs().max()).item()


def _nan_last(error: float) -> float:
    return error if error == error else torch.inf
