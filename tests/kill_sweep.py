"""Does a sweep survive `kill -9`? Kills random processes of one at random moments, and compares with one left in peace.

    python -m tests.kill_sweep --cells 60 --kills 20 --seed 1

Random are the moments (after how many cells, and how much later) and what dies: the runner, the server that trials are
forked from, a trial, a loader of batches, or everything at once. Runners are started again until all is done. Every
record that is written is seen at once, so that no trial can be completed twice unnoticed. Linux only.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from lra_bench.core.record import RunRecord
from lra_bench.training.history import read_history
from lra_bench.trials.plan import plan
from lra_bench.trials.policy import FAILURES
from lra_bench.trials.state import claim, finished_record
from lra_bench.trials.sweepfile import read_sweep
from tests.processes import kill_everything, kill_something, lra_bench, processes
from tests.record_watch import Watch

SWEEP = """# {cells} different trials of about a second, each with 12 validations; some diverge
method: random
run_cap: {cells}
parameters:
  task: {{value: lds}}
  task.seq_len: {{value: 24}}
  task.val_size: {{value: 4}}
  task.test_size: {{value: 4}}
  model: {{values: [stu, lru, "tests.strangers:Ramp"]}}
  optim.lr: {{values: [0.003, 0.03, 0.3, 1000000.0], probabilities: [0.3, 0.3, 0.3, 0.1]}}
  seed: {{min: 0, max: {most}}}
  train.max_steps: {{value: 300}}
  train.val_every: {{value: 25}}
  train.log_every: {{value: 7}}
  train.threads: {{value: 1}}
  train.workers: {{value: {workers}}}
  tracking.wandb: {{value: disabled}}
