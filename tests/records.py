"""Made-up records: realistic ones for looking at, small ones for counting by hand."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from lra_bench.core.record import (
    Budget,
    CurvePoint,
    Environment,
    ModelInfo,
    RunRecord,
    Selection,
    Status,
    TaskInfo,
)
from lra_bench.report.aggregate import aggregate
from lra_bench.report.board import Board
from lra_bench.report.frame import frame_of
from lra_bench.report.standings.suites import STANDARD
from lra_bench.report.trial import measured


def boards_of(records: Iterable[RunRecord]) -> list[Board]:
    """The boards of records measured here."""
    return aggregate(measured(records))


def frame_of_records(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Records measured here as a table."""
    return frame_of(measured(records))


ENVIRONMENT = Environment(
    commit="56c6f7912d0a4b0f8e1e5b6c7d8e9f0a1b2c3d4e",
    dirty=False,
    python="3.11.7",
    packages={"torch": "2.9.0", "lightning": "2.6.0", "numpy": "2.4.6"},
    device="CPU, 2 cores",
    precision="32",
    threads=1,
)
TASK = TaskInfo(
    name="lds",
    version=1,
    fingerprint="f00d",
    metric="nmse",
    higher_is_better=False,
    chance=1.0,
    baselines={"zero": {"nmse": 1.0, "mse": 57.0}, "noise_floor": {"nmse": 2e-5, "mse": 1e-3}},
)
MODELS: dict[str, dict[str, Any]] = {
    "stu": {"name": "stu", "num_filters": 24, "ar_order": 2},
    "lru": {"name": "lru", "state_dim": 64, "r_min": 0.9, "r_max": 0.999},
    "transformer": {"name": "transformer", "num_heads": 4, "window": None},
}
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
STEPS = 400


def make_config(model: str = "stu", rate: float = 1e-3, seed: int = 0, **model_settings: Any) -> dict[str, Any]:
    """A resolved config as a trial writes it."""
    return {
        "task": {"name": "lds", "seq_len": 512, "state_dim": 4, "noise_std": 0.01},
        "model": {**MODELS.get(model, {"name": model}), **model_settings},
        "backbone": {"depth": 1, "encoder": "identity", "head": "identity", "norm": "none", "d_model": 16},
        "optim": {"name": "adam", "lr": rate, "weight_decay": 0.0, "schedule": "constant", "grad_clip": None},
        "train": {"max_steps": STEPS, "global_batch_size": 1, "val_every": 20, "precision": "32", "threads": 1},
        "tracking": {"wandb": "disabled", "project": "lra-bench"},
        "seed": seed,
        "data_seed": seed,
        "track": "uniform",
        "protocol": "clean",
        "recipe": None,
        "study": "quickstart",
        "out_dir": "runs",
    }


def make_record(
    name: str = "stu",
    rate: float = 1e-3,
    seed: int = 0,
    val: float | None = 0.1,
    test: float | None = None,
    status: Status = Status.OK,
    **changes: Any,
) -> RunRecord:
    """One record with the given validation error (and test error, the same if not given); `changes` replace fields."""
    test = val if test is None else test
    fields: dict[str, Any] = {
        "trial_id": f"{name}-{rate:g}-{seed}",
        "study": "quickstart",
        "status": status,
        "model": ModelInfo(name=name, origin="lra-bench 0.1.0", parameters=1234, state_size=64),
        "task": TASK,
        "track": "uniform",
        "protocol": "clean",
        "seed": seed,
        "data_seed": seed,
        "config": make_config(name, rate, seed),
        "budget": Budget(steps=STEPS, examples=STEPS, seconds=8.0, examples_per_second=50.0, peak_memory_mb=300.0),
        "learning_rates": {"default": rate},
        "selection": Selection(rule="best val nmse", step=STEPS),
        "val": {"nmse": val},
        "test": {"nmse": test},
        "environment": ENVIRONMENT,
    }
    return RunRecord(**{**fields, **changes})


LRA_DEPTHS = {"listops": 8, "retrieval": 6, "pathx": 6, "path256": 4}
"""Blocks by task, 6 elsewhere: recipes differ from task to task."""


