"""`lra-bench results import`: from runs of W&B, made by its real client, to records."""

import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import RunRecord, Status
from lra_bench.core.specs import TaskSpec
from lra_bench.report.aggregate import aggregate
from lra_bench.report.files.records import find_trials
from lra_bench.report.trial import measured
from lra_bench.tracking.content import RECORD, Extent, run_config, summary
from lra_bench.tracking.importing import import_runs
from lra_bench.tracking.logged import FoundRun, LoggedRun, NotThereError, UnusableError, look_up
from lra_bench.tracking.mapping import Mapping, trial_id
from tests.records import make_record
from tests.test_wandb_push import write_trial
from tests.wandb_stand_in import API_KEY, Run, client_environment, stand_in

pytestmark = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")

CLIENT = """
import sys
from pathlib import Path
import wandb
from lra_bench.core.record import RunRecord
from lra_bench.tracking.runs import write_offline
trial = Path(sys.argv[1])
record = RunRecord.read(trial / "record.json")
write_offline(record, trial, record.trial_id)
settings = wandb.Settings(silent=True, console="off")
def run(name, accuracy, seed, exit_code=0, over=True, **config):
    config = {"layer": "s4", "optim": {"lr": 0.01}, "seed": seed, "n_steps": 40, **config}
    run = wandb.init(mode="offline", project="other lab", id=name, config=config, settings=settings)
    for step in range(5):
        run.log({"val_acc": 0.2 * step, "global_step": 10 * step})
    run.summary["best"] = {"val": accuracy}
    run.summary["test_acc"] = accuracy - 0.01
    if over:
        run.finish(exit_code=exit_code)
run("fine", 0.75, 1, api_key="hush-hush", output_dir="/tmp/1")
run("fine2", 0.5, 2, api_key="hush-hush", output_dir="/tmp/2")
run("broken", 0.25, 3, exit_code=1, api_key="hush-hush", output_dir="/tmp/3")
run("percent", 75.0, 4)
run("killed", 0.5, 5, over=False)
import os, signal, time
time.sleep(0.5)
os.killpg(os.getpgid(0), signal.SIGKILL)
"""
MAPPING = {
    "task": "listops",
    "metric": "accuracy",
    "higher_is_better": True,
    "chance": 0.1,
    "protocol": "legacy",
    "model": "config.layer",
    "lr": "config.optim.lr",
    "seed": "config.seed",
    "steps": "config.n_steps",
    "val": "summary.best.val",
    "test": "summary.test_acc",
    "curve": "history.val_acc",
    "curve_step": "history.global_step",
    "ignore": ["output_dir"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the real client has written offline: of a trial of ours, and of other code."""
    folder = tmp_path_factory.mktemp("made")
    ours = write_trial(folder / "runs", 0)
    others = folder / "others"
    others.mkdir()
    environment = client_environment("http://127.0.0.1:9", folder)
    trial = folder / "runs" / ours.trial_id
    command = [sys.executable, "-c", CLIENT, str(trial)]
    done = subprocess.run(command, cwd=others, env=environment, start_new_session=True, check=False)
    assert done.returncode == -signal.SIGKILL
    mapping = folder / "mapping.yaml"
    mapping.write_text(yaml.safe_dump(MAPPING))
    return SimpleNamespace(folder=folder, ours=trial / "record.json", others=others, mapping=mapping)


def records_in(folder: Path) -> dict[str, RunRecord]:
    return {path.parent.name: RunRecord.read(path) for path in sorted(folder.glob("*/record.json"))}


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("*/record.json")}


def test_a_trial_of_ours_comes_back_byte_by_byte(cli, made):
    said = cli("results", "import", "--wandb", str(made.folder / "runs"), "--out", "back").output
    assert said == "1 runs: 1 imported\nRecords: back\nnext: lra-bench report back\n"
    assert bytes_in(Path("back")) == {made.ours.parent.name: made.ours.read_bytes()}
    again = cli("results", "import", "--wandb", str(made.folder / "runs"), "--out", "back").output
    assert again.startswith("1 runs: 1 there already\n")
    trials, problems = find_trials([Path("back")])
    assert problems == []
    assert [trial.record for trial in trials] == [RunRecord.read(made.ours)]


@pytest.mark.slow
def test_a_report_is_made_of_what_was_imported(cli, made):
    cli("results", "import", "--wandb", str(made.folder), "--mapping", str(made.mapping), "--out", "back")
    cli("report", "back", "--out", "page")
    page = Path("page/index.html").read_text()
    assert "s4 (W&amp;B: other lab)" in page


def test_runs_of_other_code_stay_apart(cli, made):
    words = ["results", "import", "--wandb", str(made.others)]
    assert "3 runs" not in cli(*words, expect=2).output
    said = cli(*words, "--mapping", str(made.mapping)).output
    assert said.startswith("5 runs: 3 imported, 2 left out\n")
    assert re.search(r"left out \(1\): has 75 as val .*`unit: percent`.*\n  wandb/offline-run-\S+-percent/", said)
    assert re.search(
        r"left out \(1\): (holds no run|is cut short|does not say).*\n  wandb/offline-run-\S+-killed/", said
    )
    folder = Path("runs/imported-others")
    assert f"next: lra-bench report {folder}" in said
    records = records_in(folder)
    fine = next(record for name, record in records.items() if name.startswith("wandb-other-lab-fine-"))
    assert (fine.status, fine.val, fine.test) == (Status.OK, {"accuracy": 0.75}, {"accuracy": 0.74})
    assert (fine.model.name, fine.model.parameters) == ("s4 (W&B: other lab)", None)
    assert "W&B run other lab/fine" in fine.model.origin
    assert "made by other code" in fine.message
    assert [(point.step, point.val["accuracy"]) for point in fine.curve][-1] == (40, 0.8)
    broken = next(record for name, record in records.items() if "broken" in name)
    assert (broken.status, broken.val, broken.test) == (Status.ERROR, {}, {})
    assert "W&B says: failed" in broken.message
    assert all(b"hush-hush" not in content and API_KEY.encode() not in content for content in bytes_in(folder).values())
    before = bytes_in(folder)
    assert cli(*words, "--mapping", str(made.mapping)).output.startswith("5 runs: 2 left out, 3 there already\n")
    assert bytes_in(folder) == before

    ours = make_record("s4", 0.01, 1, val=0.5)
    task = ours.task.model_copy(update={"name": "listops", "metric": "accuracy", "higher_is_better": True})
    alike = ours.model_copy(update={"task": task, "config": {**ours.config, "task": {"name": "listops"}}})
    boards = aggregate(measured([*records.values(), alike]))
    assert [len(board.trials) for board in boards] in ([1, 3], [3, 1])
    (row,) = next(board.rows for board in boards if len(board.trials) == 3)  # seeds of one row
    assert {trial.record.seed for trial in row.trials} == {1, 2, 3}


def cut(made, target: Path, change) -> str:
    """Import a changed copy of the trial's file; what is said."""
    (source,) = made.folder.glob("runs/*/wandb/*/*.wandb")
    target.mkdir()
    (target / source.name).write_bytes(change(source.read_bytes()))
    return f"--wandb={target}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: data[:3], "is not a file of W&B"),
        (lambda data: b"", "empty"),
        (lambda data: b"x" * 9000, "is not a file of W&B"),
        (lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], "damaged at byte"),
        (lambda data: data[:7] + b"\0" * 4000, "damaged at byte"),
    ],
)
def test_what_cannot_be_read_is_listed(cli, made, tmp_path, change, reason):
    result = cli("results", "import", cut(made, tmp_path / "wandb", change), expect=2)
    assert re.search(rf"left out \(1\): .*{reason}", result.output)
    assert "no run gave a record" in result.output
    assert not Path("runs").exists()


