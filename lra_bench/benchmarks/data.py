"""How fast training batches come, beside what a model does with them."""

import time
from collections.abc import Callable, Sequence

from lra_bench.benchmarks.results import Benchmark, Column, Row, machine
from lra_bench.building import build_net, build_task, real_dtype
from lra_bench.config.compose import compose, compose_task
from lra_bench.config.files import shipped_configs
from lra_bench.config.schema import Config
from lra_bench.core.errors import LraBenchError
from lra_bench.core.registry import TASKS
from lra_bench.data.throughput import Throughput, measure
from lra_bench.training.objectives import make_objective

STEPS = 16_384
"""Time steps of the batch that a model's step is timed on; its time per example is what is compared."""

IDENTITY = ("task",)

COLUMNS = (
    Column("task", "task"),
    Column("loader", "examples/s", "{:,.0f}", "more"),
    Column("decoded", "decoded too", "{:,.0f}", "more"),
    Column("item_by_item", "one by one", "{:,.0f}"),
    Column("ratio", "ratio", "{:.1f}", "more"),
    Column("step", "S4D step, ms/example", "{:,.1f}", "less"),
    Column("share", "loader's share", "{:.2%}"),
)


def measure_tasks(
    tasks: Sequence[str], settings: Sequence[str], batch: int, seconds: float, step: bool, say: Callable[[str], None]
) -> Benchmark:
    """Measure the loaders of some tasks, or of all whose data are ready.

    Args:
        tasks: names; none for all.
        settings: `key=value` words, of the tasks.
        batch: examples of a batch.
        seconds: spent on each figure.
        step: time a training step of S4D too.
        say: gets lines on what is going on.

    Raises:
        LraBenchError: the data of a task that was named are not ready, or none are of any.
    """
    rows: list[Row] = []
    for name in tasks or TASKS.entries():
        task = build_task(compose_task(name, [*settings, f"train.global_batch_size={batch}"]))
        try:
            task.require_data()
        except LraBenchError:
            if tasks:
                raise
            say(f"{name}: its data are not prepared")
            continue
        say(name)
        rows.append(_row(name, measure(task, seconds), _step_seconds(name, settings) if step else None))
    if not rows:
        raise LraBenchError("the data of no task are ready; lra-bench data prepare NAME")
    conditions = {**machine(), "batch": str(batch), "processes": "one, no workers, all on the processor"}
    return Benchmark("data", conditions, IDENTITY, COLUMNS, rows)


def _row(name: str, speed: Throughput, step: float | None) -> Row:
    return {
        "task": name,
        "loader": speed.loader,
        "decoded": speed.decoded,
        "item_by_item": speed.item_by_item,
        "ratio": speed.ratio,
        "step": None if step is None else 1000 * step,
        "share": None if step is None else 1 / speed.loader / step,
    }


def _step_seconds(task: str, settings: Sequence[str]) -> float:
    """Seconds per example of a forward and backward pass of S4D, in its recipe's size where there is one."""
    config = _s4d(task, settings)
    built = build_task(config)
    size = max(1, STEPS // built.spec.seq_len)
    batch = built.decode(built.source("train").__getitems__(list(range(size)))).in_precision(real_dtype(config))
    net = build_net(config, built.spec)
    objective = make_objective(built.spec)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        objective.loss(net(batch), batch).backward()  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - start)
    return min(times) / size


def _s4d(task: str, settings: Sequence[str]) -> Config:
    recipe = [f"recipe={task}/s4d"] if f"{task}/s4d" in shipped_configs("recipe") else []
    return compose([f"task={task}", "model=s4d", *recipe, *settings]).config
