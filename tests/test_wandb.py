"""W&B as a sink: what is decided without it, and offline mode with the real client."""

import importlib.util
import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lra_bench import tracking
from lra_bench.core.errors import ConfigError
from lra_bench.core.record import RunRecord
from tests.conftest import TINY

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
    monkeypatch.setattr(tracking, "_installed", lambda: installed)
    decision = tracking.decide(asked)
    assert decision.mode == mode
    assert re.search(reason, decision.reason)


def test_a_login_is_found_in_netrc(monkeypatch, tmp_path):
    file = tmp_path / "netrc"
    file.write_text("machine api.wandb.ai login user password " + "x" * 40)
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))
    monkeypatch.setattr(tracking, "_installed", lambda: True)
    assert tracking.decide("auto").mode == "online"
    file.write_text("machine example.org login user password secret")
    assert tracking.decide("auto").mode == "disabled"


def test_asking_for_it_without_it_names_the_extra(monkeypatch):
    from lra_bench.config.compose import compose

    monkeypatch.setattr(tracking, "_installed", lambda: False)
    config = compose(["task=lds", "model=stu", "tracking.wandb=offline"]).config
    with pytest.raises(ConfigError, match=r"pip install 'lra-bench\[wandb\]'"):
        tracking.make_logger(config, "id", Path())


def train(folder: Path, *words: str) -> RunRecord:
    code = "from lra_bench.cli.main import main; main()"
    command = [sys.executable, "-c", code, "train", "task=lds", "model=stu", "model.num_filters=4", *TINY, *words]
    subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    (path,) = folder.glob("runs/train/*/record.json")
    return RunRecord.read(path)


@needs_wandb
def test_offline_gives_one_run_per_trial_and_the_same_results(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "topsecret" * 5)
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    tracked = train(tmp_path / "with", "tracking.wandb=offline")
    plain = train(tmp_path / "without", "tracking.wandb=disabled")
    assert tracked.tracking.mode == "offline"
    assert tracked.tracking.run_id == tracked.trial_id == plain.trial_id
    assert plain.tracking is None
    assert (tracked.curve, tracked.test) == (plain.curve, plain.test)
    runs = list((tmp_path / "with").rglob("*.wandb"))
    assert [path.name for path in runs] == [f"run-{tracked.trial_id}.wandb"]
    for path in (tmp_path / "with").rglob("*"):
        assert not path.is_file() or b"topsecret" not in path.read_bytes()
    assert not list((tmp_path / "without").rglob("*wandb*"))


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
def test_the_offline_run_holds_config_history_and_summary(tmp_path):
    from wandb.proto.wandb_internal_pb2 import Record

    def values(items) -> dict:
        return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}

    record = train(tmp_path, "tracking.wandb=offline")
    (path,) = tmp_path.rglob("*.wandb")
    entries = [Record.FromString(data) for data in stored_records(path)]
    runs = [entry.run for entry in entries if entry.HasField("run")]
    history = [values(entry.history.item) for entry in entries if entry.HasField("history")]
    summary = [values(entry.summary.update) for entry in entries if entry.HasField("summary")]
    assert {run.run_group for run in runs} == {"train"}
    assert {run.run_id for run in runs} == {record.trial_id}
    assert values(runs[0].config.update)["optim"] == record.config["optim"]
    assert [row["val/nmse"] for row in history if "val/nmse" in row] == [p.val["nmse"] for p in record.curve if p.val]
    merged = {key: value for update in summary for key, value in update.items()}
    assert merged["status"] == record.status
    assert merged["test/nmse"] == record.test["nmse"]
