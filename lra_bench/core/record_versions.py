"""Record files of every version there ever was: their text, their checksum, and how an old one becomes a new one."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from lra_bench.core.errors import FileError

CURRENT = 2
"""The version that is written."""

DIGEST_SINCE = 2
"""The first version that has a checksum."""

Fields = dict[str, Any]
"""A record as it stands in its file."""


def parse(path: Path, content: bytes) -> Fields:
    """The fields of a record file, as they were written.

    Raises:
        FileError: not JSON, not a record, or written by a newer lra-bench.
    """
    if not content.strip():
        raise invalid(path, "it is empty")
    try:
        fields = from_json(content)
    except ValueError as error:
        reason = "it is cut off" if str(error).startswith("EOF") else "it is not JSON"
        raise invalid(path, f"{reason}: {error}") from error
    if not isinstance(fields, dict) or "schema_version" not in fields:
        raise invalid(path, "it has no schema_version")
    version = fields["schema_version"]
    if type(version) is not int or version < 1:
        raise invalid(path, f"schema_version: must be a whole number from 1 to {CURRENT}")
    if version > CURRENT:
        raise FileError(path, f"was written by a newer lra-bench (record version {version}): update lra-bench")
    return fields


def invalid(path: Path, why: str) -> FileError:
    """The error of a file that breaks the schema."""
    return FileError(path, f"is not a valid run record: {why}")


def check_digest(path: Path, fields: Fields) -> None:
    """Raise a `FileError` where a record is not as it was written; the first version cannot tell."""
    if fields["schema_version"] < DIGEST_SINCE:
        return
    if fields.get("digest") != digest(fields):
        word = "does not match" if fields.get("digest") else "is missing"
        raise FileError(path, f"was changed after it was written: its checksum {word}")


def digest(fields: Fields) -> str:
    """SHA-256 of all fields but the digest, as JSON with sorted keys, no spaces and no characters beyond ASCII.

    It is of the content, so another layout of the same JSON has the same digest.
    """
    content = {name: value for name, value in fields.items() if name != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def upgraded(fields: Fields) -> Fields:
    """The fields as the current version has them."""
    while fields["schema_version"] < CURRENT:
        fields = UPGRADES[fields["schema_version"]](fields)
    return fields


def _with_digest(fields: Fields) -> Fields:
    """Version 2 added the digest; what was written without one has none."""
    return {**fields, "schema_version": 2, "digest": None}


UPGRADES: dict[int, Callable[[Fields], Fields]] = {1: _with_digest}
"""From each old version to the next."""
