import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lra_bench.core import record_versions
from lra_bench.core.errors import FileError
from lra_bench.core.files import replacing, write_atomically
from lra_bench.core.record import CurvePoint, RunRecord, Status

FOLDER = Path(__file__).parent / "historic"
HISTORIC = sorted(FOLDER.glob("*.json"))
OLD, NEW = FOLDER / "v1_ok.json", FOLDER / "v2_ok.json"


def refusal(path):
    """Why a file is refused: one line that names it."""
    with pytest.raises(FileError) as caught:
        RunRecord.read(path)
    assert str(caught.value) == f"{path} {caught.value.reason}"
    assert caught.value.path == path
    assert caught.value.reason.isprintable()
    return caught.value.reason


@pytest.mark.parametrize("path", HISTORIC, ids=lambda path: path.stem)
def test_records_of_every_schema_version_load_for_ever(path):
    version, status = path.stem.removeprefix("v").split("_")
    record = RunRecord.read(path)
    assert record.schema_version == record_versions.CURRENT
    assert (record.digest is None) == (int(version) < record_versions.DIGEST_SINCE)
    assert record.status == status
    assert bool(record.test) == (status == "ok")
    assert record.curve[0].step == 10
    assert record.config["optim"]["lr"] == max(record.learning_rates.values())


def test_there_are_historic_records_of_every_version():
    assert {path.stem for path in HISTORIC} >= {
        f"v{version}_{status}" for version in range(1, record_versions.CURRENT + 1) for status in ("ok", "diverged")
    }
    assert set(record_versions.UPGRADES) == set(range(1, record_versions.CURRENT))


@pytest.mark.parametrize("path", HISTORIC, ids=lambda path: path.stem)
def test_a_record_survives_writing_and_reading(tmp_path, path):
    record = RunRecord.read(path)
    written = record.write(tmp_path / "record.json")
    assert RunRecord.read(tmp_path / "record.json") == written
    assert written.model_copy(update={"digest": record.digest}) == record
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
    if record.digest is not None:
        assert (tmp_path / "record.json").read_bytes() == path.read_bytes()


@given(value=st.floats())
def test_what_json_cannot_hold_becomes_null(value):
    point = CurvePoint(step=1, train_loss=value)
    text = json.dumps(point.to_dict(), allow_nan=False)
    assert CurvePoint.from_json(text).train_loss == (value if math.isfinite(value) else None)


def test_a_point_leaves_out_what_it_does_not_have():
    assert CurvePoint(step=3).to_dict() == {"step": 3}
    assert CurvePoint(step=3, train_loss=0.0, val={"nmse": 1.0}).to_dict() == {
        "step": 3,
        "train_loss": 0.0,
        "val": {"nmse": 1.0},
    }


@pytest.mark.parametrize("source", [OLD, NEW], ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "great"}, "status: "),
        ({"unknown": 1}, "unknown: "),
        ({"seed": "x"}, "seed: "),
        ({"budget": {}}, "budget.steps: "),
        ({"curve": [{"step": 1}, {"step": "x"}]}, "curve.1.step: "),
        ({"schema_version": "2"}, "schema_version: must be a whole number from 1"),
        ({"schema_version": True}, "schema_version: must be a whole number from 1"),
        ({"schema_version": 0}, "schema_version: must be a whole number from 1"),
        ({"\x1b[31m": 1}, r"\x1b[31m: "),
    ],
)
def test_a_bad_record_names_the_file_and_the_field(tmp_path, source, change, message):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**json.loads(source.read_text()), **change}))
    assert refusal(path).startswith(f"is not a valid run record: {message}")


def test_a_newer_record_asks_for_an_update(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"schema_version": record_versions.CURRENT + 1, "anything": "else"}))
    assert refusal(path) == "was written by a newer lra-bench (record version 3): update lra-bench"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.9, 0.9999])
def test_a_truncated_record_is_told(tmp_path, share):
    path = tmp_path / "record.json"
    content = NEW.read_bytes().rstrip()
    path.write_bytes(content[: int(share * len(content))])
    assert refusal(path).startswith(f"is not a valid run record: it is {'cut off' if share else 'empty'}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "it has no schema_version"),
        (b"null", "it has no schema_version"),
        (b'{"loss": 1.0}', "it has no schema_version"),
        (b"\xff\xfe", "it is not JSON"),
        (b"loss: 1.0", "it is not JSON"),
        (b'{"a": "\xed\xa0\x80"}', "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
    ],
)
def test_a_foreign_file_is_told(tmp_path, content, message):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    assert refusal(path).startswith(f"is not a valid run record: {message}")


def test_a_missing_record_is_an_error_that_names_it(tmp_path):
    assert refusal(tmp_path / "nowhere.json") == "cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "change",
    [
        {"test": {"mse": 323.5, "nmse": 0.0001}},
        {"test": {}},
        {"message": "it went well"},
        {"seed": 1},
        {"digest": "0" * 64},
    ],
)
def test_a_record_that_was_edited_is_refused(tmp_path, change):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**json.loads(NEW.read_text()), **change}, indent=2))
    assert refusal(path) == "was changed after it was written: its checksum does not match"


@pytest.mark.parametrize("digest", [{}, {"digest": None}])
def test_a_record_without_its_checksum_is_refused(tmp_path, digest):
    path = tmp_path / "record.json"
    content = json.loads(NEW.read_text())
    del content["digest"]
    path.write_text(json.dumps(content | digest))
    assert refusal(path) == "was changed after it was written: its checksum is missing"


@pytest.mark.parametrize("layout", [{}, {"indent": 1}, {"sort_keys": True}, {"ensure_ascii": False}])
def test_another_layout_is_the_same_record(tmp_path, layout):
    path = tmp_path / "record.json"
    named = RunRecord.read(NEW).model_copy(update={"message": "naïve\n\u2028"}).write(path)
    path.write_text(json.dumps(json.loads(path.read_text()), **layout))
    assert RunRecord.read(path) == named


def test_the_digest_is_of_all_that_is_written(tmp_path):
    """What it says about itself: recomputed from the file with nothing but the standard library."""
    import hashlib

    content = json.loads(NEW.read_text())
    digest = content.pop("digest")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode("ascii")).hexdigest() == digest


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fail_half_way():
        with replacing(path) as temporary:
            temporary.write_text("half of the new")
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_preempted_trials_are_to_be_continued():
    assert [status for status in Status if not status.finished] == [Status.PREEMPTED]
