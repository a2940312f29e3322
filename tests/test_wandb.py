"""W&B as a sink: what is decided without it, what it is told of a trial, and the real client, offline and online."""

import importlib.util
import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from lra_bench import tracking
from lra_bench.cli.results import importing
from lra_bench.core.errors import ConfigError
from lra_bench.core.record import RunRecord, Tracking
from lra_bench.tracking import decision
from lra_bench.tracking.content import Extent, HistoryFile, Row, cell_id, run_config
from lra_bench.tracking.live import OnlineLogger
from lra_bench.tracking.runs import Feed, HistoryDiffersError
from tests.conftest import TINY
from tests.records import make_config, make_record
from tests.wandb_stand_in import API_KEY, client_environment, left_over, stand_in

ROOT = Path(__file__).parent.parent
needs_wandb = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")


@pytest.mark.parametrize(
    ("asked", "environment", "installed", "mode", "reason"),
    [
        ("auto", {}, True, "disabled", "no W&B login found"),
        ("auto", {"WANDB_API_KEY": "x" * 40}, True, "online", "login found"),
        ("auto", {"WANDB_API_KEY": "x" * 40}, False, "disabled", r"lra-bench\[wandb\]"),
        ("auto", {"WANDB_API_KEY": "x" * 40, "WANDB_MODE": "offline"}, True, "offline", "WANDB_MODE=offline"),
        ("auto", {"WANDB_MODE": "disabled"}, True, "disabled", "WANDB_MODE=disabled"),
        ("offline", {}, True, "offline", "tracking.wandb=offline"),
        ("disabled", {"WANDB_API_KEY": "x" * 40}, True, "disabled", "tracking.wandb=disabled"),
    ],
)
def test_the_decision_asks_nobody(monkeypatch, asked, environment, installed, mode, reason):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(decision, "installed", lambda: installed)
    decided = tracking.decide(asked)
    assert decided.mode == mode
    assert re.search(reason, decided.reason)


def test_a_login_is_found_in_netrc_for_the_host_in_use(monkeypatch, tmp_path):
    file = tmp_path / "netrc"
    file.write_text("machine api.wandb.ai login user password " + "x" * 40)
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    monkeypatch.setattr(decision, "installed", lambda: True)
    assert tracking.decide("auto").mode == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080")
    assert tracking.decide("auto").mode == "disabled"
    file.write_text("machine wandb.example.org login user password secret")
    assert tracking.decide("auto").mode == "online"


def test_asking_for_it_without_it_names_the_extra(monkeypatch):
    from lra_bench.config.compose import compose

    monkeypatch.setattr(decision, "installed", lambda: False)
    config = compose(["task=lds", "model=stu", "tracking.wandb=offline"]).config
    with pytest.raises(ConfigError, match=r"pip install 'lra-bench\[wandb\]'"):
        tracking.make_logger(config, "id", Path())


def test_the_config_has_fields_to_group_by_and_stays_nested():
    config = make_config("stu", 0.01, 3)
    told = run_config(config, "abc")
    assert told["config"] == config
    assert (told["task"], told["model"], told["lr"], told["seed"], told["study"]) == (
        "lds",
        "stu",
        0.01,
        3,
        "quickstart",
    )
    assert told["cell"] == run_config(make_config("stu", 0.01, 4), "def")["cell"]
    others = [make_config("lru", 0.01, 3), make_config("stu", 0.1, 3), make_config("stu", 0.01, 3, num_filters=2)]
    assert len({told["cell"], *map(cell_id, others)}) == 4


def point(step: int, **values) -> str:
    return json.dumps({"step": step, **values}) + "\n"


def test_rows_are_read_once_and_merged_by_step(tmp_path):
    path = tmp_path / "history.jsonl"
    history = HistoryFile(path)
    assert list(history.rows()) == []
    path.write_text(point(2, train_loss=1.5) + point(4, train_loss=None) + point(6, train_loss=0.5))
    assert list(history.rows(5)) == [Row(2, {"train/loss": 1.5})]
    with path.open("a") as file:
        file.write(point(6, val={"mse": 3.0, "nmse": None}) + '{"step": 8, "train')
    assert list(history.rows()) == [Row(6, {"train/loss": 0.5, "val/mse": 3.0})]
    with path.open("a") as file:
        file.write('_loss": 0.25}\n')
    assert list(history.rows()) == [Row(8, {"train/loss": 0.25})]


def extent(rows: list[Row]) -> Extent:
    found = Extent()
    for row in rows:
        found = found.after(row)
    return found


