"""A small set of records in literal numbers, and the report that it gives, which is frozen in `tests/frozen/`.

`python -m tests.frozen_set --update` freezes the report as it is now.
"""

import argparse
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lra_bench.core.record import CurvePoint, RunRecord, Status, Tracking
from lra_bench.report import build_report, load_records
from lra_bench.report.files.submissions import FILE_NAME as SUBMISSION
from lra_bench.report.files.submissions import RECORDS, Submission, file_hash
from tests.records import make_config, make_lra_record, make_record

FROZEN = Path(__file__).parent / "frozen"
FILES = ("leaderboard.md", "leaderboard.csv", "leaderboard.tex", "sensitivity.csv", "index.html")
FILTERS = (np.array([0.3, 0.02, 1e-4]), np.eye(16, 3))
AGAINST = "S5"

HOSTILE = r"""=cmd|'<script>alert("x")</script>' \input{/etc/passwd} $a_b^c$ 100% #1 &amp; [x](y) 模型 – "q"; -1"""

LRA: dict[str, dict[str, tuple[float, ...]]] = {
    "s5": {
        "listops": (0.6110, 0.6085, 0.6150),
        "text": (0.8890, 0.8935, 0.8912),
        "retrieval": (0.9120, 0.9140, 0.9105),
        "image": (0.8750, 0.8801, 0.8777),
        "pathfinder": (0.9510, 0.9533, 0.9478),
        "pathx": (0.9810, 0.9855, 0.9790, 0.9801, 0.9833),
    },
    "stu": {
        "listops": (0.6120, 0.6070, 0.6160),
        "text": (0.8610, 0.8580, 0.8655),
        "retrieval": (0.8850, 0.8810, 0.8902),
        "image": (0.8420, 0.8377, 0.8512),
        "pathfinder": (0.9210, 0.9302, 0.9155),
        "pathx": (0.5010, 0.4980, 0.9420, 0.9388, 0.9401),
    },
    "transformer": {
        "listops": (0.3650, 0.3702, 0.3588),
        "text": (0.6420, 0.6455, 0.6391),
        "image": (0.4240, 0.4277, 0.4199),
        "pathfinder": (0.7140, 0.7202, 0.7077),
        "pathx": (0.4990, 0.5003, 0.5011, 0.5120, 0.4955),
    },
}
"""Test accuracy by model, task and seed; the transformer lacks Retrieval."""

OTHER_RATES = {1e-4: -0.06, 1e-2: -0.11}
"""How much worse the models are on ListOps at other learning rates than at 1e-3."""

LDS_RATES = (1e-3, 1e-2, 1e-1)
LDS: dict[tuple[str, int | None], tuple[tuple[float | None, ...], ...]] = {
    ("stu", 8): ((0.41, 0.44, 0.39), (0.052, 0.061, 0.048), (0.0110, 0.0132, 0.0094)),
    ("stu", 16): ((0.38, 0.40, 0.36), (0.0081, 0.0102, 0.0077), (0.0143, 0.0171, 0.0120)),
    ("stu", 24): ((0.37, 0.42, 0.35), (3.1e-4, 4.4e-4, 2.7e-4), (0.0021, 0.0033, 0.0019)),
    ("lru", None): ((0.0105, 0.0121, 0.0098), (0.0203, 0.0188, 0.0240), (None, None, 0.31)),
    ("lstm", None): ((0.22, 0.25, 0.21), (0.13, 0.15, 0.12), (0.1, 0.11, 0.09)),
}
"""Test error by model and number of filters, learning rate and seed; None diverged. The LSTM is best at the last rate,
the LRU at the first."""


def records() -> Iterator[RunRecord]:
    """The sound records that are measured here."""
    yield from _lra()
    yield from _lra_elsewhere()
    yield from _lds()
    yield from _failures()
    yield _hostile()


def write_frozen_set(folder: Path) -> list[Path]:
    """Write the set below a folder.

    Returns:
        What a report is to be made of: a folder of runs, and one of submissions.
    """
    for record in records():
        _write(record, folder / "runs")
    _write_unsound(folder / "runs")
    _write_submission(folder / "results" / "lab")
    return [folder / "runs", folder / "results"]


def build_frozen_report(folder: Path) -> dict[str, str]:
    """Write the set and its report below a folder.

    Returns:
        What is frozen of the report, by the names of its files.
    """
    out = folder / "report"
    build_report(load_records(*write_frozen_set(folder / "set")), out, FILTERS, against=AGAINST)
    return {name: _without_drawings((out / name).read_bytes().decode()) for name in FILES}


def _without_drawings(text: str) -> str:
    """The text with figures, style and script of a page each as their hash, which is as strict and can be read."""
    return re.sub(
        r"<(svg|style|script)\b.*?</\1>",
        lambda found: f"<{found[1]} sha256={hashlib.sha256(found[0].encode()).hexdigest()}>",
        text,
        flags=re.DOTALL,
    )


def _lra() -> Iterator[RunRecord]:
    for model, tasks in LRA.items():
        for task, values in tasks.items():
            for seed, value in enumerate(values):
                yield _scored(task, model, seed, value)
    for rate, change in OTHER_RATES.items():
        for model in LRA:
            for seed, value in enumerate(LRA[model]["listops"]):
                yield _scored("listops", model, seed, round(value + change, 4), rate=rate)


