"""The command line as a person uses it."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lra_bench.cli.main import main
from lra_bench.core.record import RunRecord
from lra_bench.core.registry import MODELS, TASKS
from tests.conftest import TINY, tiny
from tests.official_sets import CASES

SMALL = {
    "stu": "model.num_filters=4",
    "transformer": "model.heads=2",
    "linear_attention": "model.heads=2",
    "long_conv": "model.threshold=0.0",
    "s5": "model.blocks=4",
}


def small(model: str) -> str:
    """An override that makes a model small."""
    return next((word for name, word in SMALL.items() if model.startswith(name)), "model.d_state=8")


PREPARED = {case.task for case in CASES}
"""Tasks whose data are prepared; tests/test_every_task.py trains on them."""

PAIRS = [("lds", model) for model in MODELS.entries()]
PAIRS += [(task, "stu") for task in TASKS.entries() if task not in {"lds", *PREPARED}]


@pytest.mark.parametrize(("task", "model"), PAIRS)
def test_every_model_and_every_task_trains(cli, folder, task, model):
    output = cli("train", f"task={task}", f"model={model}", small(model), *tiny(task)).output
    (path,) = folder.glob("runs/train/*/record.json")
    record = RunRecord.read(path)
    assert record.status in ("ok", "chance")
    assert (record.task.name, record.model.name, record.model.origin) == (task, model, "lra-bench")
    assert record.model.parameters > 0
    assert record.model.state_size > 0
    assert record.task.metric in record.test
    assert record.task.origin == "generated"
    assert "W&B: disabled (no W&B login found)" in output
    assert f"next: lra-bench report {path.parent.relative_to(folder)}" in output


def test_training_twice_trains_once(cli, folder):
    words = ("train", "task=lds", "model=stu", *TINY)
    cli(*words)
    (path,) = folder.glob("runs/train/*/record.json")
    before = path.read_bytes()
    assert "finished already" in cli(*words).output
    assert path.read_bytes() == before


def test_a_trial_is_resumed_from_its_folder_alone(cli, folder):
    cli("train", "task=lds", "model=stu", *TINY)
    (path,) = folder.glob("runs/train/*/record.json")
    first = RunRecord.read(path)
    path.unlink()
    cli("train", "--resume", str(path.parent))
    again = RunRecord.read(path)
    assert (again.trial_id, again.curve, again.test) == (first.trial_id, first.curve, first.test)
    assert "leave out the rest" in cli("train", "task=lds", "--resume", str(path.parent), expect=2).output
    assert "config.yaml" in cli("train", "--resume", "nowhere", expect=2).output


def test_the_groups_of_the_optimizer_are_printed_and_stored(folder):
    code = "from lra_bench.cli.main import main; main()"
    words = ["train", "task=lds", "model=stu_ar", "optim.lr=0.5", *TINY]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert "optimizer group lr x0.1: lr 0.05, weight decay 0, 18 numbers" in done.stdout
    assert done.stderr == ""
    (path,) = folder.glob("runs/train/*/record.json")
    assert sorted(RunRecord.read(path).learning_rates.values()) == [0.05, 0.5]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optim.lrr=1"], "Did you mean: 'lr'"),
        (["model=stuu"], "Did you mean 'stu'"),
        (["model.num_filterz=3"], "Did you mean: 'num_filters'"),
        (["optim.lr=abc"], "optim.lr"),
        (["task.seq_len=-1"], "task.seq_len must be at least 1"),
        (["--config", "missing.yaml"], "there is no file missing.yaml"),
        (["--confg", "x"], "No such option"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(cli, folder, words, message):
    output = cli("train", "task=lds", "model=stu", *words, expect=2).output
    assert message in output
    assert len([line for line in output.splitlines() if "rror:" in line]) == 1
    assert list(folder.iterdir()) == []


def test_a_mistake_shows_no_traceback(folder):
    code = "from lra_bench.cli.main import main; main()"
    command = [sys.executable, "-c", code, "train", "task=lds", "model=stu", "optim.lrr=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: optim.lrr: Key 'lrr' not in 'OptimConfig'. Did you mean: 'lr'? (in command line)"
    ]


def test_a_folder_that_cannot_be_written_is_one_line(cli, folder):
    (folder / "runs").write_text("in the way")
    output = cli("train", "task=lds", "model=stu", *TINY, expect=1).output
    assert output.splitlines()[-1].startswith("error: ")
    assert "runs" in output.splitlines()[-1]


def test_a_full_disk_is_one_line_and_no_record(folder, monkeypatch):
    from lra_bench.core import files

    monkeypatch.setattr(files.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    result = CliRunner().invoke(main, ["train", "task=lds", "model=stu", *TINY])
    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert list(folder.rglob("record.json")) == []
    assert list(folder.rglob("*.part")) == []


def test_a_failing_model_is_an_exit_code_and_a_message(cli):
    output = cli("train", "task=lds", "model=tests.strangers:Raises", *TINY, expect=1).output
    assert "status: error (ValueError: the stranger's own mistake)" in output


def test_a_strangers_file_is_enough(folder):
    (folder / "my_file.py").write_text(Path(__file__).with_name("strangers.py").read_text())
    code = "from lra_bench.cli.main import main; main()"
    command = [sys.executable, "-c", code, "train", "task=lds", "model=my_file:Ramp", "optim.lr=0.05", *TINY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "status: ok" in done.stdout
    (path,) = folder.glob("runs/train/*/record.json")
    assert RunRecord.read(path).model.origin == "local file"


def test_config_show_can_be_trained_as_it_is(cli, folder):
    shown = cli("config", "show", "task=lds", "model=lru", "model.d_state=8", "optim.lr=0.02", *TINY).output
    assert "lr: 0.02  # command line" in shown
    assert "depth: 1  # configs/task/lds.yaml" in shown
    Path("mine.yaml").write_text(shown)
    cli("train", "--config", "mine.yaml")
    (path,) = folder.glob("runs/train/*/record.json")
    assert RunRecord.read(path).config["optim"]["lr"] == 0.02


@pytest.mark.parametrize("kind", ["models", "tasks", "recipes", "sweeps"])
def test_lists_fit_a_hundred_columns(cli, kind):
    lines = cli("list", kind).output.splitlines()
    assert len(lines) >= 2
    assert max(map(len, lines)) <= 100


def test_doctor_knows_the_machine(cli):
    output = cli("doctor").output
    for word in ("torch", "lightning", "CPU cores", "writable", "W&B"):
        assert word in output


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["train", "-h"],
        ["sweep", "run", "-h"],
        ["sweep", "status", "-h"],
        ["report", "-h"],
        ["list", "-h"],
        ["config", "show", "-h"],
    ],
)
def test_help_has_examples(cli, words):
    output = cli(*words).output
    assert "Examples:" in output
    assert max(map(len, output.splitlines())) <= 100


def test_a_report_on_nothing_names_the_next_command(cli, folder):
    assert "lra-bench sweep run quickstart" in cli("report", str(folder), expect=2).output
    assert list(folder.iterdir()) == []


def test_a_report_shows_what_was_measured(cli, folder):
    for model in ("stu", "lru"):
        for rate in ("0.01", "0.1"):
            cli("train", "task=lds", f"model={model}", small(model), f"optim.lr={rate}", *TINY)
    output = cli("report", "runs/train", "--out", "out").output
    assert "Report: out/index.html" in output
    assert max(map(len, output.splitlines())) <= 100
    assert {path.name for path in Path("out").iterdir()} == {
        "index.html",
        "leaderboard.md",
        "leaderboard.tex",
        "leaderboard.csv",
        "sensitivity.csv",
        "figures",
    }
    page = Path("out/index.html").read_text()
    assert page.count("<svg") == len(list(Path("out/figures").glob("*.svg"))) == 6
