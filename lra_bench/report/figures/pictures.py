"""Drawings as files and as elements of a page."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from matplotlib.figure import Figure

from lra_bench.core.errors import LraBenchError
from lra_bench.report.content import Picture
from lra_bench.report.figures.gallery import Drawing
from lra_bench.report.figures.style import settled_svg, write_figure

FEW = 12
"""Up to so many drawings are painted here: processes of their own take a second to start."""

MOST_PAINTERS = 4

_PAINTER = [sys.executable, "-c", f"from {__name__} import serve; serve()"]

OnDone = Callable[[int, int], None]


def paint(drawings: Sequence[Drawing], folder: Path, on_done: OnDone | None = None) -> list[Picture]:
    """Write each drawing as `folder/NAME.svg`, `.png` and `.pdf`, the same bytes every time.

    Where there are many, they are made here and painted by processes of their own, which know nothing of this one: a
    forked process could inherit a lock that is never opened, a spawned one runs the caller's script once more.

    Args:
        drawings: those without data are left out.
        folder: there already.
        on_done: called with the number of drawings done and the number of all.

    Raises:
        LraBenchError: a file cannot be written.
    """
    painters = min(os.cpu_count() or 1, MOST_PAINTERS)
    one_by_one = len(drawings) <= FEW or painters == 1
    svgs = _paint_here(drawings, folder, on_done) if one_by_one else _paint_apart(drawings, folder, painters, on_done)
    return [
        Picture(drawing.name, drawing.title, drawing.caption, drawing.alt, svgs[drawing.name])
        for drawing in drawings
        if drawing.name in svgs
    ]


def painted(drawings: Sequence[Drawing]) -> list[Picture]:
    """Paint drawings as elements of a page, without files; those without data are left out."""
    return [
        Picture(drawing.name, drawing.title, drawing.caption, drawing.alt, settled_svg(figure, drawing.name))
        for drawing in drawings
        if (figure := drawing.draw()) is not None
    ]


def serve() -> None:
    """Paint the figures that come in on standard input; each is answered on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own, over a pipe)
        except EOFError:
            return
        try:
            answer: str | LraBenchError = _write(*job)
        except LraBenchError as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


def _paint_here(drawings: Sequence[Drawing], folder: Path, on_done: OnDone | None) -> dict[str, str]:
    svgs = {}
    for done, drawing in enumerate(drawings, 1):
        if (figure := drawing.draw()) is not None:
            svgs[drawing.name] = _write(figure, folder, drawing.name)
        if on_done:
            on_done(done, len(drawings))
    return svgs


def _paint_apart(drawings: Sequence[Drawing], folder: Path, painters: int, on_done: OnDone | None) -> dict[str, str]:
    names: dict[Future[str], str] = {}

    def tell(drawn: int) -> None:
        if on_done:
            on_done(drawn - sum(not future.done() for future in names), len(drawings))

    with _painters(painters) as free, ThreadPoolExecutor(painters) as threads:
        for drawn, drawing in enumerate(drawings, 1):
            if (figure := drawing.draw()) is not None:
                job = pickle.dumps((figure, folder, drawing.name))
                names[threads.submit(_hand_over, job, free)] = drawing.name
            tell(drawn)
        svgs = {}
        for future in as_completed(names):
            svgs[names[future]] = future.result()
            tell(len(drawings))
    return svgs


@contextmanager
def _painters(count: int) -> Iterator["SimpleQueue[subprocess.Popen[bytes]]"]:
    """A queue of processes that wait for figures. They end with it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    started: list[subprocess.Popen[bytes]] = []
    free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    try:
        for _ in range(count):
            process = subprocess.Popen(  # noqa: S603 (our own program)
                _PAINTER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
            started.append(process)
            free.put(process)
        yield free
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _hand_over(job: bytes, free: "SimpleQueue[subprocess.Popen[bytes]]") -> str:
    """Have a figure painted by the next process that is free."""
    process = free.get()
    try:
        answer = _ask(job, process.stdin, process.stdout)
    except (EOFError, OSError, pickle.UnpicklingError) as error:
        raise LraBenchError("a process that paints figures ended before its time; is there enough memory?") from error
    finally:
        free.put(process)
    if isinstance(answer, LraBenchError):
        raise answer
    return str(answer)


def _ask(job: bytes, questions: IO[bytes] | None, answers: IO[bytes] | None) -> Any:
    assert questions is not None
    assert answers is not None
    questions.write(job)
    questions.flush()
    return pickle.load(answers)  # noqa: S301 (our own, over a pipe)


def _write(figure: Figure, folder: Path, name: str) -> str:
    try:
        return write_figure(figure, folder, name)
    except OSError as error:
        raise LraBenchError(f"cannot write the figure {folder / name}: {error.strerror or error}") from error