def make_lra_record(
    task: str = "listops",
    name: str = "s5",
    /,
    rate: float = 1e-3,
    seed: int = 0,
    val: float | None = 0.6,
    test: float | None = None,
    status: Status = Status.OK,
    origin: str | None = "official",
    track: str = "uniform",
    protocol: str = "clean",
    task_settings: Mapping[str, Any] | None = None,
    **changes: Any,
) -> RunRecord:
    """One record of an LRA task at its standard settings, with the given accuracies; `changes` replace fields."""
    chance = 0.1 if task in ("listops", "image") else 0.5
    drawn = {"origin": origin} if "size" in STANDARD.get(task, {}) else {}
    config = make_config(name, rate, seed)
    config["task"] = {"name": task, **drawn, **STANDARD.get(task, {}), **(task_settings or {})}
    config["backbone"] = {**config["backbone"], "depth": LRA_DEPTHS.get(task, 6), "encoder": "auto", "head": "linear"}
    config |= {"study": "lra", "track": track, "protocol": protocol}
    info = TaskInfo(
        name=task,
        version=1,
        fingerprint=f"{task}-f00d",
        metric="accuracy",
        higher_is_better=True,
        chance=chance,
        origin=origin,
        content=f"{task}-c0de" if origin == "official" else None,
        baselines={"majority": {"accuracy": chance}, "bag_of_tokens": {"accuracy": round(chance + 0.07, 2)}},
    )
    fields: dict[str, Any] = {
        "trial_id": "-".join(
            map(str, [task, name, f"{rate:g}", seed, track, protocol, origin, *sorted(task_settings or {})])
        ),
        "study": "lra",
        "status": status,
        "task": info,
        "track": track,
        "protocol": protocol,
        "config": config,
        "selection": Selection(rule="best val accuracy", step=STEPS),
    }
    record = make_record(name, rate, seed, **{**fields, **changes})
    measured = {"val": {"accuracy": val}, "test": {"accuracy": val if test is None else test}}
    return record.model_copy(update=measured)


def realistic_records() -> list[RunRecord]:
    """Three models, eight learning rates, three seeds: a tolerant one, a touchy one, and one that hardly learns."""
    rng = np.random.default_rng(7)
    return [_realistic(model, rate, seed, rng) for model in MODELS for rate in RATES for seed in range(3)]


def _realistic(model: str, rate: float, seed: int, rng: np.random.Generator) -> RunRecord:
    best_rate, floor, speed, limit = {
        "stu": (3e-2, 3e-5, 1.6, 0.5),
        "lru": (4e-3, 3e-3, 1.2, 2e-2),
        "transformer": (2e-3, 0.35, 0.5, 0.2),
    }[model]
    size = {"stu": (1335, 1536), "lru": (2243, 128), "transformer": (8963, 16384)}[model]
    rate_noise = math.exp(rng.normal(0, 0.6))
    if rate * rate_noise > limit:
        return _diverged(model, rate, seed, size, rng)
    decay = speed * min(rate / best_rate, 1.0) * 12 / STEPS
    points = []
    for step in range(20, STEPS + 1, 20):
        nmse = (floor * (1 + rate / limit) + (1 - floor) * math.exp(-decay * step)) * math.exp(rng.normal(0, 0.15))
        points.append(CurvePoint(step=step, train_loss=nmse * 57, val={"nmse": min(nmse, 1.02), "mse": nmse * 57}))
    last = points[-1].val["nmse"]
    assert last is not None
    return make_record(
        model,
        rate,
        seed,
        val=last,
        test=last * math.exp(rng.normal(0, 0.1)),
        status=Status.OK if last < 0.98 else Status.CHANCE,
        model=ModelInfo(name=model, origin="lra-bench 0.1.0", parameters=size[0], state_size=size[1]),
        budget=_budget(STEPS, {"stu": 7.0, "lru": 5.0, "transformer": 19.0}[model] * math.exp(rng.normal(0, 0.05))),
        curve=points,
    )


def _diverged(model: str, rate: float, seed: int, size: tuple[int, int], rng: np.random.Generator) -> RunRecord:
    step = int(rng.integers(40, 200))
    points = [
        CurvePoint(step=s, train_loss=57.0 * 4 ** (s / 20), val={"nmse": 0.8 * 4 ** (s / 20)})
        for s in range(20, step, 20)
    ]
    return make_record(
        model,
        rate,
        seed,
        val=None,
        status=Status.DIVERGED,
        message=f"the loss is not finite at step {step}",
        failed_step=step,
        model=ModelInfo(name=model, origin="lra-bench 0.1.0", parameters=size[0], state_size=size[1]),
        budget=_budget(step, 2.0),
        curve=points,
        selection=None,
    )


def _budget(steps: int, seconds: float) -> Budget:
    return Budget(
        steps=steps, examples=steps, seconds=seconds, examples_per_second=steps / seconds, peak_memory_mb=412.0
    )
