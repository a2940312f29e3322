"""The slots that are free, and the GPUs that have failed too often to be used again."""

import logging
from collections import Counter, deque
from collections.abc import Sequence

from lra_bench.trials.slots import Slot

log = logging.getLogger(__name__)


class SlotPool:
    """Lends slots to trials.

    Args:
        slots: in the order in which they are first used.
        quarantine: failures in a row after which the GPUs of a slot are taken out; the last ones never are.
    """

    def __init__(self, slots: Sequence[Slot], quarantine: int) -> None:
        self._free = deque(slots)
        self._in_use = {slot.devices for slot in slots}
        self._failures: Counter[tuple[int, ...]] = Counter()
        self._quarantine = quarantine

    def __bool__(self) -> bool:
        return bool(self._free)

    def take(self) -> Slot:
        """A free slot; there must be one."""
        return self._free.popleft()

    def give_back(self, slot: Slot, failed: bool | None = None) -> None:
        """A trial has ended there; `failed` is None where that says nothing about the devices."""
        if failed is not None:
            self._failures[slot.devices] = self._failures[slot.devices] + 1 if failed else 0
        if slot.devices and self._failures[slot.devices] >= self._quarantine and len(self._in_use) > 1:
            self._take_out(slot.devices)
        if slot.devices in self._in_use:
            self._free.append(slot)

    def _take_out(self, devices: tuple[int, ...]) -> None:
        if devices in self._in_use:
            self._in_use.remove(devices)
            self._free = deque(slot for slot in self._free if slot.devices != devices)
            names = ", ".join(map(str, devices))
            log.warning("GPU %s is taken out: the last %d trials there failed", names, self._failures[devices])
