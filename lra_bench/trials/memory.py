"""How much memory a trial, or a program of several, may take."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from lra_bench.environment import processor
from lra_bench.trials.slots import Slot

CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)
"""Files with a container's limit and what it uses, versions 2 and 1."""


def bytes_per_slot(slots: Sequence[Slot]) -> float:
    """Memory of a slot's device, or of this machine, shared out over the slots that use it."""
    if slots[0].devices:
        import torch

        sharing = Counter(device for slot in slots for device in slot.devices)
        sizes = [torch.cuda.get_device_properties(device).total_memory / count for device, count in sharing.items()]
        return min(sizes)
    return min(_free()) / len(slots)


def _free() -> Iterator[float]:
    """Bytes that are free, by all accounts."""
    yield processor()[2] * 1e9
    with suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        yield next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    for limit, used in CGROUPS:
        with suppress(OSError, ValueError):  # no such cgroup, or one without a limit
            yield float(limit.read_text()) - float(used.read_text())
