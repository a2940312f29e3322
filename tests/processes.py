"""The processes of a sweep: starts them, finds them through /proc (Linux), and kills them."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent
MARK = "LRA_BENCH_TEST_MARK"
"""Environment variable by which all processes of a sweep are known, orphans included."""


def processes(mark: str) -> dict[int, str]:
    """Id -> kind of every process that carries a mark."""
    wanted = f"{MARK}={mark}".encode()
    found: dict[int, tuple[int, bytes]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                found[int(folder.name)] = parent, (folder / "cmdline").read_bytes()
    return {pid: _kind(pid, found) for pid in found}


def _kind(pid: int, found: dict[int, tuple[int, bytes]]) -> str:
    """Trials and their loaders of batches are forked from the server; a trial leads a session."""
    parent, words = found[pid]
    if b"multiprocessing.resource_tracker" in words:
        return "tracker"
    if b"multiprocessing.forkserver" not in words:
        return "runner" if b"sweep" in words.split(b"\0") else "other"
    with suppress(ProcessLookupError):
        if os.getsid(pid) == pid:
            return "trial"
    return "loader" if parent in found and found[parent][1] == words else "server"


def kill_everything(mark: str) -> None:
    """Until nothing is left."""
    while found := processes(mark):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def kill_something(mark: str, rng: random.Random) -> str | None:
    """One process of a random kind, or all processes; says which kind, or None where there is none."""
    found = processes(mark)
    if not found:
        return None
    kind = rng.choice([*sorted(set(found.values())), "everything"])
    if kind == "everything":
        kill_everything(mark)
        return kind
    pid = rng.choice(sorted(pid for pid, each in found.items() if each == kind))
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return kind


def lra_bench(log: Path, *words: str, mark: str = "", prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    """Start the command line as a user's shell would, in a session of its own; what it prints is added to a file."""
    with log.open("a") as out:
        return subprocess.Popen(
            [*prefix, sys.executable, "-c", "from lra_bench.cli.main import main; main()", *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), MARK: mark},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