def test_a_truncated_file_counts_once_it_holds_the_outcome(cli, made, tmp_path):
    said = cli("results", "import", cut(made, tmp_path / "wandb", lambda data: data[:-10])).output
    assert said.startswith("1 runs: 1 imported\n")
    assert bytes_in(Path("runs/imported-wandb")) == {made.ours.parent.name: made.ours.read_bytes()}


def logged(record: RunRecord, whole: bool = True, **changes) -> LoggedRun:
    """A run of ours as it is found; of an older lra-bench, without the whole record."""
    told = summary(record, Extent())
    if not whole:
        told.pop(RECORD)
    fields = {
        "name": f"team/lab/{record.trial_id}",
        "entity": "team",
        "project": "lab",
        "run_id": record.trial_id,
        "state": "finished",
        "damage": None,
        "job_type": "trial",
        "config": run_config(record.config, record.trial_id),
        "summary": told,
        "rows": lambda: [{"_step": 10, "train/loss": 1.5}, {"_step": 20, "train/loss": 0.5, "val/nmse": 0.1}],
    }
    return LoggedRun(**{**fields, **changes})


def take(out: Path, *runs: LoggedRun, known_id: str | None = None) -> list[tuple[str, str | None]]:
    """Verdicts and reasons for runs, each the only one of its id."""
    spec = SimpleNamespace(name="lds", version=1, metric="nmse", higher_is_better=False, chance=1.0)

    def identify(config: dict) -> tuple[str, TaskSpec]:
        return known_id or runs[0].config["trial"], spec

    outcomes = import_runs([FoundRun(run.name, [run]) for run in runs], out, None, identify, lambda: None)
    return [(outcome.verdict, outcome.reason) for outcome in outcomes]


