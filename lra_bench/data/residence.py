"""Where examples are kept: which arrays go to the device, and how everything else gets there."""

from typing import Literal

import torch
from torch import Tensor

from lra_bench.core.batch import Batch

CPU = torch.device("cpu")
SHARE = 0.25
"""Of a device's free memory, the most that the arrays of one split may take if nobody asked for them to be there."""


def belongs_on(device: torch.device, stored_bytes: int, wanted: Literal["auto", True, False]) -> bool:
    """Whether the arrays of a split are to be kept on a device.

    Args:
        device: that trains.
        stored_bytes: of the arrays; 0 where there are none.
        wanted: `train.data_on_device`. auto puts them on a GPU if they take no more than `SHARE` of its free memory;
            a CPU reads prepared arrays from where they are.
    """
    if wanted != "auto" or stored_bytes == 0:
        return wanted is True and stored_bytes > 0
    return device.type != "cpu" and stored_bytes <= SHARE * free_memory(device)


def free_memory(device: torch.device) -> int:
    """Bytes that nobody uses on a device that is not the CPU; 0 where torch cannot tell."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def sent(part: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. From the CPU to a GPU it goes through page-locked memory, so that nobody waits for it."""
    if part.device == device:
        return part
    if part.device.type == "cpu" and device.type == "cuda":
        return part.pin_memory().to(device, non_blocking=True)
    return part.to(device)


def batch_on(batch: Batch, device: torch.device) -> Batch:
    """A batch on a device."""
    return Batch._make(None if part is None else sent(part, device) for part in batch)