def test_an_extent_tells_histories_apart():
    rows = [Row(1, {"a": 1.0}), Row(2, {"a": 2.0}), Row(3, {"a": 3.0})]
    assert Extent.read(str(extent(rows))) == extent(rows)
    others = [rows[:2], rows[::-1], [rows[0], rows[1], Row(3, {"a": 3.5})], [rows[0], rows[1], Row(4, {"a": 3.0})]]
    assert len({extent(rows), *map(extent, others)}) == 5


class FakeRun:
    """As much of a client's run as a feed uses."""

    id = "run"

    def __init__(self, rows: int, held: Extent, last_step: int) -> None:
        self.summary = {"history": str(held)} if rows else {}
        self.starting_step = last_step + 1 if rows else 0
        self.logged: list[Row] = []
        self.exit_code: int | None = None

    def finish(self, exit_code=0):
        self.exit_code = exit_code

    def log(self, values, step, commit):
        assert commit
        self.logged.append(Row(step, values))


LINES = [point(step, train_loss=float(step)) for step in range(1, 7)]
ROWS = [Row(step, {"train/loss": float(step)}) for step in range(1, 7)]


def test_a_feed_sends_what_the_service_lacks(tmp_path):
    path = tmp_path / "history.jsonl"
    run = FakeRun(3, extent(ROWS[:2]), last_step=3)  # the summary may lag behind the rows
    feed = Feed(run, path)
    path.write_text("".join(LINES[:2]))
    feed.send()
    assert run.logged == []
    path.write_text("".join(LINES))
    feed.send(5)
    feed.send()
    assert run.logged == ROWS[3:]
    assert run.summary["history"] == str(extent(ROWS))


def test_a_feed_leaves_another_execution_alone(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text("".join(LINES))
    run = FakeRun(2, extent([ROWS[0], Row(2, {"train/loss": 7.0})]), last_step=2)
    with pytest.raises(HistoryDiffersError):
        Feed(run, path).send()
    assert (run.logged, run.exit_code) == ([], 0)


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("diverged", 0), ("oom", 1), ("error", 1), ("preempted", 1)])
def test_the_outcome_does_not_belittle_what_the_service_holds(tmp_path, status, code):
    run = FakeRun(3, extent(ROWS[:3]), last_step=3)
    Feed(run, tmp_path / "history.jsonl").finish(make_record(status=status))
    assert run.summary["history"] == str(extent(ROWS[:3]))
    assert run.summary["status"] == status
    assert run.exit_code == code


def test_what_is_sent_is_what_a_checkpoint_holds(tmp_path):
    path = tmp_path / "history.jsonl"
    run = FakeRun(0, Extent(), last_step=0)
    logger = OnlineLogger(tmp_path, Tracking(backend="wandb", mode="online", run_id="run", url=None), Feed(run, path))
    sent = []
    for step in range(1, 7):
        path.write_text("".join(LINES[:step]))
        logger.log_metrics({"train/loss": 1.0}, step)
        if step % 2 == 0:
            logger.log_metrics({"val/mse": 1.0}, step)
        sent.append(len(run.logged))
    assert sent == [0, 0, 2, 2, 4, 4]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """One tiny trial, run without W&B and with it in all the ways in which that can go."""
    folder = tmp_path_factory.mktemp("played")
    words = ["task=lds", "model=stu", "model.num_filters=4", *TINY, "train.max_steps=12", "train.threads=1"]

    def entry(study: str, wandb: str, *more: str, kill_at: int | None = None, **env: str) -> dict:
        return {"words": [*words, f"study={study}", f"tracking.wandb={wandb}", *more], "kill_at": kill_at, "env": env}

    with stand_in() as service:
        service.silent.add("silent")
        entries = [
            entry("plain", "disabled"),
            entry("offline", "offline"),
            entry("online", "online", kill_at=8),
            entry("online", "online"),
            entry("refused", "online", WANDB_BASE_URL="http://127.0.0.1:9", WANDB_INIT_TIMEOUT="1"),
            entry("silent", "online", "tracking.project=silent", WANDB_FINISH_TIMEOUT="1"),
        ]
        command = [sys.executable, "-m", "tests.wandb_trials", json.dumps(entries)]
        environment = client_environment(service.url, folder, PYTHONPATH=str(ROOT))
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        yield SimpleNamespace(
            service=service, folder=folder, output=done.stdout + done.stderr, alive=left_over(service.url)
        )


def record_of(played: SimpleNamespace, study: str) -> RunRecord:
    (path,) = played.folder.glob(f"runs/{study}/*/record.json")
    return RunRecord.read(path)


