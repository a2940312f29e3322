"""What a prepared data set says of itself, and how it is named."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lra_bench.core.errors import LraBenchError

FILE = "manifest.json"


@dataclass(frozen=True)
class SetKey:
    """Which prepared set: what must be known to make it, and nothing that is found out while making it.

    Attributes:
        dataset: folder of the store.
        version: of the task whose code prepares it.
        origin: official files, or the project's own generator.
        options: settings that decide the prepared bytes, plain JSON types.
    """

    dataset: str
    version: int
    origin: Literal["official", "generated"]
    options: Mapping[str, Any]

    @property
    def variant(self) -> str:
        """Folder name of the set: readable, and different for different options."""
        canonical = json.dumps({"version": self.version, **self.options}, sort_keys=True)
        size = [str(self.options["size"])] if "size" in self.options else []
        return "-".join([self.origin, *size, hashlib.sha256(canonical.encode()).hexdigest()[:8]])


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoredArray(_Part):
    """One `.npy` file."""

    dtype: str
    shape: tuple[int, ...]
    size: int
    sha256: str


class Description(_Part):
    """What is found out while a set is made.

    Attributes:
        source: where the data came from, without folders of the machine that prepared them.
        facts: what was measured on the data, by name.
        skipped: what was left out, and how often.
        notes: what a reader of the numbers should know.
    """

    source: str
    facts: dict[str, Any] = {}
    skipped: dict[str, int] = {}
    notes: list[str] = []


class Manifest(Description):
    """A prepared set: its key, its description, and its files."""

    schema_version: Literal[1] = 1
    dataset: str
    version: int
    origin: Literal["official", "generated"]
    options: dict[str, Any]
    licence: str
    arrays: dict[str, StoredArray]

    @property
    def content(self) -> str:
        """Hash of all arrays: equal for equal data, however and wherever they were prepared."""
        hashes = {name: array.sha256 for name, array in sorted(self.arrays.items())}
        return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:16]

    @property
    def size(self) -> int:
        """Bytes of all arrays."""
        return sum(array.size for array in self.arrays.values())

    def key(self) -> SetKey:
        """Its key."""
        return SetKey(self.dataset, self.version, self.origin, self.options)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest of a set.

        Raises:
            LraBenchError: it cannot be read, or is not a manifest.
        """
        path = folder / FILE
        try:
            content = path.read_bytes()
        except OSError as error:
            raise LraBenchError(f"{path} cannot be read: {error.strerror}") from error
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: bytes, name: str) -> "Manifest":
        """The manifest in the bytes of a file of that name.

        Raises:
            LraBenchError: it is not a manifest.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise LraBenchError(f"{name} is not a manifest: {where}: {first['msg']}") from error
