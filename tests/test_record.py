import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import replacing, write_atomically
from lra_bench.core.record import CurvePoint, RunRecord, Status

HISTORIC = sorted((Path(__file__).parent / "historic").glob("*.json"))


@pytest.mark.parametrize("path", HISTORIC, ids=lambda path: path.stem)
def test_records_of_every_schema_version_load_for_ever(path):
    record = RunRecord.read(path)
    assert record.schema_version == int(path.stem.partition("_")[0].removeprefix("v"))
    assert record.status in Status


def test_there_is_a_historic_record_of_the_current_version():
    assert any(path.stem.startswith("v1_") for path in HISTORIC)


def test_a_record_survives_writing_and_reading(tmp_path):
    record = RunRecord.read(HISTORIC[0])
    record.write(tmp_path / "record.json")
    assert RunRecord.read(tmp_path / "record.json") == record
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@given(value=st.floats())
def test_what_json_cannot_hold_becomes_null(value):
    point = CurvePoint(step=1, train_loss=value)
    again = CurvePoint.model_validate_json(point.model_dump_json())
    assert again.train_loss == (value if math.isfinite(value) else None)
    json.loads(point.model_dump_json(), parse_constant=lambda word: pytest.fail(word))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "great"}, "status"),
        ({"unknown": 1}, "unknown"),
        ({"schema_version": 99}, "schema_version"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_a_bad_record_names_the_file_and_the_field(tmp_path, change, message):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**json.loads(HISTORIC[0].read_text()), **change}))
    with pytest.raises(LraBenchError, match=f"record.json.*{message}"):
        RunRecord.read(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_truncated_record_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(LraBenchError, match=r"record\.json is not a valid run record"):
        RunRecord.read(path)


def test_a_missing_record_is_an_error_that_names_it(tmp_path):
    with pytest.raises(LraBenchError, match=r"cannot read the record .*nowhere\.json"):
        RunRecord.read(tmp_path / "nowhere.json")


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
