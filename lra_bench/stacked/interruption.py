"""Signals that ask to stop, remembered until they can be obeyed."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from lra_bench.training.guard import STOP_SIGNALS


class Interruption:
    """Listens for SIGTERM, SIGUSR1 and SIGINT while it is entered, in the main thread.

    Attributes:
        name: of the last signal that came, None where none has.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._remember) for number in STOP_SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
