"""Records that others sent: `results/NAME/submission.yaml` says whose they are, `results/NAME/records/` holds them."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lra_bench.core.errors import FileError, LraBenchError

FILE_NAME = "submission.yaml"
RECORDS = "records"

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""What a submission may be called: it is the name of a folder, too."""
RecordName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.json$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,200}$")]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Submission(BaseModel):
    """Whose records a folder holds, and which: a record that is changed, added or taken away is seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = Field(description="of this layout")
    name: Name = Field(description="of the submission and of its folder")
    by: Line = Field(description="who measured")
    contact: Line | None = Field(default=None, description="where questions are answered")
    url: Annotated[str, Field(pattern=r"^https?://[!-~]{1,500}$")] | None = Field(
        default=None, description="of a paper or of code"
    )
    notes: str | None = Field(default=None, description="what a reader should know", max_length=10_000)
    records: dict[RecordName, Sha256] = Field(
        description="SHA-256 of each file under records/, by its name",
        json_schema_extra={"additionalProperties": False},
    )

    @classmethod
    def read(cls, folder: Path) -> "Submission":
        """Read the file that describes a submission.

        Raises:
            FileError: unreadable, not YAML, or not as the schema says; names the field.
        """
        path = folder / FILE_NAME
        try:
            submission = cls.model_validate(yaml.load(path.read_bytes(), _Loader))  # noqa: S506 (both are safe)
        except OSError as error:
            raise FileError(path, f"cannot be read: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise FileError(path, f"is not YAML: {' '.join(str(error).split())}") from error
        except ValidationError as error:
            raise FileError(path, f"is not a valid description of a submission: {_first(error)}") from error
        if submission.name != folder.resolve().name:
            raise FileError(path, f"is not a valid description of a submission: name: the folder is {folder.name}")
        return submission

    def text(self) -> str:
        """The file's content."""
        fields = self.model_dump(exclude_none=True)
        fields["records"] = dict(sorted(self.records.items()))
        return str(yaml.dump(fields, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def file_hash(content: bytes) -> str:
    """What `records` lists of a file."""
    return hashlib.sha256(content).hexdigest()


def described(folder: Path, given: dict[str, str]) -> Submission:
    """The description of a submission that is to be in a folder: as it is there, with what is given in its place.

    Args:
        folder: of the submission, there or not.
        given: `by`, `contact`, `url`, `notes`.

    Raises:
        LraBenchError: what is there is no description, or what is given is not fit for one.
    """
    there: dict[str, Any] = Submission.read(folder).model_dump() if (folder / FILE_NAME).exists() else {"records": {}}
    if "by" not in there | given:
        raise LraBenchError('say who measured: --by "WHO"')
    try:
        return Submission.model_validate({"schema_version": 1, "name": folder.resolve().name} | there | given)
    except ValidationError as error:
        raise LraBenchError(f"{folder}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """The first thing that is wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"])).encode("unicode_escape").decode() or "the file"
    return f"{where}: {first['msg']}"
