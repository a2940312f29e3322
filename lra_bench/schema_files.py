"""The JSON Schemas of what is exchanged. `python -m lra_bench.schema_files FOLDER` writes them into a checkout.

Only the current version of a schema is written. Files of older versions stay as they were published.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lra_bench.core.files import write_atomically
from lra_bench.core.record import RunRecord
from lra_bench.report.files.submissions import Submission

FOLDER = Path("docs", "schema")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
"""What a digest is in a file, where it is never null."""


def schemas() -> dict[str, dict[str, Any]]:
    """The current schemas, by the names of their files."""
    record = _schema(RunRecord, "record", "Record of one trial", required=["digest"])
    record["properties"]["digest"] = DIGEST | {"description": record["properties"]["digest"]["description"]}
    submission = _schema(Submission, "submission", "Description of a submission, submission.yaml")
    return {_file_name(schema): schema for schema in (record, submission)}


def text(schema: dict[str, Any]) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema(model: type[BaseModel], name: str, title: str, required: list[str] | None = None) -> dict[str, Any]:
    """The schema of a model's files; they always say which version they are."""
    schema = model.model_json_schema()
    version = schema["properties"]["schema_version"]["const"]
    return {
        "$schema": DIALECT,
        "$id": f"urn:lra-bench:schema:{name}:v{version}",
        **schema,
        "title": f"{title}, version {version}",
        "required": sorted({"schema_version", *schema["required"], *(required or [])}),
    }


def _file_name(schema: dict[str, Any]) -> str:
    name, version = schema["$id"].split(":")[-2:]
    return f"{name}-{version}.json"


def main(root: Path) -> None:
    """Write all into a checkout."""
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        write_atomically(root / FOLDER / name, text(schema))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
