"""`sweep status`: what is seen of cells in every state, what is said of the time left, and how little is read."""

import json
import os
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from lra_bench.core.record import Budget, CurvePoint, Engine, RunRecord, Status
from lra_bench.trials import overview as overviewing
from lra_bench.trials.overview import CellState, Overview, last_step, seconds_left
from lra_bench.trials.plan import Cell, freeze, plan
from lra_bench.trials.state import ask_to_stop, claim, set_aside
from lra_bench.trials.sweepfile import read_sweep
from tests.records import make_record

COMMAND = import_module("lra_bench.cli.sweep.status")
SWEEP = """
method: grid
parameters:
  task: {value: lds}
  model: {values: [stu, lru]}
  seed: {values: [0, 1, 2, 3]}
  train.max_steps: {value: 100}
"""


@pytest.fixture
def cells(folder) -> list[Cell]:
    """Four of `stu`, then four of `lru`."""
    Path("mine.yaml").write_text(SWEEP)
    return plan(read_sweep("mine.yaml"))


def finish(cell: Cell, status: Status = Status.OK, seconds: float = 10.0, testing: float = 0.0) -> Path:
    """Leave what a trial leaves that took so long, and so long again from its last step to its record."""
    freeze(cell)
    log(cell, 100)
    budget = Budget(steps=100, examples=100, seconds=seconds, examples_per_second=1, peak_memory_mb=None)
    record = cell.folder / "record.json"
    make_record(status=status, budget=budget, curve=[CurvePoint(step=1, train_loss=1.0)]).write(record)
    written = record.stat().st_mtime
    os.utime(cell.folder / "history.jsonl", (written - testing, written - testing))
    return record


def log(cell: Cell, step: int) -> None:
    cell.folder.mkdir(parents=True, exist_ok=True)
    (cell.folder / "history.jsonl").write_text(f'{{"step": {step - 1}}}\n{{"step": {step}, "train_loss": 0.5}}\n')


def interrupt(cell: Cell, step: int) -> None:
    """Leave what a trial leaves that was killed."""
    log(cell, step)
    (cell.folder / "checkpoints").mkdir()
    (cell.folder / "checkpoints" / "last.ckpt").touch()
    with claim(cell.folder):
        pass


def test_every_state_is_counted_and_failures_are_named(cells, cli):
    finish(cells[0])
    finish(cells[1], Status.DIVERGED)
    finish(cells[2], Status.ERROR)
    interrupt(cells[3], 30)
    finish(cells[4], Status.PREEMPTED)
    finish(cells[5]).write_text("{")
    log(cells[6], 40)
    with claim(cells[6].folder):
        lines = cli("sweep", "status", "mine.yaml").output.splitlines()
        facts = json.loads(cli("sweep", "status", "mine.yaml", "--json").output)
    heads = ["task", "model", "cells", "waiting", "interrupted", "running", "ok", "diverged", "error", "unreadable"]
    assert lines[0].split() == heads
    assert lines[1].split() == ["lds", "stu", "4", "1", "1", "1", "1"]
    assert lines[2].split() == ["lds", "lru", "4", "2", "1", "1"]
    assert lines[3].split() == ["all", "8", "2", "1", "1", "1", "1", "1", "1"]
    assert lines[4] == "4 of 8 cells are done, 1 running"
    assert [line for line in lines if "cannot be read" in line and str(cells[5].folder / "record.json") in line]
    assert lines[-1] == "next: lra-bench sweep status mine.yaml --watch"
    assert not any("\x1b" in line for line in lines)
    statuses = ["ok", "diverged", "error", "interrupted", "waiting", "unreadable", "running", "waiting"]
    assert [cell["status"] for cell in facts["cells"]] == statuses
    assert [cell["id"] for cell in facts["cells"]] == [cell.folder.name for cell in cells]
    assert {key: facts["cells"][6][key] for key in ("task", "model", "lr", "seed", "step", "max_steps")} == {
        "task": "lds",
        "model": "lru",
        "lr": 0.001,
        "seed": 2,
        "step": 40,
        "max_steps": 100,
    }
    assert facts["counts"]["waiting"] == 2
    assert facts["stop_asked"] is False


