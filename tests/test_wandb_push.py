"""`lra-bench wandb push`: from local files to runs, once each, with the real client."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import RunRecord, Status, Tracking
from lra_bench.tracking.content import Extent, HistoryFile, Row
from lra_bench.tracking.push import Held, _begins, find_trials
from tests.records import make_record
from tests.wandb_stand_in import Run, client_environment, stand_in

pytestmark = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")


def write_trial(study: Path, seed: int, rows: int = 4, **changes) -> RunRecord:
    """A finished trial as the runner leaves it: a training and a validation point at each of some steps."""
    record = make_record(seed=seed, trial_id=f"trial{seed}", val=0.5, test=0.25, **changes)
    folder = study / record.trial_id
    folder.mkdir(parents=True)
    record.write(folder / "record.json")
    points = [
        {"step": 10 * row, **values}
        for row in range(1, rows + 1)
        for values in ({"train_loss": seed + 1 / row}, {"val": {"nmse": 1 / row}})
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points))
    (folder / "config.yaml").write_text("frozen: true\n")
    return record


def push(url: str, home: Path, *commands: list[str], **env: str) -> list[str]:
    """What the command says, each time it is run; all in one process."""
    code = "import sys, json\nfrom lra_bench.cli.main import main\n"
    code += "for words in json.loads(sys.argv[1]): main(['wandb', 'push', *words], standalone_mode=False); print('--')"
    command = [sys.executable, "-c", code, json.dumps(commands)]
    environment = client_environment(url, home, **env)
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("--\n")[:-1]


def local_rows(home: Path, trial: str) -> list[tuple[int, dict[str, float]]]:
    return [(row.step, row.values) for row in HistoryFile(home / "runs/quickstart" / trial / "history.jsonl").rows()]


def as_interrupted(run: Run, rows: list[tuple[int, dict[str, float]]]) -> None:
    """Leave a run as its client does when it is killed after some rows."""
    extent = Extent()
    for step, values in rows:
        extent = extent.after(Row(step, values))
    run.lines = {number: run.lines[number] for number in range(len(rows))}
    run.summary = {"history": str(extent)}
    run.state = "crashed"


def test_each_trial_is_one_run_however_often_it_is_pushed(tmp_path):
    study = tmp_path / "runs/quickstart"
    fine = write_trial(study, 0)
    broken = write_trial(study, 1, status=Status.ERROR, message="it broke", rows=2)
    write_trial(study, 2, status=Status.DIVERGED, rows=0)
    write_trial(study, 3, status=Status.PREEMPTED)
    with stand_in() as service:
        first, again = push(service.url, tmp_path, ["runs/quickstart", "--report"], ["runs/quickstart", "--report"])
        assert first == "3 runs: 3 made\nleft out, as they are not over: 1 trials\nreport of quickstart: made\n"
        assert again == "3 runs: 3 there\nleft out, as they are not over: 1 trials\nreport of quickstart: there\n"
        runs = {run.name: run for run in service.runs.values() if run.job_type == "trial"}
        assert runs.keys() == {"trial0", "trial1", "trial2"}
        for name, run in runs.items():
            assert run.history == local_rows(tmp_path, name)
            assert run.rows_sent == len(run.history)
        assert {name: run.state for name, run in runs.items()} == {
            "trial0": "finished",
            "trial1": "failed",
            "trial2": "finished",
        }
        assert runs["trial0"].setting("config") == fine.config
        assert len({run.setting("cell") for run in runs.values()}) == 1
        assert {run.group for run in runs.values()} == {"quickstart"}
        assert runs["trial0"].summary["val/nmse"] == 0.5
        assert runs["trial0"].summary["test/nmse"] == 0.25
        assert runs["trial1"].summary["message"] == broken.message
        assert runs["trial1"].tags == ["lds", "stu", "uniform", "clean", "error"]
        (report,) = (run for run in service.runs.values() if run.job_type == "report")
        assert {Path(name).suffix for name in report.files if name.startswith("media/")} == {".png", ".json"}
        assert len(report.lines) == 1


def test_what_is_missing_is_sent_and_another_execution_is_kept(tmp_path):
    study = tmp_path / "runs/quickstart"
    for seed in range(3):
        write_trial(study, seed)
    with stand_in() as service:
        push(service.url, tmp_path, ["runs"])
        as_interrupted(service.run("trial0"), local_rows(tmp_path, "trial0")[:3])
        history = study / "trial1/history.jsonl"
        earlier = service.run("trial1").history
        history.write_text(history.read_text().replace("1.5", "1.75"))
        first, again = push(service.url, tmp_path, ["runs"], ["runs"])
        assert first == "3 runs: 1 completed, 1 made beside another, 1 there\n"
        assert again == "3 runs: 3 there\n"
        assert {name for _, name in service.runs} == {"trial0", "trial1", "trial1-2", "trial2"}
        for name, trial in {"trial0": "trial0", "trial1-2": "trial1", "trial2": "trial2"}.items():
            assert service.run(name).history == local_rows(tmp_path, trial)
            assert service.run(name).state == "finished"
        assert service.run("trial1").history == earlier
        assert service.run("trial0").rows_sent == 4 + 1


@pytest.mark.parametrize(
    ("rows", "told", "begins"),
    [(0, 0, True), (2, 2, True), (3, 2, True), (4, 4, True), (2, 0, False), (5, 4, False), (8, 4, False)],
)
def test_what_is_held_is_judged_by_rows_and_extent(rows, told, begins):
    extents = [Extent()]
    for step in range(4):
        extents.append(extents[-1].after(Row(step, {"a": 1.0})))
    assert _begins(Held(rows, extents[told], None), extents) is begins
    if told:
        assert not _begins(Held(rows, Extent(told, "another"), None), extents)


def test_a_trial_goes_where_it_was_tracked_or_where_it_is_asked_to(tmp_path):
    def url(project: str) -> str:
        return f"https://wandb.example.org/team/{project}/runs/agent7"

    tracking = Tracking(backend="wandb", mode="online", run_id="agent7", url=url("sweeps"))
    write_trial(tmp_path / "runs/quickstart", 0, tracking=tracking)
    with stand_in() as service:
        push(service.url, tmp_path, ["runs"], ["runs", "--project", "other"], ["runs", "--project", "sweeps"])
        assert set(service.runs) == {("sweeps", "agent7"), ("other", "trial0")}


def test_offline_folders_are_written_once(tmp_path):
    study = tmp_path / "runs/quickstart"
    write_trial(study, 0)
    words = ["runs", "--report"]
    first, again = push("http://127.0.0.1:9", tmp_path, words, words, WANDB_MODE="offline")
    assert first == again == "1 runs: 1 written\nreport of quickstart: made\n"
    (of_trial,) = study.glob("trial0/wandb/*/*.wandb")
    (of_report,) = study.glob("wandb/*/*.wandb")
    with stand_in() as service:
        push(service.url, tmp_path, ["runs"])
        assert service.run("trial0").history == local_rows(tmp_path, "trial0")
    assert of_trial.with_name(f"{of_trial.name}.synced").exists()  # `wandb sync` leaves it alone from now on
    assert not of_report.with_name(f"{of_report.name}.synced").exists()
    trials, unfinished = find_trials([study])
    assert (len(trials), unfinished) == (1, 0)


def test_what_is_wrong_is_said_in_one_line(cli, tmp_path):
    with pytest.raises(LraBenchError, match="there is no"):
        find_trials([tmp_path / "nowhere"])
    with pytest.raises(LraBenchError, match=r"no trials in .*: lra-bench sweep run quickstart"):
        find_trials([tmp_path])
    assert "wandb login" in cli("wandb", "push", str(tmp_path), expect=2).output
