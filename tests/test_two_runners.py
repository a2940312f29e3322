"""Two runners on one folder, on one machine and on what look like two."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lra_bench.core.record import Status
from lra_bench.trials.plan import plan
from lra_bench.trials.sweepfile import read_sweep
from tests import witness
from tests.conftest import TINY
from tests.processes import kill_everything, lra_bench
from tests.record_watch import Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="watches records by inotify")

CELLS = 5
SWEEP = """
method: grid
parameters:
  task: {{value: lds}}
  model: {{value: "tests.witness:{mixer}"}}
  model.number: {{values: [0, 1, 2, 3, 4]}}
  optim.lr: {{value: 0.05}}
  train.threads: {{value: 1}}
  tracking.wandb: {{value: disabled}}
"""


def namespace(host: str) -> tuple[str, ...]:
    """Words that run a command with a network, a host name and process numbers of its own."""
    kinds = ("--net", "--uts", "--ipc", "--pid", "--mount-proc", "--fork", "--kill-child")
    return ("unshare", *kinds, "sh", "-c", f'hostname {host} && exec "$@"', "sh")


def may_make_namespaces() -> bool:
    return (
        bool(shutil.which("unshare")) and subprocess.run([*namespace("x"), "true"], capture_output=True).returncode == 0
    )


@dataclass(frozen=True)
class Seen:
    """What two runners did.

    Attributes:
        marks: of the runners.
        codes: with which they ended.
        outputs: what they printed.
        testimonies: number of a cell and mark of the runner, each time that training began.
        watch: what was seen of records.
    """

    marks: list[str]
    codes: list[int]
    outputs: list[str]
    testimonies: list[tuple[int, str]]
    watch: Watch


def run_two(mixer: str, marks: list[str], prefixes: list[tuple[str, ...]], monkeypatch) -> Seen:
    """Start two runners at once on a sweep in the current folder, and wait for them."""
    here = Path.cwd()
    monkeypatch.setenv(witness.FILE, str(here / "testimonies.txt"))
    Path("sweep.yaml").write_text(SWEEP.format(mixer=mixer))
    watch = Watch([cell.folder for cell in plan(read_sweep("sweep.yaml"), TINY)])
    words = ("sweep", "run", "sweep.yaml", *TINY, "--slots", "1", "--on-error", "carry-on")
    runners = []
    try:
        for mark, prefix in zip(marks, prefixes, strict=True):
            runners.append(lra_bench(here / f"{mark}.txt", *words, mark=mark, prefix=prefix))
        codes = [runner.wait(timeout=240) for runner in runners]
    finally:
        for mark in marks:
            kill_everything(mark)
        for runner in runners:
            runner.wait()
        watch.stop()
    outputs = [(here / f"{mark}.txt").read_text() for mark in marks]
    return Seen(marks, codes, outputs, witness.testimonies(here / "testimonies.txt"), watch)


def assert_shared_and_run_once(seen: Seen, status: Status) -> None:
    assert sorted(number for number, _ in seen.testimonies) == list(range(CELLS))
    assert {mark for _, mark in seen.testimonies} == set(seen.marks)
    assert all(f"Ended: {CELLS} {status}" in output for output in seen.outputs), seen.outputs
    assert seen.watch.written == {status: CELLS}
    assert seen.watch.replaced == []


@pytest.mark.parametrize("where", ["one machine", "two machines"])
def test_two_runners_share_the_cells_and_run_each_once(folder, monkeypatch, where):
    if where == "two machines" and not may_make_namespaces():
        pytest.skip("may not make namespaces")
    marks = ["first", "second"]
    prefixes = [namespace(mark) if where == "two machines" else () for mark in marks]
    seen = run_two("Witness", marks, prefixes, monkeypatch)
    assert seen.codes == [0, 0], seen.outputs
    assert_shared_and_run_once(seen, Status.OK)


def test_a_trial_that_dies_without_a_word_is_not_run_again_by_the_other_runner(folder, monkeypatch):
    seen = run_two("Vanishes", ["first", "second"], [(), ()], monkeypatch)
    assert seen.codes == [1, 1], seen.outputs
    assert_shared_and_run_once(seen, Status.ERROR)
