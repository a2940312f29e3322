"""Trials as jobs of a Slurm cluster, through submitit.

The machines of the cluster share this folder and the environment that the command was given in. A job runs one cell.
When its time is nearly up, or it is preempted, the trial saves itself and the job goes back into the queue.
"""

import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from lra_bench.core.errors import ConfigError, LraBenchError
from lra_bench.trials.launchers.options import read_options
from lra_bench.trials.launchers.slurm_task import Task

if TYPE_CHECKING:
    from submitit.slurm.slurm import SlurmExecutor

    from lra_bench.trials.launchers.task import Share
    from lra_bench.trials.plan import Cell
    from lra_bench.trials.policy import Policy
    from lra_bench.trials.runner import Leftovers

DAY = 24 * 60
LONGEST_ARRAY = 1000
"""Jobs in an array: Slurm's own default allows no index above 1,000."""
MOST_REQUEUES = 100
"""How often a job may use up its time and be continued."""
POLL = 0.1


@dataclass(frozen=True)
class SlurmOptions:
    """Options of `--launcher slurm`, under submitit's names.

    Attributes:
        cluster: slurm; or local, which runs the same jobs on this machine without Slurm and waits for them.
        timeout_min: minutes until a job is requeued; by default a day, or a little more than the trials' time limit.
        cpus_per_task: by default the trial's threads and the processes that prepare its batches.
        gpus_per_node: by default `train.devices`, and none where the trial runs on the CPU.
        mem_gb: memory of a job.
        slurm_array_parallelism: jobs of an array that run at a time; with cluster=local, jobs at a time.
        slurm_partition: as sbatch's, like the following.
        slurm_account: to be charged.
        slurm_qos: quality of service.
        slurm_constraint: on the nodes.
        slurm_gres: generic resources.
        slurm_nodelist: nodes to use.
        slurm_exclude: nodes to avoid.
        slurm_signal_delay_s: seconds that a trial has to save itself when the job's time is nearly up.
        slurm_setup: a shell command that comes before the trial's.
        slurm_additional_parameters: any other flags of sbatch, as name=value,name=value.
    """

    cluster: Literal["slurm", "local"] = "slurm"
    timeout_min: Annotated[int, Field(ge=1)] | None = None
    cpus_per_task: Annotated[int, Field(ge=1)] | None = None
    gpus_per_node: Annotated[int, Field(ge=0)] | None = None
    mem_gb: Annotated[float, Field(gt=0)] | None = None
    slurm_array_parallelism: Annotated[int, Field(ge=1)] | None = None
    slurm_partition: str | None = None
    slurm_account: str | None = None
    slurm_qos: str | None = None
    slurm_constraint: str | None = None
    slurm_gres: str | None = None
    slurm_nodelist: str | None = None
    slurm_exclude: str | None = None
    slurm_signal_delay_s: Annotated[int, Field(ge=1)] = 90
    slurm_setup: str | None = None
    slurm_additional_parameters: str = ""


def launch(
    cells: Sequence["Cell"],
    options: dict[str, str],
    policy: "Policy",
    on_done: Callable[["Cell"], None],
    say: Callable[[str], None],
) -> "Leftovers | None":
    """Submit a job for each cell that is not done and not running elsewhere.

    Args:
        cells: of the sweep.
        options: see `SlurmOptions`.
        policy: of the runner in each job.
        on_done: called with each cell that is over, as far as that is known before this returns.
        say: takes a line for the user.

    Returns:
        What was left, or None where the cells have only been submitted.

    Raises:
        LraBenchError: submitit or Slurm is missing, an option makes no sense, or Slurm refuses the jobs.
        KeyboardInterrupt: with cluster=local; running trials have saved themselves.
    """
    from lra_bench.trials.frozen import prepare
    from lra_bench.trials.runner import Leftovers
    from lra_bench.trials.state import Progress, progress

    chosen = read_options(SlurmOptions, "slurm", options)
    _require_submitit()
    waiting = []
    for cell in cells:
        match progress(cell.folder):
            case Progress.DONE:
                on_done(cell)
            case Progress.RUNNING:
                say(f"{cell.folder} is running elsewhere")
            case _:
                waiting.append(prepare(cell))
    if chosen.cluster == "local":
        _run_here(waiting, chosen, policy, on_done)
        return Leftovers()
    _submit(waiting, chosen, policy, say)
    return None


def scripts(cells: Sequence["Cell"], options: dict[str, str]) -> list[str]:
    """What `launch` would give to sbatch, in submitit's words; needs no Slurm and writes nothing.

    Raises:
        LraBenchError: submitit is missing, or an option makes no sense.
    """
    from lra_bench.trials.state import finished_record

    chosen = read_options(SlurmOptions, "slurm", options)
    _require_submitit()
    texts = []
    for array, share in _arrays([cell for cell in cells if finished_record(cell.folder) is None], chosen):
        executor = _executor(array, share, chosen)
        if len(array) > 1:
            executor.parameters["map_count"] = len(array)
        texts.append(executor._make_submission_file_text(executor._submitit_command_str, ""))
    return texts