def _lra_elsewhere() -> Iterator[RunRecord]:
    """Another protocol, another track, and generated data."""
    for seed, value in enumerate((0.6030, 0.6055, 0.5990)):
        yield _scored("listops", "s5", seed, value, protocol="legacy")
        yield _scored("listops", "s5", seed, value, track="recipe")
        yield _scored("listops", "s5", seed, value, origin="generated")


def _scored(task: str, model: str, seed: int, value: float, **settings: Any) -> RunRecord:
    binary = task in ("text", "retrieval", "pathfinder", "pathx")
    at_chance = binary and value < 0.52
    return make_lra_record(
        task,
        model,
        seed=seed,
        val=round(value + 0.002, 4),
        test=value,
        status=Status.CHANCE if at_chance else Status.OK,
        curve=_curve("accuracy", value, 0.5 if binary else 0.1),
        **settings,
    )


def _lds() -> Iterator[RunRecord]:
    for (model, filters), by_rate in LDS.items():
        own = {} if filters is None else {"num_filters": filters}
        for rate, values in zip(LDS_RATES, by_rate, strict=True):
            for seed, value in enumerate(values):
                yield make_record(
                    model,
                    rate,
                    seed,
                    value,
                    status=Status.OK if value is not None else Status.DIVERGED,
                    message=None if value is not None else "the loss is not finite at step 160",
                    failed_step=None if value is not None else 160,
                    trial_id=f"lds-{model}-{filters}-{rate:g}-{seed}",
                    config=make_config(model, rate, seed, **own),
                    curve=_curve("nmse", value if value is not None else 7.5, 1.0),
                )


def _failures() -> Iterator[RunRecord]:
    """One of each kind that is not above; one of them never built its model or its task."""
    kinds = (Status.OOM, Status.TIMEOUT, Status.ERROR, Status.PREEMPTED)
    for place, status in enumerate(kinds):
        rate, seed = (1e-3, place) if place < 3 else (1e-2, 0)
        yield make_record("mamba", rate, seed, None, status=status, message=f"stopped: {status}", selection=None)
    yield make_record("mamba", 1e-2, 1, None, status=Status.ERROR, message="no such kernel", model=None, task=None)


def _hostile() -> RunRecord:
    address = "javascript:alert(1)"
    tracking = Tracking(backend="wandb", mode="online", run_id=HOSTILE, url=address)
    config = make_config(HOSTILE, 1e-2, 0, **{HOSTILE: HOSTILE})
    return make_record(
        HOSTILE, 1e-2, 0, 0.5, trial_id="hostile", study=HOSTILE, message=HOSTILE, config=config, tracking=tracking
    )


def _curve(metric: str, value: float, start: float) -> list[CurvePoint]:
    """Three points on the way from `start`."""
    middle = round((value + start) / 2, 6)
    return [
        CurvePoint(step=step, train_loss=score, val={metric: score})
        for step, score in ((100, start), (200, middle), (400, value))
    ]


def _write(record: RunRecord, runs: Path) -> Path:
    file = runs / "frozen" / record.trial_id / "record.json"
    file.parent.mkdir(parents=True)
    record.write(file)
    return file


def _write_unsound(runs: Path) -> None:
    """Files of no use: corrupt, truncated, another program's, of a future version, changed by hand."""
    sound = _write(make_record("stu", trial_id="edited", val=0.25), runs)
    text = sound.read_text(encoding="utf-8")
    sound.write_text(text.replace("0.25", "0.05"), encoding="utf-8")
    unsound = {
        "corrupt": "\x00\x01 no JSON",
        "truncated": text[: len(text) // 2],
        "foreign": '{"loss": 0.1, "epoch": 3}\n',
        "future": text.replace('"schema_version": 2', '"schema_version": 99'),
    }
    for name, content in unsound.items():
        file = runs / "frozen" / name / "record.json"
        file.parent.mkdir()
        file.write_text(content, encoding="utf-8")


def _write_submission(folder: Path) -> None:
    """Three sound records, one changed afterwards, one that is not listed."""
    (folder / RECORDS).mkdir(parents=True)
    hashes = {}
    for seed, value in enumerate((0.6200, 0.6222, 0.6189, 0.9999)):
        file = folder / RECORDS / f"{seed}.json"
        _scored("listops", "s5", seed, value).write(file)
        hashes[file.name] = file_hash(file.read_bytes())
    changed = folder / RECORDS / "3.json"
    changed.write_text(changed.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    (folder / RECORDS / "stray.json").write_text("{}", encoding="utf-8")
    submission = Submission(schema_version=1, name=folder.name, by="A lab", url="https://example.org/a", records=hashes)
    (folder / SUBMISSION).write_text(submission.text(), encoding="utf-8")


def write_frozen_parts(target: Path) -> None:
    """Write what is frozen of the report into a folder, in place of what was there."""
    with tempfile.TemporaryDirectory() as scratch:
        files = build_frozen_report(Path(scratch))
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, text in files.items():
        (target / name).write_bytes(text.encode())


def main() -> None:
    """Freeze the report as it is now, or write the same files elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--update", action="store_const", const=FROZEN, dest="target", help=f"write to {FROZEN.name}/")
    where.add_argument("--out", type=Path, dest="target", help="another folder; what is in it is lost")
    write_frozen_parts(parser.parse_args().target)


if __name__ == "__main__":
    main()
