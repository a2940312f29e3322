"""Sees every record that is written, by inotify (Linux)."""

import ctypes
import os
import select
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lra_bench.core.record import RunRecord
from lra_bench.trials.policy import FAILURES

IN_MOVED_FROM, IN_MOVED_TO = 0x40, 0x80
EVENT = struct.Struct("iIII")


class Watch(threading.Thread):
    """Sees every record that appears in some folders or is taken away, by inotify, from creation to `stop`.

    Attributes:
        final: folders that hold a record that is final.
        written: how many records of each status were written.
        completed: how often each trial was run to its end.
        resumed: how often each trial went on from a checkpoint.
        deaths: messages of records of failures.
        replaced: folders where a final record was written over.
    """

    def __init__(self, folders: list[Path]) -> None:
        super().__init__(daemon=True)
        self.final: set[Path] = set()
        self.written: Counter[str] = Counter()
        self.completed: Counter[Path] = Counter()
        self.resumed: Counter[Path] = Counter()
        self.deaths: Counter[str] = Counter()
        self.replaced: list[Path] = []
        self._stopped = False
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(0)
        self._folders = {self._add(folder): folder for folder in folders}
        self.start()

    def _add(self, folder: Path) -> int:
        folder.mkdir(parents=True, exist_ok=True)
        number: int = self._libc.inotify_add_watch(self._inotify, os.fsencode(folder), IN_MOVED_FROM | IN_MOVED_TO)
        assert number >= 0, os.strerror(ctypes.get_errno())
        return number

    def run(self) -> None:
        while True:
            stopped = self._stopped  # looked at first, so that nothing before `stop` is missed
            if select.select([self._inotify], [], [], 0.1)[0]:
                for folder, mask, name in self._read():
                    self._note(folder, mask, name)
            elif stopped:
                return

    def stop(self) -> None:
        self._stopped = True
        self.join()
        os.close(self._inotify)

    def _read(self) -> Iterator[tuple[Path, int, str]]:
        content = os.read(self._inotify, 1 << 16)
        while content:
            number, mask, _, length = EVENT.unpack_from(content)
            name, content = content[EVENT.size : EVENT.size + length], content[EVENT.size + length :]
            yield self._folders[number], mask, name.rstrip(b"\0").decode()

    def _note(self, folder: Path, mask: int, name: str) -> None:
        if name == "history.jsonl" and (folder / name).stat().st_size:
            self.resumed[folder] += 1
        if name != "record.json":
            return
        if mask & IN_MOVED_FROM:
            self.final.discard(folder)
            return
        if folder in self.final:
            self.replaced.append(folder)
        record = RunRecord.read(folder / name)
        self.written[record.status] += 1
        if record.status in FAILURES:
            self.deaths[record.message or ""] += 1
        elif record.status.finished:
            self.completed[folder] += 1
        if record.status.finished:
            self.final.add(folder)
