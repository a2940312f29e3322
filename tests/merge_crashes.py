"""Kills a merge just before each thing it does to a file, and prints what is there afterwards.

`python -m tests.merge_crashes RUNS OUT`: per point a line of JSON with the trials and problems that a reader finds, and
whether merging again makes the same bytes as a merge that nobody disturbs. OUT is as before when it ends.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from lra_bench.report.files.merging import merge
from lra_bench.report.files.records import find_trials
from lra_bench.report.files.submissions import described

EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}
"""What Python reports of files (PEP 578)."""


def merged(runs: Path, out: Path) -> None:
    """What the command does."""
    trials, _ = find_trials([runs])
    there = find_trials([out])[0] if out.exists() else []
    merge([*there, *trials], out, described(out, {"by": "Us"}))


def killed(runs: Path, out: Path, number: int) -> bool:
    """Merge in a process that is killed at a point; False where it came to its end."""
    child = os.fork()
    if child == 0:
        count = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            writes = event in EVENTS and isinstance(arguments[0], str | Path) and out.name in str(arguments[0])
            if writes and (event != "open" or "r" not in str(arguments[1])):
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        merged(runs, out)
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def main(runs: Path, out: Path) -> None:
    """Kill at each point in turn."""
    before = out.with_name("before")
    if out.exists():
        shutil.copytree(out, before)

    def restore() -> None:
        shutil.rmtree(out, ignore_errors=True)
        if before.exists():
            shutil.copytree(before, out)

    merged(runs, out)
    whole = content(out)
    number = 1
    while restore() is None and killed(runs, out, number):
        trials, problems = find_trials([out]) if out.exists() else ([], [])
        merged(runs, out)
        facts = {
            "trials": [trial.record.trial_id for trial in trials],
            "problems": [f"{problem.place.name} {problem.reason}" for problem in problems],
            "same": content(out) == whole,
            "beside": sorted(path.name for path in out.parent.iterdir() if path not in (out, before)),
        }
        print(json.dumps(facts))
        number += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