def rows_of(folder: Path) -> list[tuple[int, dict[str, float]]]:
    return [(row.step, row.values) for row in HistoryFile(folder / "history.jsonl").rows()]


@needs_wandb
def test_results_are_the_same_however_w_and_b_fares(played):
    plain = record_of(played, "plain")
    assert plain.tracking is None
    assert not list((played.folder / "runs/plain").rglob("*wandb*"))
    for study in ("offline", "online", "refused", "silent"):
        record = record_of(played, study)
        assert (record.trial_id, record.curve, record.test) == (plain.trial_id, plain.curve, plain.test)
        assert record.status == plain.status


@needs_wandb
def test_an_interrupted_trial_has_each_step_once(played):
    record = record_of(played, "online")
    run = played.service.run(record.trial_id)
    assert 0 < run.rows_when_opened[0] < len(run.history)
    assert run.history == rows_of(played.folder / "runs/online" / record.trial_id)
    assert run.rows_sent == len(run.history)
    assert run.state == "finished"
    assert record.tracking.run_id == record.trial_id
    assert record.tracking.url.startswith(played.service.url)
    assert run.setting("config") == record.config
    assert run.summary["test/nmse"] == record.test["nmse"]
    assert run.summary["val/nmse"] == record.val["nmse"]
    assert set(run.tags) == {"lds", "stu", "uniform", "clean", str(record.status)}


@needs_wandb
@pytest.mark.parametrize("study", ["offline", "online"])  # the latter in two files, as it was interrupted
def test_the_record_can_be_had_back_from_what_the_client_wrote(played, cli, study):
    said = cli("results", "import", "--wandb", str(played.folder / "runs" / study), "--out", "back").output
    assert said.startswith("1 runs: 1 imported\n")
    record = played.folder / "runs" / study / record_of(played, study).trial_id / "record.json"
    assert Path("back", record.parent.name, record.name).read_bytes() == record.read_bytes()


@needs_wandb
def test_a_config_from_elsewhere_confirms_its_trial(played):
    record = record_of(played, "plain")
    known_id, spec = importing.identify(record.config)
    assert (known_id, spec.version, spec.metric) == (record.trial_id, record.task.version, record.task.metric)
    assert importing.identify({**record.config, "seed": 1})[0] != record.trial_id


@needs_wandb
def test_a_service_that_fails_is_left_behind(played):
    assert record_of(played, "refused").tracking is None
    assert record_of(played, "silent").tracking.mode == "online"
    for study in ("refused", "silent"):
        folder = f"runs/{study}/{record_of(played, study).trial_id}"
        assert re.search(f"W&B: .*; going on without it. Later: lra-bench wandb push {folder}", played.output)
    assert played.alive == []


@needs_wandb
def test_no_secret_is_written(played):
    assert API_KEY not in played.output
    for path in played.folder.rglob("*"):
        assert not path.is_file() or API_KEY.encode() not in path.read_bytes()


def stored_records(path: Path) -> Iterator[bytes]:
    """Entries of an offline run's file: a seven-byte head, then LevelDB's log format (32 KiB blocks of fragments)."""
    data, position, parts = path.read_bytes(), 7, []
    while position + 7 <= len(data):
        room = 2**15 - position % 2**15
        if room < 7:
            position += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # a full entry, or the last fragment of one
            yield b"".join(parts)
            parts = []


@needs_wandb
def test_the_offline_run_holds_config_history_and_summary(played):
    from wandb.proto.wandb_internal_pb2 import Record

    def values(items) -> dict:
        return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}

    record = record_of(played, "offline")
    (path,) = (played.folder / "runs/offline").rglob("*.wandb")
    assert path.name == f"run-{record.trial_id}.wandb"
    assert record.tracking.mode == "offline"
    assert record.tracking.run_id == record.trial_id
    entries = [Record.FromString(data) for data in stored_records(path)]
    runs = [entry.run for entry in entries if entry.HasField("run")]
    history = [values(entry.history.item) for entry in entries if entry.HasField("history")]
    summary = [values(entry.summary.update) for entry in entries if entry.HasField("summary")]
    assert {(run.run_group, run.run_id) for run in runs} == {("offline", record.trial_id)}
    assert values(runs[0].config.update)["config"] == record.config
    rows = [(row.pop("_step"), {key: row[key] for key in row if not key.startswith("_")}) for row in history]
    assert rows == rows_of(played.folder / "runs/offline" / record.trial_id)
    merged = {key: value for update in summary for key, value in update.items()}
    assert merged["status"] == record.status
    assert merged["test/nmse"] == record.test["nmse"]