def _submit(cells: Sequence["Cell"], options: SlurmOptions, policy: "Policy", say: Callable[[str], None]) -> None:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if not (shutil.which("sbatch") and shutil.which("srun")):
        raise LraBenchError(
            "there is no Slurm on this machine (no sbatch and srun): submit from a login node, "
            "look at the script with --dry-run, or try with cluster=local"
        )
    for array, share in _arrays(cells, options):
        executor = _executor(array, share, options)
        executor.folder.mkdir(parents=True, exist_ok=True)
        folders = [str(cell.folder.absolute()) for cell in array]
        try:
            jobs = executor.map_array(Task(), folders, [share.gpus] * len(array), [policy] * len(array))
        except (FailedJobError, FailedSubmissionError) as error:
            raise LraBenchError(f"Slurm refuses the jobs: {' '.join(str(error).split())}") from error
        number = jobs[0].job_id.partition("_")[0]
        say(
            f"submitted {len(array)} cells as Slurm job {number}, each with {share.cpus} CPUs and {share.gpus} GPUs; "
            f"its logs are in {executor.folder}"
        )


def _run_here(
    cells: Sequence["Cell"], options: SlurmOptions, policy: "Policy", on_done: Callable[["Cell"], None]
) -> None:
    """The same jobs as processes of this machine, a few at a time."""
    import submitit

    from lra_bench.trials.launchers.task import HANDOVER
    from lra_bench.trials.signals import StopSignals
    from lra_bench.trials.slots import make_slots
    from lra_bench.trials.state import StopRequest

    stop_requests = [StopRequest(study) for study in {cell.folder.parent for cell in cells}]
    waiting = deque((cell, share) for array, share in _arrays(cells, options) for cell in array)
    gpus = max((share.gpus for _, share in waiting), default=0)
    at_once = options.slurm_array_parallelism or (1 if gpus else len(make_slots(cells)))
    running: dict[submitit.Job[None], Cell] = {}
    with StopSignals() as signals:
        try:
            while waiting or running:
                if signals.received or any(request.made for request in stop_requests):
                    raise KeyboardInterrupt(signals.received or "sweep stop")
                while waiting and len(running) < at_once:
                    cell, share = waiting.popleft()
                    executor = submitit.LocalExecutor(_logs(cell), max_num_timeout=MOST_REQUEUES)
                    executor.update_parameters(
                        timeout_min=_minutes([cell], options),
                        gpus_per_node=share.gpus,
                        signal_delay_s=options.slurm_signal_delay_s,
                    )
                    running[executor.submit(Task(), str(cell.folder.absolute()), share.gpus, policy)] = cell
                time.sleep(POLL)
                for job in [job for job in running if job.done()]:
                    on_done(running.pop(job))
        finally:
            for job in running:
                os.kill(int(job.job_id), signal.SIGTERM)
            deadline = time.monotonic() + HANDOVER
            while not all(job.done() for job in running) and time.monotonic() < deadline:
                time.sleep(POLL)


def _arrays(cells: Sequence["Cell"], options: SlurmOptions) -> "Iterator[tuple[list[Cell], Share]]":
    """Cells that go into one array job: those that need the same, as many as Slurm takes."""
    from lra_bench.trials.launchers.task import Share, share_of

    groups: dict[Share, list[Cell]] = {}
    for cell in cells:
        derived = share_of(cell.config)
        share = Share(
            derived.gpus if options.gpus_per_node is None else options.gpus_per_node,
            options.cpus_per_task or derived.cpus,
        )
        groups.setdefault(share, []).append(cell)
    for share, group in groups.items():
        for start in range(0, len(group), LONGEST_ARRAY):
            yield group[start : start + LONGEST_ARRAY], share


def _executor(cells: Sequence["Cell"], share: "Share", options: SlurmOptions) -> "SlurmExecutor":
    from submitit.slurm.slurm import SlurmExecutor

    class Executor(SlurmExecutor):
        """Writes scripts also where there is no Slurm."""

        @classmethod
        def affinity(cls) -> int:
            return 2

    wanted: dict[str, Any] = {
        "job_name": cells[0].config.study,
        "time": _minutes(cells, options),
        "cpus_per_task": share.cpus,
        "gpus_per_node": share.gpus or None,
        "mem": None if options.mem_gb is None else f"{round(options.mem_gb * 1024)}MB",
        "array_parallelism": options.slurm_array_parallelism,
        "partition": options.slurm_partition,
        "account": options.slurm_account,
        "qos": options.slurm_qos,
        "constraint": options.slurm_constraint,
        "gres": options.slurm_gres,
        "nodelist": options.slurm_nodelist,
        "exclude": options.slurm_exclude,
        "signal_delay_s": options.slurm_signal_delay_s,
        "setup": None if options.slurm_setup is None else [options.slurm_setup],
        "additional_parameters": {"requeue": True, **_flags(options.slurm_additional_parameters)},
    }
    executor = Executor(_logs(cells[0]), max_num_timeout=MOST_REQUEUES)
    executor.update_parameters(**{name: value for name, value in wanted.items() if value is not None})
    return executor


def _logs(cell: "Cell") -> Path:
    """Folder of the jobs' scripts and logs."""
    return cell.folder.absolute().parent / "slurm"


def _minutes(cells: Sequence["Cell"], options: SlurmOptions) -> int:
    if options.timeout_min is not None:
        return options.timeout_min
    return min(DAY, max(int((cell.config.train.time_limit or 60 * DAY) / 60) + 30 for cell in cells))


def _flags(words: str) -> dict[str, str | bool]:
    """Flags of sbatch; one without a value is a switch."""
    pairs = [word.partition("=") for word in words.split(",") if word]
    if any(not name for name, _, _ in pairs):
        raise ConfigError(f"slurm_additional_parameters={words} is not of the form name=value,name=value")
    return {name.strip("- "): value or True for name, _, value in pairs}


def _require_submitit() -> None:
    try:
        import submitit  # noqa: F401
    except ImportError as problem:
        raise LraBenchError("--launcher slurm needs one more package: pip install 'lra-bench[slurm]'") from problem