def test_an_older_run_is_rebuilt_from_what_it_holds(tmp_path):
    record = make_record(val=0.1, test=0.2)
    assert take(tmp_path, logged(record, whole=False)) == [("imported", None)]
    (back,) = records_in(tmp_path).values()
    same = ["trial_id", "study", "status", "track", "protocol", "seed", "data_seed", "config", "budget", "val", "test"]
    assert {name: getattr(back, name) for name in same} == {name: getattr(record, name) for name in same}
    assert back.selection.step == record.selection.step
    assert [(point.step, point.train_loss, point.val) for point in back.curve] == [
        (10, 1.5, {}),
        (20, 0.5, {}),
        (20, None, {"nmse": 0.1}),
    ]
    assert back.message == f"rebuilt from W&B team/lab/{record.trial_id}, which does not hold the whole record"
    assert (back.model.origin, back.environment.commit, back.task.origin) == ("not recorded", None, None)
    assert take(tmp_path, logged(record, whole=True)) == [("imported", None)]  # the same outcome, known better
    assert records_in(tmp_path)[record.trial_id].environment == record.environment
    ((verdict, reason),) = take(tmp_path / "other", logged(record, whole=False), known_id="another")
    assert verdict == "left out"
    assert "wandb push" in reason


def test_what_is_not_over_or_not_ours_is_left_out(tmp_path):
    record = make_record()
    runs = [
        logged(record, state="running"),
        logged(make_record(status=Status.PREEMPTED)),
        logged(record, summary={}),
        logged(record, job_type="report", run_id="report-1", config={"study": "s"}, summary={}),
        logged(record, config={}, summary={}),
        logged(record, summary={RECORD: '{"schema_version": 99}'}),
        logged(record, summary={RECORD: logged(record).summary[RECORD].replace("quickstart", "slowstart")}),
        logged(make_record(trial_id="../../outside")),
    ]
    reasons = [
        "still running",
        "not over: the trial was preempted",
        "was killed.*wandb push",
        "a report by lra-bench",
        "--mapping",
        "newer lra-bench",
        "was changed after it was written",
        "cannot name a folder",
    ]
    told = take(tmp_path, *runs)
    assert [verdict for verdict, _ in told] == ["left out"] * len(runs)
    for (_, reason), expected in zip(told, reasons, strict=True):
        assert re.search(expected, reason)
    assert list(tmp_path.iterdir()) == []


def test_another_outcome_is_never_written_over(tmp_path):
    assert take(tmp_path, logged(make_record(val=0.1))) == [("imported", None)]
    before = bytes_in(tmp_path)
    ((verdict, reason),) = take(tmp_path, logged(make_record(val=0.2)))
    assert verdict == "left out"
    assert "has another outcome (ok)" in reason
    assert bytes_in(tmp_path) == before


