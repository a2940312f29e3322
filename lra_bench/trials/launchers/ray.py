"""Trials as tasks of Ray, on this machine or on a cluster.

The machines of a cluster share this folder, under the same path, and have the same packages installed. A W&B login is
looked for where a trial runs.
"""

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from lra_bench.core.errors import ConfigError, LraBenchError
from lra_bench.trials.launchers.options import read_options

if TYPE_CHECKING:
    from lra_bench.trials.plan import Cell
    from lra_bench.trials.policy import Policy
    from lra_bench.trials.runner import Leftovers

MOST_RETRIES = 10
"""How often a trial goes on elsewhere when what runs it is lost."""
POLL = 0.5
OBJECT_STORE = 100 * 2**20
"""Bytes of shared memory of a Ray that is started here; only paths go through it."""
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Ray reports nothing to its makers, and leaves alone which GPUs a trial sees that asks for none."""


@dataclass(frozen=True)
class RayOptions:
    """Options of `--launcher ray`.

    Attributes:
        address: of a running cluster, such as auto or 10.0.0.1:6379; by default Ray is started here, for this sweep.
        num_cpus: CPUs of a Ray that is started here; by default all.
        trials_per_gpu: how many trials share a GPU.
    """

    address: str | None = None
    num_cpus: Annotated[int, Field(ge=1)] | None = None
    trials_per_gpu: Annotated[int, Field(ge=1)] = 1


def launch(
    cells: Sequence["Cell"],
    options: dict[str, str],
    policy: "Policy",
    on_done: Callable[["Cell"], None],
    say: Callable[[str], None],
) -> "Leftovers":
    """Run a task for each cell that is not done, and wait for all.

    On return each cell has a final record, but for those that another runner holds, those that a signal to their own
    process stopped, and those that `say` tells of.

    Args:
        cells: of the sweep.
        options: see `RayOptions`.
        policy: of the runner in each task; of `on_error` only `stop` has a meaning.
        on_done: called with each cell that is over, also with those that were before.
        say: takes a line for the user.

    Raises:
        LraBenchError: Ray is missing or cannot be reached, an option makes no sense, or no machine has enough.
        KeyboardInterrupt: SIGINT, SIGTERM, SIGUSR1 or a request to stop the study, which its argument names; running
            trials have saved themselves.
    """
    from lra_bench.trials.frozen import prepare
    from lra_bench.trials.runner import Leftovers
    from lra_bench.trials.state import finished_record

    chosen = read_options(RayOptions, "ray", options)
    waiting = []
    for cell in cells:
        if finished_record(cell.folder) is None:
            waiting.append(prepare(cell))
        else:
            on_done(cell)
    if not waiting:
        return Leftovers()
    with _connected(chosen):
        return _run(waiting, chosen, policy, on_done, say)


def _run(
    cells: Sequence["Cell"],
    options: RayOptions,
    policy: "Policy",
    on_done: Callable[["Cell"], None],
    say: Callable[[str], None],
) -> "Leftovers":
    """Submit all tasks, and see to each that ends."""
    from lra_bench.core.record import Status
    from lra_bench.trials.runner import Leftovers
    from lra_bench.trials.signals import StopSignals
    from lra_bench.trials.state import StopRequest, finished_record

    stop_requests = [StopRequest(study) for study in {cell.folder.parent for cell in cells}]
    pending = _submit(cells, options, policy, say)
    with StopSignals() as signals:
        try:
            while pending:
                if signals.received or any(request.made for request in stop_requests):
                    raise KeyboardInterrupt(signals.received or "sweep stop")
                for cell, problem in _ended(pending):
                    if problem is not None:
                        say(f"{cell.folder}: its Ray task failed: {problem}")
                    record = finished_record(cell.folder)
                    if record is not None:
                        on_done(cell)
                    if record is not None and record.status is Status.ERROR and policy.on_error == "stop":
                        return Leftovers(stopped_by=cell)
            return Leftovers()
        finally:
            _cancel(list(pending))


def _submit(
    cells: Sequence["Cell"], options: RayOptions, policy: "Policy", say: Callable[[str], None]
) -> "dict[Any, Cell]":
    """A task for each cell, by its reference."""
    import ray

    from lra_bench.trials.launchers.task import share_of

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    any_gpus = any(machine.get("GPU", 0) for machine in machines)
    here = str(Path.cwd())
    environment = {name: value for name, value in os.environ.items() if name.startswith("LRA_BENCH_")}
    task = ray.remote(max_retries=MOST_RETRIES, max_calls=0)(_task)
    submitted = {}
    for cell in cells:
        share = share_of(cell.config)
        gpus = share.gpus if any_gpus or cell.config.train.accelerator == "gpu" else 0
        if gpus > 1 and options.trials_per_gpu > 1:
            raise ConfigError(f"trials_per_gpu={options.trials_per_gpu} does not go with train.devices={gpus}")
        if not any(m.get("CPU", 0) >= share.cpus and m.get("GPU", 0) >= gpus for m in machines):
            wants = f"a trial needs {share.cpus} CPUs and {gpus} GPUs, and no machine of this Ray has them"
            if options.address is None:
                raise ConfigError(f"{wants}: lower train.threads, train.workers or train.devices, or set num_cpus")
            say(f"{wants} now; it waits for one")
        wanted = task.options(name=cell.folder.name, num_cpus=share.cpus, num_gpus=gpus / options.trials_per_gpu)
        reference = wanted.remote(str(cell.folder.absolute()), gpus, policy, here, environment)
        submitted[reference] = cell
    return submitted


def _ended(pending: "dict[Any, Cell]") -> "Iterator[tuple[Cell, str | None]]":
    """Wait a moment; take out the tasks that have ended, each with what went wrong, in one line."""
    import ray
    from ray.exceptions import RayError

    ready, _ = ray.wait(list(pending), num_returns=len(pending), timeout=POLL)
    for reference in ready:
        problem = None
        try:
            ray.get(reference)
        except RayError as error:
            problem = str(error).strip().splitlines()[-1]
        yield pending.pop(reference), problem


def _cancel(references: list[Any]) -> None:
    """Ask trials to save themselves, and wait for it."""
    import ray

    from lra_bench.trials.launchers.task import HANDOVER

    for reference in references:
        ray.cancel(reference)
    if references:
        ray.wait(references, num_returns=len(references), timeout=HANDOVER)


def _task(folder: str, gpus: int, policy: "Policy", here: str, environment: dict[str, str]) -> None:
    """What a Ray worker runs: a cell, in the folder and with the settings of the command."""
    os.chdir(here)
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    from lra_bench.trials.launchers.task import run_cell

    try:
        run_cell(Path(folder), gpus, policy)
    except KeyboardInterrupt as stop:
        if "SIGTERM" in stop.args:
            os._exit(1)  # this machine is being taken away: Ray sees a lost worker, and tries again on another


@contextmanager
def _connected(options: RayOptions) -> Iterator[None]:
    """A Ray to submit to."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as problem:
        raise LraBenchError("--launcher ray needs one more package: pip install 'lra-bench[ray]'") from problem
    if options.address is not None and options.num_cpus is not None:
        raise ConfigError("num_cpus is for a Ray that is started here; leave it out where address names a running one")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if options.address is None:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # or Ray would write one into the home
            ray.init(
                address="local",
                num_cpus=options.num_cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE,
                **quiet,
            )
        else:
            ray.init(address=options.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        hint = "" if options.address is None else " (one that wants a token is reached with RAY_AUTH_MODE=token)"
        raise LraBenchError(f"cannot reach Ray{hint}: {' '.join(str(error).split())}") from error
    try:
        yield
    finally:
        ray.shutdown()
