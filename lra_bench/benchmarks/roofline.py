"""The least time a machine could take: bytes that must move and operations that are done, at the rates it reaches.

Operations are those of the matrix products and Fourier transforms that the layer really calls, counted while it runs:
torch's formulas, four times for complex products; 5 N log2 N for a complex transform of N numbers, half for a real one.
Bytes are those that no way of computing can avoid: input, output and parameters read or written once forward, and
with their gradients once backward. Element-wise work counts in neither. The rates are those of a large copy and a large
matrix product on the same threads, in the same run, so a share of 100 % is out of reach for transforms.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lra_bench.benchmarks.timing import compared

TRANSFORMS = {
    torch.ops.aten._fft_r2c: 0.5,
    torch.ops.aten._fft_c2r: 0.5,
    torch.ops.aten._fft_c2c: 1.0,
}
"""Cost of a transform, in units of a complex one."""


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts floating-point operations of matrix products and Fourier transforms while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation, and add what it costs."""
        out = func(*args, **(kwargs or {}))
        operator = func._overloadpacket
        if operator in TRANSFORMS:
            self.total += TRANSFORMS[operator] * _transform(args[0], out, args[1])
        elif operator in flop_registry:
            each = 4 if isinstance(out, Tensor) and out.is_complex() else 1
            self.total += each * flop_registry[operator](*args, **(kwargs or {}), out_val=out)
        return out


def _transform(source: Tensor, out: Tensor, dims: Sequence[int]) -> float:
    """Operations of a complex transform over `dims`, as long as the longer of both sides."""
    larger = max(source, out, key=Tensor.numel)
    length = math.prod(max(source.shape[dim], out.shape[dim]) for dim in dims)
    return 5 * larger.numel() * math.log2(max(length, 2))


def least_bytes(x: Tensor, y: Tensor, parameters: Iterable[Tensor]) -> int:
    """Bytes of a forward and a backward pass that cannot be avoided."""
    return 3 * _bytes(x) + 2 * _bytes(y) + 3 * sum(map(_bytes, parameters))


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@dataclass(frozen=True)
class Rates:
    """What a machine reaches: bytes a second of a copy, read and written, and operations a second of a product."""

    copy: float
    product: float

    def seconds(self, moved: float, operations: float) -> float:
        """The least time for so many bytes and operations, if both go on at once."""
        return max(moved / self.copy, operations / self.product)


def measured_rates(device: torch.device, dtype: torch.dtype, seconds: float, size: int = 1024) -> Rates:
    """Measure them, with (size, size) matrices for the product and 32 size^2 numbers for the copy.

    Args:
        device: where.
        dtype: of the numbers.
        seconds: spent on each of the two, at least three repeats.
        size: large enough that the copy does not fit a cache.
    """
    source = torch.randn(32 * size * size, device=device, dtype=dtype)
    target = torch.empty_like(source)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    spreads = compared({"copy": lambda: target.copy_(source), "product": lambda: a @ b}, device, seconds)
    return Rates(2 * _bytes(source) / spreads["copy"].median, 2 * size**3 / spreads["product"].median)
