"""The published schemas are those of the code, and files are as they say."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from lra_bench import schema_files
from lra_bench.core import record_versions
from lra_bench.report.files.submissions import Submission
from tests.records import realistic_records
from tests.test_record import HISTORIC, NEW

ROOT = Path(__file__).parent.parent
PUBLISHED = {path.name: json.loads(path.read_text()) for path in (ROOT / schema_files.FOLDER).glob("*.json")}
FROZEN = {"record-v1.json": "64052437fd15bce0b296b72c859ce68a0674016bbebae64e40a56956b9cd8827"}
"""SHA-256 of the schemas of versions that are no longer written; they stay as they were published."""


def valid(content, name):
    return Draft202012Validator(PUBLISHED[name]).is_valid(content)


def fields(schema):
    """Dotted names and schemas of all fields."""
    for name, part in {"": schema, **schema.get("$defs", {})}.items():
        for key, field in part.get("properties", {}).items():
            yield f"{name}.{key}", field


def test_the_files_are_up_to_date():
    for name, schema in schema_files.schemas().items():
        assert (ROOT / schema_files.FOLDER / name).read_text() == schema_files.text(schema)


def test_every_version_is_published_and_old_ones_stay_as_they_were():
    versions = {f"record-v{version}.json" for version in range(1, record_versions.CURRENT + 1)}
    assert set(PUBLISHED) == versions | {"submission-v1.json"}
    frozen = {name: hashlib.sha256((ROOT / schema_files.FOLDER / name).read_bytes()).hexdigest() for name in FROZEN}
    assert frozen == FROZEN
    assert set(FROZEN) == set(PUBLISHED) - set(schema_files.schemas())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_schema_says_what_it_is(name):
    schema = PUBLISHED[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith(name.removesuffix(".json").replace("-", ":"))
    assert schema["title"]
    assert schema["description"]
    if name in schema_files.schemas():
        assert [key for key, field in fields(schema) if not field.get("description")] == []


@pytest.mark.parametrize("path", HISTORIC, ids=lambda path: path.stem)
def test_records_fit_the_schema_of_their_version_alone(path):
    content = json.loads(path.read_text())
    fitting = {name for name in PUBLISHED if valid(content, name)}
    assert fitting == {f"record-v{content['schema_version']}.json"}


def test_realistic_records_fit(tmp_path):
    for record in realistic_records():
        record.write(tmp_path / "record.json")
        assert valid(json.loads((tmp_path / "record.json").read_text()), "record-v2.json")


@pytest.mark.parametrize(
    "change", [{"status": "great"}, {"unknown": 1}, {"seed": "x"}, {"digest": None}, {"curve": [{}]}]
)
def test_other_files_do_not_fit(change):
    assert not valid(json.loads(NEW.read_text()) | change, "record-v2.json")


def test_a_description_of_a_submission_fits():
    submission = Submission(schema_version=1, name="us", by="Us", records={"a.json": "0" * 64})
    content = yaml.safe_load(submission.text())
    assert valid(content, "submission-v1.json")
    changes = (
        {"name": "../us"},
        {"by": None},
        {"records": {"a.json": "x"}},
        {"records": {"../a.json": "0" * 64}},
        {"url": "javascript:1"},
    )
    for change in changes:
        assert not valid(content | change, "submission-v1.json")
