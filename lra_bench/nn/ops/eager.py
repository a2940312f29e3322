"""Autograd functions under `torch.compile`."""

from typing import Any

import torch


def apply_eagerly(function: type[torch.autograd.Function], *inputs: Any) -> Any:
    """`function.apply(*inputs)`, which the compiler breaks its graph for and does not trace."""
    if torch.compiler.is_compiling():
        return torch.compiler.disable(function.apply)(*inputs)
    return function.apply(*inputs)
