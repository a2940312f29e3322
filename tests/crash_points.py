"""Kills a trial at a chosen point: just before the n-th time that it opens, renames or removes one of its own files."""

import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from lra_bench.trials import worker

EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
"""What Python reports of files (PEP 578). Torch writes from C++, unseen; the file is opened again to be flushed."""


def touched_files(folder: Path) -> list[str]:
    """Run a trial to its end in a process of its own; what it did to its files, each a point where it may die.

    Args:
        folder: the trial's, with its frozen config.
    """
    here, there = _context().Pipe(duplex=False)
    process = _context().Process(target=_run, args=(folder, 0, False, there))
    process.start()
    there.close()
    events: list[str] = here.recv()
    process.join()
    return events


def run_until(folder: Path, number: int, torn: bool) -> int:
    """Run a trial in a process of its own, and kill it at a point; gives the process's exit code.

    Args:
        folder: the trial's, with its frozen config.
        number: of the point, from 1 on.
        torn: leave but half of every file that is being written.
    """
    process = _context().Process(target=_run, args=(folder, number, torn, None))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lra_bench.trials.worker", "tests.crash_points"])
    return context


def _run(folder: Path, number: int, torn: bool, pipe: Any) -> None:
    events: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or not isinstance(arguments[0], (str, Path)):
            return
        name = str(arguments[0]).removeprefix(f"{folder}/")
        if name == str(arguments[0]) or name == "heartbeat":
            return
        events.append(f"{event} {name}")
        if len(events) == number:
            for part in folder.rglob("*.part") if torn else ():
                os.truncate(part, part.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    worker.run_trial(folder)
    if pipe is not None:
        pipe.send(events)