"""


@dataclass
class Report:
    """What happened to a sweep.

    Attributes:
        cells: number of them.
        problems: ways in which it differs from the reference, in words; none is as it should be.
        kills: how many of each kind.
        runs: how often a runner was started.
        gave_up: how often a runner that nobody killed ended before all was done.
        retries: how often `sweep retry` had to be asked.
        seconds: of the reference and of the disturbed sweep.
        watch: what was seen of its records.
    """

    cells: int
    problems: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    gave_up: int = 0
    retries: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)
    watch: Watch | None = None

    def __str__(self) -> str:
        assert self.watch is not None
        lines = [
            f"{self.cells} cells, {self.kills.total()} kills: {_counts(self.kills)}",
            f"runners were started {self.runs} times, {self.gave_up} gave up; {self.retries} times `sweep retry`",
            f"{self.seconds[0]:.0f} s undisturbed, {self.seconds[1]:.0f} s disturbed",
            f"records written: {_counts(self.watch.written)}",
            f"trials continued from a checkpoint: {self.watch.resumed.total()} times, {len(self.watch.resumed)} cells",
        ]
        lines += [f"seen {count} times: {message}" for message, count in self.watch.deaths.items()]
        wrong = [f"WRONG: {problem}" for problem in self.problems]
        return "\n".join(lines + (wrong or ["all as in the reference"]))


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items()))


def run(
    folder: Path,
    cells: int,
    kills: int,
    seed: int,
    slots: int = 2,
    workers: int = 0,
    runners: int = 1,
    vectorize: str = "off",
) -> Report:
    """Run a sweep twice, in peace and disturbed, and compare.

    Args:
        folder: to work in.
        cells: of the sweep.
        kills: how many.
        seed: decides what dies and when.
        slots: trials at a time.
        workers: processes of each trial that load batches.
        runners: of the disturbed sweep at a time, each with so many slots.
        vectorize: of both sweeps; cells that go on after a kill may share their programs with others than before.
    """
    file, log = folder / "sweep.yaml", folder / "output.txt"
    file.write_text(SWEEP.format(cells=cells, most=10 * cells, workers=workers))
    reference = _Study(file, log, folder / "reference", slots, vectorize)
    began = time.monotonic()
    code = reference.start().wait()
    undisturbed = time.monotonic() - began
    report = Report(cells)
    if code != 0:
        report.problems.append(f"the reference ended with code {code}; see {log}")
    study = _Study(file, log, folder / "disturbed", slots, vectorize)
    report.watch = Watch(study.folders)
    try:
        study.disturb(runners, kills, random.Random(seed), reference.seconds_of_a_trial(), report)  # noqa: S311
    finally:
        kill_everything(study.mark)
        report.watch.stop()
    report.seconds = undisturbed, time.monotonic() - began - undisturbed
    report.problems += _differences(reference.folders, study.folders, report.watch, to_the_bit=vectorize == "off")
    return report


class _Study:
    """A sweep in an output folder of its own."""

    def __init__(self, file: Path, log: Path, out: Path, slots: int, vectorize: str) -> None:
        self.file, self.log, self.slots, self.vectorize = str(file), log, slots, vectorize
        self.mark = uuid.uuid4().hex
        self.words = (f"out_dir={out}",)
        self.folders = [cell.folder for cell in plan(read_sweep(self.file), self.words)]

    def start(self) -> subprocess.Popen[bytes]:
        words = ("sweep", "run", self.file, *self.words, "--slots", str(self.slots))
        words += ("--vectorize", self.vectorize)
        return lra_bench(self.log, *words, mark=self.mark)

    def kinds(self) -> set[str]:
        return set(processes(self.mark).values())

    def seconds_of_a_trial(self) -> float:
        return mean(RunRecord.read(folder / "record.json").budget.seconds for folder in self.folders)

    def disturb(self, runners: int, kills: int, rng: random.Random, longest: float, report: Report) -> None:
        """Kill until enough was killed; start it again until all is done.

        A kill comes up to `longest` seconds after some number of records; two of three wait for a trial to begin.
        """
        assert report.watch is not None
        latest = max(1, len(self.folders) * 3 // 4 - 1)
        due = sorted(rng.randrange(latest) for _ in range(kills))
        waits = rng.random() < 2 / 3
        running = [self.start() for _ in range(runners)]
        report.runs = runners
        while report.runs < 10 * (kills + 1):
            if due and len(report.watch.final) >= due[0] and not (waits and "trial" not in self.kinds()):
                time.sleep(rng.uniform(0, longest))
                if (kind := kill_something(self.mark, rng)) is not None:
                    report.kills[kind] += 1
                    due.pop(0)
                    waits = rng.random() < 2 / 3
            left = [runner for runner in running if runner.poll() is None]
            killed = sum((runner.returncode or 0) < 0 for runner in running)
            if not left and not killed:
                if self._is_done(report):
                    break
                killed, report.gave_up = 1, report.gave_up + 1
            running = left + [self.start() for _ in range(killed)]
            report.runs += killed
            time.sleep(0.02)
        else:
            report.problems.append(f"not done after {report.runs} runs")
        if due:
            report.problems.append(f"the sweep was over before {len(due)} of the {kills} kills")

    def _is_done(self, report: Report) -> bool:
        """Whether every cell has a record that is a result; where one has not, it is prepared to be run again."""
        records = [finished_record(folder) for folder in self.folders]
        if any(record is not None and record.status in FAILURES for record in records):
            code = lra_bench(self.log, "sweep", "retry", self.file, *self.words, "--failed").wait()
            report.retries += 1
            if code != 0:
                report.problems.append(f"`sweep retry` ended with code {code}")
            return False
        return None not in records


def _differences(reference: list[Path], disturbed: list[Path], watch: Watch, to_the_bit: bool) -> Iterator[str]:
    """What is not as it was; members of other programs round differently, so of them only what is no measurement."""
    study = disturbed[0].parent
    if found := {path.parent for path in study.glob("*/record.json")} ^ set(disturbed):
        yield f"not one record for each cell: {sorted(path.name for path in found)}"
    for folder in watch.replaced:
        yield f"{folder.name}: a final record was written over"
    for expected, folder in zip(reference, disturbed, strict=True):
        if watch.completed[folder] != 1:
            yield f"{folder.name}: was run to its end {watch.completed[folder]} times"
        if curve(folder, to_the_bit) != curve(expected, to_the_bit):
            yield f"{folder.name}: another learning curve"
        for name, value in comparable(folder).items():
            if (to_the_bit or name not in MEASURED) and value != comparable(expected)[name]:
                yield f"{folder.name}: {name} is {value}, not {comparable(expected)[name]}"
        with claim(folder):
            pass
    for path in study.rglob("*.part"):
        if not path.name.startswith(".config.yaml."):  # any runner may be writing that one
            yield f"left over: {path}"


MEASURED = ("curve", "val", "test", "selection")
"""Fields of a record that rounding may change."""


def curve(folder: Path, to_the_bit: bool) -> list[Any]:
    """The learning curve, or the steps that have points."""
    points = read_history(folder / "history.jsonl")
    return points if to_the_bit else [(point.step, bool(point.val)) for point in points]


def comparable(folder: Path) -> dict[str, Any]:
    """What two records of the same trial have in common: all but times and places."""
    record = RunRecord.read(folder / "record.json").model_dump(
        exclude={"study", "config", "environment", "engine", "tracking", "digest"}
    )
    budget = record.pop("budget")
    return {**record, "steps": budget["steps"], "examples": budget["examples"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="decides what dies and when")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="processes of each trial that load batches")
    parser.add_argument("--runners", type=int, default=1, help="of the disturbed sweep, each with so many slots")
    parser.add_argument("--folder", type=Path, help="to work in, a new one, which is kept; default: a temporary one")
    parser.add_argument("--vectorize", choices=("auto", "on", "off"), default="off")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = words.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=words.folder is None)
        report = run(
            folder,
            words.cells,
            words.kills,
            words.seed,
            words.slots,
            words.workers,
            words.runners,
            words.vectorize,
        )
    print(report)
    sys.exit(1 if report.problems else 0)


if __name__ == "__main__":
    main()