def test_looking_leaves_nothing_behind(cells):
    freeze(cells[0])
    assert [state.status for state in Overview(cells).look()] == ["waiting"] * 8
    assert [path.name for path in Path("runs/mine").iterdir()] == [cells[0].folder.name]
    assert [path.name for path in cells[0].folder.iterdir()] == ["config.yaml"]


def test_a_record_is_read_once_and_again_when_it_changes(cells, monkeypatch):
    reads = []
    real = overviewing._outcome
    monkeypatch.setattr(overviewing, "_outcome", lambda content: reads.append(1) or real(content))
    for cell in cells:
        finish(cell)
    overview = Overview(cells)
    for _ in range(3):
        assert {state.status for state in overview.look()} == {"ok"}
    assert len(reads) == 8
    os.utime(finish(cells[0], Status.CHANCE), (1, 1))
    assert overview.look()[0].status == "chance"
    assert len(reads) == 9
    set_aside(cells[0].folder)
    assert overview.look()[0].status == "waiting"


@pytest.mark.parametrize("status", [status for status in Status if status.finished])
@pytest.mark.parametrize("engine", [Engine(), Engine(name="stacked", members=7)], ids=lambda engine: engine.name)
def test_what_is_read_of_a_record_is_what_is_in_it(folder, status, engine):
    trap = '\n  "status": "oom",\n  "budget": {"seconds": 5}'
    budget = Budget(steps=1, examples=1, seconds=1.5e-3, examples_per_second=None, peak_memory_mb=None)
    config = {"budget": {"seconds": 9}, "engine": {"members": 9}}
    record = make_record(status=status, message=trap, study=trap, budget=budget, config=config, engine=engine)
    written = record.write(Path("record.json"))
    content = Path("record.json").read_bytes()
    assert overviewing._outcome(content) == (status, 1.5e-3, engine.members)
    other_layouts = [json.dumps(json.loads(content), indent=n) for n in (None, 1, 4)]
    assert [overviewing._outcome(layout.encode()) for layout in other_layouts] == [(status, 1.5e-3, engine.members)] * 3
    assert RunRecord.read(Path("record.json")) == written


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"status": "ok"}', '{"status": "odd", "budget": 1}', "\xff"])
def test_a_broken_record_stops_nothing(cells, cli, content):
    finish(cells[0]).write_text(content, encoding="latin-1")
    whole = finish(cells[1])
    whole.write_bytes(whole.read_bytes()[:-40])
    (state, cut, *others) = Overview(cells).look()
    assert (state.status, cut.status) == ("unreadable", "unreadable")
    assert str(cells[0].folder / "record.json") in state.problem
    assert "\n" not in state.problem
    assert {other.status for other in others} == {"waiting"}
    assert "2 records cannot be read" in cli("sweep", "status", "mine.yaml").output


@pytest.mark.parametrize(
    ("content", "step"),
    [
        (None, 0),
        ("", 0),
        ('{"step": 3}', 0),
        ('{"step": 3}\n', 3),
        ('{"step": 3}\n{"step": 4, "val": {"nmse": 0.1}}\n{"st', 4),
        ('{"step": 1}\n' * 9999 + '{"step": 12345}\n', 12345),
        ("nonsense\n", 0),
    ],
)
def test_the_last_whole_line_of_a_history_counts(folder, content, step):
    if content is not None:
        Path("history.jsonl").write_text(content)
    assert last_step(folder) == step


def state(cell: Cell, status: str, seconds: float | None = None, step: int = 0) -> CellState:
    return CellState(cell, status, step, seconds)


def test_time_left_follows_from_trials_of_the_same_kind(cells):
    stu, lru = cells[:4], cells[4:]
    waiting = [state(cell, "waiting") for cell in cells]
    assert seconds_left(waiting) is None
    assert seconds_left([state(stu[0], "error", 9.0), *waiting[1:]]) is None
    assert seconds_left([state(stu[0], "ok", 10.0), *waiting[1:]]) == pytest.approx(70)
    mixed = [
        *(state(stu[0], "ok", 10.0), state(stu[1], "diverged", 2.0), state(stu[2], "running", step=75)),
        *(waiting[3], state(lru[0], "ok", 100.0), state(lru[1], "interrupted", step=50), *waiting[6:]),
    ]
    assert seconds_left(mixed) == pytest.approx(6 * 0.25 + 6 + 100 * 0.5 + 200)
    assert seconds_left([state(cell, "ok", 1.0) for cell in cells]) == 0


