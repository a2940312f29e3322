"""Trials of one or more processes each: `python -m tests.parallel_training FOLDER`.

It runs the cases of FOLDER/cases.json one after the other, each in FOLDER/<folder>, in processes that are forked from
this one, so that the framework is imported once. What process r saw of a case is in FOLDER/<name>.<r>.json, what it
printed in FOLDER/<name>.<r>.txt, and its exit code in FOLDER/codes.json.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from lra_bench.core.batch import Batch
from lra_bench.core.record import RunRecord
from lra_bench.data.datamodule import Source, Split
from tests.toy_tasks import TokensSteps, ToySource

ROOT = Path(__file__).parent.parent
LIMIT = 250.0
"""Seconds that the processes of a case have."""


class Sparse(TokensSteps):
    """In every third example no step counts, so that a process may have no target at all."""

    def source(self, split: Split) -> Source:
        return _SparseSource(self, split)


class _SparseSource(ToySource):
    def __getitems__(self, indices: list[int]) -> Batch:
        batch = super().__getitems__(indices)
        return batch._replace(y_mask=batch.y_mask & (torch.tensor(indices) % 3 > 0).unsqueeze(1))


@dataclass(frozen=True)
class Case:
    """A trial, run once; it may go wrong in a chosen process after a chosen step.

    Attributes:
        name: unique.
        words: of its config.
        ranks: processes.
        folder: of the trial; its name by default.
        fault: raise, kill, oom, or the name of a signal.
        at: rank and step of the fault.
        environment: variables set around it.
    """

    name: str
    words: tuple[str, ...]
    ranks: int = 1
    folder: str = ""
    fault: str | None = None
    at: tuple[int, int] = (0, 0)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """What the processes of all cases left in a folder."""

    root: Path
    codes: dict[str, list[int]]

    def folder(self, name: str) -> Path:
        """Of the trial of that name."""
        return self.root / name

    def record(self, name: str) -> RunRecord:
        """Of the trial in the folder of that name."""
        return RunRecord.read(self.root / name / "record.json")

    def seen(self, name: str, rank: int) -> RunRecord:
        """The record that one process of a case returned."""
        return RunRecord.read(self.root / f"{name}.{rank}.json")

    def printed(self, name: str, rank: int) -> str:
        """What one process of a case said."""
        return (self.root / f"{name}.{rank}.txt").read_text()

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        """Of the last checkpoint of a trial."""
        found: dict[str, torch.Tensor] = self.checkpoint(name)["state_dict"]
        return found

    def checkpoint(self, name: str) -> dict[str, Any]:
        """The last one of a trial."""
        found: dict[str, Any] = torch.load(self.root / name / "checkpoints/last.ckpt", weights_only=True)
        return found

    def curve(self, name: str) -> list[dict[str, Any]]:
        """The lines of `history.jsonl`."""
        return [json.loads(line) for line in (self.root / name / "history.jsonl").read_text().splitlines()]


def run_all(cases: list[Case], root: Path, limit: float = 280) -> Results:
    """Run cases in processes of their own."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "cases.json").write_text(json.dumps([asdict(case) for case in cases]))
    strict = ["-W", "error", "-W", "ignore:`torch.jit.script_method` is deprecated"]  # torch's compiler uses it
    command = [sys.executable, *strict, "-m", "tests.parallel_training", str(root)]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, timeout=limit, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return Results(root, json.loads((root / "codes.json").read_text()))


def _run(case: Case, rank: int, root: Path) -> None:
    """In a process of its own."""
    from lra_bench import experiment
    from lra_bench.config.compose import compose
    from lra_bench.training.guard import Guard
    from lra_bench.training.ranks import Rank

    original = Guard.on_train_batch_end

    def with_fault(self: Guard, trainer: Any, *rest: Any) -> None:
        original(self, trainer, *rest)
        if case.fault and (rank, trainer.global_step) == tuple(case.at):
            _go_wrong(case.fault)

    Guard.on_train_batch_end = with_fault  # type: ignore[method-assign]
    os.environ |= case.environment
    config = compose([*case.words, f"train.devices={case.ranks}"]).config
    folder = root / (case.folder or case.name)
    me = Rank(rank, case.ranks, root / f"{case.name}.rendezvous") if case.ranks > 1 else None
    experiment.run(config, folder, rank=me).write(root / f"{case.name}.{rank}.json")


def _go_wrong(how: str) -> None:
    if how == "raise":
        raise ValueError("a mistake in one process")
    if how == "oom":
        raise torch.OutOfMemoryError("too much for one process")
    os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.Signals[how])


def _fork(case: Case, rank: int, root: Path) -> int:
    """Start one process of a case; its id."""
    if child := os.fork():
        return child
    code = 1
    try:
        with (root / f"{case.name}.{rank}.txt").open("w") as file:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(file.fileno(), stream.fileno())
        _run(case, rank, root)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(children: list[int]) -> list[int]:
    """Exit codes; negative where a signal ended a process. None may outlast the limit."""
    codes: dict[int, int] = {}
    end = time.monotonic() + LIMIT
    while len(codes) < len(children):
        for child in set(children) - codes.keys():
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                codes[child] = os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            for child in set(children) - codes.keys():
                os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    return [codes[child] for child in children]


def _warm_up() -> None:
    """What every process would do once; nothing that needs a thread, so that this process may be forked."""
    torch.set_num_threads(1)
    from lightning_utilities.core.apply_func import apply_to_collection

    from lra_bench import environment, experiment  # noqa: F401
    from lra_bench.config.compose import compose

    compose(["task=lds", "model=lru"])
    environment.code_version()
    environment.package_versions()
    apply_to_collection({"a": torch.ones(1)}, str, str.upper)
    parameter = torch.nn.Parameter(torch.ones(1))
    parameter.grad = torch.ones(1)
    torch.optim.AdamW([parameter]).step()


def main(root: Path) -> None:
    """Run the cases that are written down in a folder."""
    _warm_up()
    codes = {}
    for entry in json.loads((root / "cases.json").read_text()):
        case = Case(**entry)
        codes[case.name] = _wait([_fork(case, rank, root) for rank in range(case.ranks)])
    (root / "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
