"""CIFAR-10's pickled batches, read without letting a pickle run anything. NumPy alone."""

import io
import pickle
import pickletools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.errors import LraBenchError

PROTOCOL = 4
"""The last one without buffers of any size that a pickle may name; the official batches are of protocol 2."""
LARGEST_MEMO = 1 << 20
"""Objects a pickle may number; an official batch numbers 10,000."""


def load_batch(content: bytes) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Read one batch, as Python 2 wrote the official ones or Python 3 would.

    Args:
        content: of the file.

    Returns:
        b"data" and b"labels" of its dictionary; neither's shape nor the labels' type is checked.

    Raises:
        LraBenchError: it is damaged, or holds anything but plain values and byte arrays. The message has no subject.
    """
    try:
        _require_small_memo(content)
        batch = _ByteUnpickler(io.BytesIO(content), encoding="bytes").load()
        return batch[b"data"].values, np.array(batch[b"labels"])
    except LraBenchError:
        raise
    except Exception as problem:
        raise LraBenchError(f"is not a batch of CIFAR-10 ({problem}): download it again") from problem


def _require_small_memo(content: bytes) -> None:
    """Refuse what would make the unpickler reserve memory out of proportion to the file."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.proto > PROTOCOL or (opcode.name.endswith("PUT") and argument > LARGEST_MEMO):
            raise LraBenchError(f"uses {opcode.name} in a way that CIFAR-10 does not: refused")


class _ByteType:
    """Stands in for `numpy.dtype`: bytes, and nothing else."""

    def __init__(self, name: bytes | str, *flags: object) -> None:
        if name not in ("u1", b"u1"):
            raise LraBenchError(f"holds an array of {name!r}, which is not CIFAR-10's: refused")

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which bytes do not have."""


class _ByteArray:
    """Stands in for `numpy.ndarray` and for the function that makes an empty one."""

    values: NDArray[np.uint8]

    def __init__(self, *ignored: object) -> None:
        """Type and shape, which come again with the state."""

    def __setstate__(self, state: tuple[int, tuple[int, ...], _ByteType, bool, bytes]) -> None:
        _, shape, kind, fortran, content = state
        if not isinstance(kind, _ByteType) or not isinstance(content, bytes):
            raise LraBenchError("holds an array that is not of bytes, which is not CIFAR-10's: refused")
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


def _encode(text: str, encoding: str) -> bytes:
    """Stands in for `codecs.encode`, by which Python 3 writes bytes in protocol 2."""
    if encoding not in ("latin1", b"latin1"):
        raise LraBenchError(f"holds text in {encoding!r}, which is not CIFAR-10's: refused")
    return text.encode("latin1")


class _ByteUnpickler(pickle.Unpickler):
    """Reads plain values and arrays of bytes; where a pickle asks for numpy it gets the stand-ins above."""

    STAND_INS: Mapping[tuple[str, str], Any] = MappingProxyType(
        {
            ("numpy.core.multiarray", "_reconstruct"): _ByteArray,
            ("numpy._core.multiarray", "_reconstruct"): _ByteArray,
            ("numpy", "ndarray"): _ByteArray,
            ("numpy", "dtype"): _ByteType,
            ("_codecs", "encode"): _encode,
        }
    )

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in self.STAND_INS:
            raise LraBenchError(f"asks for {module_name}.{global_name}, which CIFAR-10 does not need: refused")
        return self.STAND_INS[module_name, global_name]