def test_the_files_of_one_run_are_taken_together(tmp_path):
    def outcomes(*records: RunRecord) -> list[str]:
        runs = [logged(record) for record in records]
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        found = FoundRun("run", runs, ["is cut short"])
        done = import_runs([found], tmp_path / "out", None, lambda config: pytest.fail("not asked"), lambda: None)
        return [outcome.verdict for outcome in done]

    failed, interrupted, first, second = (
        make_record(status=Status.ERROR, val=None),
        make_record(status=Status.PREEMPTED, val=None),
        make_record(val=0.1),
        make_record(val=0.2),
    )
    assert outcomes(failed, interrupted, first) == ["imported"]  # as after a retry and a resumption
    assert records_in(tmp_path / "out")[first.trial_id].val == first.val
    assert outcomes(first, first) == ["imported"]
    assert outcomes(first, second) == ["left out"]


def stranger(**changes) -> LoggedRun:
    config = {
        "layer": "s4",
        "optim": {"lr": 0.01, "name": "adam"},
        "seed": 1,
        "n_steps": 40,
        "token": "hush",
        "_wandb": {"t": {}},
    }
    fields = {"config": config, "summary": {"best": {"val": 0.5}, "test_acc": "NaN", "_step": 4, "_runtime": 7.5}}
    return logged(make_record(), **{**fields, "job_type": None, **changes})


def test_a_mapping_reads_what_it_is_told_and_nothing_else():
    record = Mapping(**MAPPING).record(stranger())
    assert (record.val, record.test) == ({"accuracy": 0.5}, {"accuracy": None})
    assert record.config["wandb"] == {
        "layer": "s4",
        "optim": {"name": "adam"},
        "n_steps": 40,
    }
    assert (record.budget.steps, record.budget.examples, record.budget.seconds) == (40, None, 7.5)
    assert (record.track, record.protocol, record.task.version) == ("recipe", "legacy", 0)
    more = {"batch_size": 8, "parameters": "config.n_steps", "selected_step": 30, "lr": "1e-3", "unit": "percent"}
    record = Mapping(**MAPPING | more).record(stranger())
    assert (record.budget.examples, record.model.parameters, record.selection.step) == (320, 40, 30)
    assert (record.config["optim"]["lr"], record.val) == (1e-3, {"accuracy": 0.005})
    crashed = Mapping(**MAPPING | {"steps": "summary.none"}).record(stranger(state="crashed", summary={}))
    assert (crashed.status, crashed.budget.steps) == (Status.ERROR, 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seed": "config.none"}, r"has no config\.none \(seed of the mapping\)"),
        ({"seed": "config.layer"}, "has no number as seed"),
        ({"seed": 0.5}, None),
        ({"steps": "summary.best.val"}, "whole number"),
        ({"lr": 0}, "as learning rate"),
    ],
)
def test_a_run_that_lacks_something_says_what(changes, reason):
    if reason is None:
        with pytest.raises(ValueError, match="seed"):
            Mapping(**MAPPING | changes)
        return
    with pytest.raises(UnusableError, match=reason):
        Mapping(**MAPPING | changes).record(stranger())


@pytest.mark.parametrize(("state", "reason"), [("killed", "W&B says killed"), (None, "does not say that it finished")])
def test_a_run_that_was_stopped_is_no_failure(state, reason):
    with pytest.raises(UnusableError, match=reason):
        Mapping(**MAPPING).record(stranger(state=state))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("task: lds", "metric: Field required"),
        (yaml.safe_dump(MAPPING | {"vall": 1}), "vall: Extra inputs"),
        (yaml.safe_dump(MAPPING | {"curve": "config.x"}), "curve must be history.KEY"),
        (yaml.safe_dump(MAPPING | {"curve_step": None}), "belong together"),
        ("a: [", "cannot read"),
        ("just words", "is no mapping"),
    ],
)
def test_a_wrong_mapping_is_one_line(tmp_path, text, reason):
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    with pytest.raises(LraBenchError, match=reason) as raised:
        Mapping.read(path)
    assert "\n" not in str(raised.value)


def test_the_mapping_that_help_shows_is_one(cli, tmp_path):
    _, _, shown = cli("results", "import", "--help").output.partition("A mapping says")
    path = tmp_path / "mapping.yaml"
    path.write_text(shown.partition("\n")[2])
    shown_keys = set(yaml.safe_load(path.read_text()))
    assert Mapping.model_fields.keys() - shown_keys == {"data_seed", "state_size"}
    assert Mapping.read(path).lr == "config.optimizer.lr"