def test_time_left_counts_testing_and_is_shared_among_running_trials(cells, cli):
    assert "left" not in cli("sweep", "status", "mine.yaml").output
    finish(cells[0], seconds=3600, testing=600)
    assert "about 8 h 10 min of trials left, one at a time" in cli("sweep", "status", "mine.yaml").output
    log(cells[1], 0)
    log(cells[2], 100)
    with claim(cells[1].folder), claim(cells[2].folder):
        output = cli("sweep", "status", "mine.yaml").output
        facts = json.loads(cli("sweep", "status", "mine.yaml", "--json").output)
    assert "about 3 h 30 min left, 2 at a time" in output
    assert facts["trial_seconds_left"] == pytest.approx(6 * 4200, rel=1e-3)
    assert facts["seconds_left"] == pytest.approx(3 * 4200, rel=1e-3)


def test_the_next_command_is_named(cells, cli):
    def said(*words: str) -> list[str]:
        return cli("sweep", "status", "mine.yaml", *words).output.splitlines()

    assert said()[-1] == "next: lra-bench sweep run mine.yaml"
    assert said("--shard", "1/2")[-1] == "next: lra-bench sweep run mine.yaml --shard 1/2"
    assert said("study=two words")[-1] == "next: lra-bench sweep run mine.yaml 'study=two words'"
    for cell in cells:
        finish(cell)
    assert said()[-1] == "next: lra-bench report runs/mine"
    finish(cells[0], Status.OOM)
    assert said()[-2:] == ["next: lra-bench report runs/mine", "or:   lra-bench sweep retry mine.yaml --failed"]


def test_a_stop_that_was_asked_for_is_shown(cells, cli):
    freeze(cells[0])
    assert "stop" not in cli("sweep", "status", "mine.yaml").output
    ask_to_stop(Path("runs/mine"))
    assert "a stop was asked for in runs/mine" in cli("sweep", "status", "mine.yaml").output
    assert json.loads(cli("sweep", "status", "mine.yaml", "--json").output)["stop_asked"] is True


def finishing_one_by_one(cells, monkeypatch):
    """Each wait of --watch ends with one more cell done, or nothing new."""
    left = [step for cell in cells for step in (cell, None)]

    def sleep(seconds: float) -> None:
        assert seconds == 2
        if (cell := left.pop(0)) is not None:
            finish(cell)

    monkeypatch.setattr(COMMAND, "time", SimpleNamespace(sleep=sleep))
    return left


def test_watching_ends_when_all_is_done(cells, cli, monkeypatch):
    left = finishing_one_by_one(cells, monkeypatch)
    output = cli("sweep", "status", "mine.yaml", "--watch").output
    assert [f"{n} of 8 cells are done" in output for n in range(9)] == [True] * 9
    assert output.count("cells are done") == 9  # only what has changed is printed
    assert output.endswith("next: lra-bench report runs/mine\n")
    assert left == [None]


def test_on_a_terminal_the_table_is_drawn_over_itself_in_colour(cells, cli, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    finishing_one_by_one(cells, monkeypatch)
    output = cli("sweep", "status", "mine.yaml", "--watch").output
    assert "\x1b[32m" in output
    assert "\x1b[1A" in output
    assert output.endswith("next: lra-bench report runs/mine\n")


def test_control_c_ends_watching_quietly(cells, cli, monkeypatch):
    def pressed(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMAND, "time", SimpleNamespace(sleep=pressed))
    output = cli("sweep", "status", "mine.yaml", "--watch").output
    assert "0 of 8 cells are done" in output
    assert "next" not in output


def test_watching_is_not_json(cells, cli):
    assert (
        "choose one of --watch and --json" in cli("sweep", "status", "mine.yaml", "--watch", "--json", expect=2).output
    )
