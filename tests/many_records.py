"""Measures what a report on thousands of records takes: `python -m tests.many_records --trials 10000`.

Records are made up; the report is made by the real command in a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lra_bench.core.record import CurvePoint, RunRecord, Status, TaskInfo
from tests.records import make_config, make_record

TASKS = ("listops", "text", "retrieval", "image", "pathfinder", "pathx", "lds", "lds_complex")
MODELS = ("stu", "stu_ar", "lru", "s4", "s4d", "s5", "dss", "mamba", "transformer", "lstm")
RATES = tuple(10 ** (-4 + place / 3) for place in range(9))
POINTS = 50


def write_records(folder: Path, count: int) -> None:
    """Write `count` records of every task, model and rate, with as many seeds as that takes."""
    rng = np.random.default_rng(0)
    cells = [(task, model, rate) for task in TASKS for model in MODELS for rate in RATES]
    for place in range(count):
        task, model, rate = cells[place % len(cells)]
        record = _record(task, model, rate, place // len(cells), rng)
        trial = folder / "many" / record.trial_id
        trial.mkdir(parents=True)
        record.write(trial / "record.json")


def _record(task: str, model: str, rate: float, seed: int, rng: np.random.Generator) -> RunRecord:
    score = task.startswith("lds")
    metric, chance = ("nmse", 1.0) if score else ("accuracy", 0.5)
    level = float(np.clip(rng.normal(0.1 if score else 0.8, 0.02), 0.001, 0.999))
    failed = rate > 0.02 and bool(rng.random() < 0.3)
    info = TaskInfo(name=task, version=1, metric=metric, higher_is_better=not score, chance=chance, origin="generated")
    config = make_config(model, rate, seed)
    config["task"]["name"] = task
    steps = np.arange(1, POINTS + 1) * 100
    values = chance + (level - chance) * (1 - np.exp(-steps / 800)) + rng.normal(0, 0.01, POINTS)
    record = make_record(
        model,
        rate,
        seed,
        task=info,
        config=config,
        trial_id=f"{task}-{model}-{rate:.6f}-{seed}",
        study="many",
        status=Status.DIVERGED if failed else Status.OK,
        message="the loss is not finite" if failed else None,
        curve=[CurvePoint(step=s, train_loss=v, val={metric: v}) for s, v in zip(steps.tolist(), values, strict=True)],
    )
    measured = {} if failed else {metric: level}
    return record.model_copy(update={"val": measured, "test": measured})


def main() -> None:
    """Write the records, make the report, and print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="folder for records and report; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        if not (folder / "many").exists():
            write_records(folder, options.trials)
        started = time.monotonic()
        command = [Path(sys.executable).with_name("lra-bench"), "report", folder / "many", "--out", folder / "report"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        size = (folder / "report" / "index.html").stat().st_size / 1e6
        print(f"{options.trials} records: {seconds:.1f} s, {memory:.0f} MB in the largest process, page {size:.1f} MB")


if __name__ == "__main__":
    main()