def test_keys_are_found_flat_and_nested():
    values = {"a.b": 1, "a": {"b": 2, "c.d": {"e": 3}}, "f/g": 4}
    assert [look_up(values, key) for key in ("a.b", "a.c.d.e", "f/g")] == [1, 3, 4]
    with pytest.raises(NotThereError):
        look_up(values, "a.c")


def test_ids_of_strangers_are_safe_and_different():
    def run_id(project: str, run_id: str) -> str:
        return trial_id(stranger(project=project, run_id=run_id))

    names = [("lab", "a1"), ("lab", "../a1"), ("l/ab", "a1"), ("l ab", "a1"), ("x" * 300, "a"), ("x" * 301, "a")]
    ids = [run_id(*name) for name in names]
    assert ids[0] == "wandb-lab-a1"
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,120}", each) and ".." not in each for each in ids)


def run_of(name: str, **changes) -> Run:
    """A run of other code on the service."""
    config = {key: {"value": value} for key, value in stranger().config.items()}
    lines = {number: {"_step": number, "val_acc": 0.1 * number, "global_step": 10 * number} for number in range(3)}
    told = {"best": {"val": 0.5}, "test_acc": 0.25, "_step": 2, "_runtime": 60}
    fields = {"config": config, "lines": lines, "summary": told, "state": "finished"}
    return Run("lab", name, **{**fields, **changes})


def on_service(url: str, home: Path, *commands: list[str]) -> list[str]:
    """What commands say, all run in one process, with the real client."""
    code = "import sys, json\nfrom lra_bench.cli.main import main\nfrom lra_bench.core.errors import LraBenchError\n"
    code += "for words in json.loads(sys.argv[1]):\n    main(words, standalone_mode=False); print('--')\n"
    command = [sys.executable, "-c", code, json.dumps(commands)]
    done = subprocess.run(command, cwd=home, env=client_environment(url, home), capture_output=True, text=True)
    return [*done.stdout.split("--\n"), done.stderr]


def test_a_project_on_the_service_is_read_page_by_page(made, tmp_path):
    with stand_in() as service:
        for name in ("one", "two", "three"):
            service.runs["lab", name] = run_of(name)
        service.runs["lab", "four"] = run_of("four", state="crashed", summary={})
        service.runs["lab", "five"] = run_of("five", state="running")
        study = tmp_path / "runs/quickstart"
        shutil.copytree(made.ours.parent, study / made.ours.parent.name)
        push = ["wandb", "push", "runs", "--project", "lab"]
        read = ["results", "import", "--wandb", "team/lab"]
        mapped = [*read, "--mapping", str(made.mapping)]
        nowhere = ["results", "import", "--wandb", "nowhere", "--entity", "team"]
        pushed, first, asked, again, *_, error = on_service(service.url, tmp_path, push, read, mapped, mapped, nowhere)
        assert pushed.startswith("1 runs: 1 made")
        assert first.startswith("6 runs: 1 imported, 5 left out\nleft out (4): was not made by lra-bench")
        assert asked.startswith("6 runs: 4 imported, 1 left out, 1 there already\nleft out (1): is still running\n")
        assert again.startswith("6 runs: 1 left out, 5 there already\n")
        assert "no project team/nowhere" in error
        assert service.asked["Runs"] == 1 + 3 * 2 + 1  # asked by push, then two pages each time
    folder = tmp_path / "runs/imported-lab"
    assert (folder / made.ours.parent.name / "record.json").read_bytes() == made.ours.read_bytes()
    records = records_in(folder)
    one = records["wandb-lab-one"]
    assert (one.val, one.test) == ({"accuracy": 0.5}, {"accuracy": 0.25})
    assert [(point.step, point.val) for point in one.curve][-1] == (20, {"accuracy": 0.2})
    assert one.tracking.url == f"{service.url}/team/lab/runs/one"
    assert records["wandb-lab-four"].status == Status.ERROR
    assert "crashed" in records["wandb-lab-four"].message


def test_without_a_login_a_project_is_not_looked_for(cli):
    assert "wandb login" in cli("results", "import", "--wandb", "team/lab", expect=2).output
    assert "run-ID.wandb" in cli("results", "import", "--wandb", ".", expect=2).output
