"""`lra-bench bench data`."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lra_bench.config.schema import Config
    from lra_bench.data.throughput import Throughput

STEPS = 16_384
"""Time steps of the batch that a model's step is timed on; its time per example is what is compared."""


@click.command(
    epilog="""\b
Examples:
  lra-bench bench data
  lra-bench bench data text image --seconds 3
  lra-bench bench data pathx task.size=small
"""
)
@click.argument("words", nargs=-1, metavar="[TASK]... [KEY=VALUE]...")
@click.option("--batch", type=click.IntRange(min=1), default=64, show_default=True, help="Examples per batch.")
@click.option("--seconds", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Spent on each figure.")
@click.option("--step/--no-step", default=True, help="Time a training step of S4D too, at its recipe's size.")
def data(words: tuple[str, ...], batch: int, seconds: float, step: bool) -> None:
    """Training batches per second of each task that is ready, one process, no workers, everything on the CPU.

    Beside it an ordinary item-by-item data set over the same arrays with torch's default collate, and which share of an
    S4D training step (forward and backward, of the size of the task's recipe) the loader takes.
    """
    from lra_bench.building import build_task
    from lra_bench.cli.show import print_table
    from lra_bench.config.compose import compose_task
    from lra_bench.core.errors import LraBenchError
    from lra_bench.core.registry import TASKS
    from lra_bench.data.throughput import measure

    tasks = [word for word in words if "=" not in word]
    overrides = [word for word in words if "=" in word]
    rows = []
    for name in tasks or TASKS.entries():
        task = build_task(compose_task(name, [*overrides, f"train.global_batch_size={batch}"]))
        try:
            task.require_data()
        except LraBenchError:
            if tasks:
                raise
            rows.append([name, "not prepared", *[""] * 5])
            continue
        speed = measure(task, seconds)
        rows.append([name, *_figures(speed, _step_seconds(name, overrides) if step else None)])
    headers = ["task", "examples/s", "decoded too", "one by one", "ratio", "S4D step, ms/example", "loader's share"]
    print_table(headers, rows)


def _figures(speed: "Throughput", step: float | None) -> list[str]:
    shown = [f"{speed.loader:,.0f}", f"{speed.decoded:,.0f}", f"{speed.item_by_item:,.0f}", f"{speed.ratio:.1f}"]
    if step is None:
        return [*shown, "", ""]
    return [*shown, f"{1000 * step:,.1f}", f"{100 / speed.loader / step:.2g} %"]


def _step_seconds(task: str, overrides: list[str]) -> float:
    """Seconds per example of a forward and backward pass of S4D, in its recipe's size where there is one."""
    import time

    from lra_bench.building import build_net, build_task
    from lra_bench.training.objectives import make_objective

    config = _s4d(task, overrides)
    built = build_task(config)
    size = max(1, STEPS // built.spec.seq_len)
    batch = built.decode(built.source("train").__getitems__(list(range(size))))
    net = build_net(config, built.spec)
    objective = make_objective(built.spec)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        objective.loss(net(batch), batch).backward()  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - start)
    return min(times) / size


def _s4d(task: str, overrides: list[str]) -> "Config":
    from lra_bench.config.compose import compose
    from lra_bench.config.files import shipped_configs

    recipe = [f"recipe={task}/s4d"] if f"{task}/s4d" in shipped_configs("recipe") else []
    return compose([f"task={task}", "model=s4d", *recipe, *overrides]).config
