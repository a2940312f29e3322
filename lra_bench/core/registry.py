"""Names to classes: lazy tables of the project, entry points of other packages, and plain `module:attr` paths."""

import difflib
import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from lra_bench.core.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """One registered name: where its class lives, and which distribution brought it."""

    name: str
    path: str
    origin: str


class Registry:
    """Finds a class by a registered name or by `module:attr`, importing nothing until asked to load.

    Args:
        kind: what it holds, for messages ("model", "task").
        table: module whose `TABLE` maps names to "module:attr".
        group: entry point group in which other packages register theirs.
    """

    def __init__(self, kind: str, table: str, group: str) -> None:
        self.kind = kind
        self._table = table
        self._group = group

    def entries(self) -> dict[str, Entry]:
        """All registered names, sorted.

        Raises:
            ConfigError: two sources claim one name; both are named.
        """
        table: dict[str, str] = importlib.import_module(self._table).TABLE
        found = {name: Entry(name, path, "lra-bench") for name, path in table.items()}
        for point in entry_points(self._group):
            origin = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown package"
            entry = Entry(point.name, point.value, origin)
            first = found.setdefault(point.name, entry)
            if first != entry:
                raise ConfigError(
                    f"two packages register the {self.kind} '{point.name}': {first.origin} ({first.path}) and "
                    f"{entry.origin} ({entry.path}). Uninstall one, or ask for it by its path 'module:attr'."
                )
        return dict(sorted(found.items()))

    def find(self, name: str) -> Entry:
        """The entry of a registered name, or one made for a `module:attr` path.

        Raises:
            ConfigError: no such name; the closest ones are suggested.
        """
        entries = self.entries()
        if name in entries:
            return entries[name]
        if ":" in name:
            return Entry(name, name, _origin_of(name.partition(":")[0]))
        close = difflib.get_close_matches(name, entries, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise ConfigError(
            f"there is no {self.kind} '{name}'.{hint} Known: {', '.join(entries)}; or give your own as 'module:Class'."
        )

    def load(self, name: str, base: type) -> Any:
        """The class behind a name.

        A plain `module:attr` is looked up in the current folder as well, so that a stranger's file is enough.

        Raises:
            ConfigError: unknown name, failed import, missing attribute, or not a subclass of `base`.
        """
        entry = self.find(name)
        module_name, _, attr = entry.path.partition(":")
        try:
            with _current_folder_importable():
                module = importlib.import_module(module_name)
        except Exception as error:
            raise ConfigError(
                f"{self.kind} '{name}' ({entry.path}, from {entry.origin}) cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error
        cls = getattr(module, attr, None)
        if cls is None:
            raise ConfigError(f"{self.kind} '{name}': {module.__file__} has no '{attr}'")
        if not (isinstance(cls, type) and issubclass(cls, base)):
            raise ConfigError(f"{self.kind} '{name}': {entry.path} is not a {base.__name__}")
        return cls


class _current_folder_importable:  # noqa: N801 (reads as a verb at its only use)
    """Puts the current folder on the import path for the length of a `with` block."""

    def __enter__(self) -> None:
        self._here = str(Path.cwd())
        sys.path.insert(0, self._here)

    def __exit__(self, *_: object) -> None:
        sys.path.remove(self._here)


@lru_cache(maxsize=8)
def entry_points(group: str) -> metadata.EntryPoints:
    """What installed packages register in a group; looked up once."""
    return metadata.entry_points(group=group)


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Distributions by top-level module; reading them takes a second."""
    return metadata.packages_distributions()


def _origin_of(module: str) -> str:
    """Distribution and version that a module belongs to, or "local file"."""
    names = _distributions().get(module.partition(".")[0])
    return f"{names[0]} {metadata.version(names[0])}" if names else "local file"


MODELS = Registry("model", table="lra_bench.models", group="lra_bench.models")
TASKS = Registry("task", table="lra_bench.tasks", group="lra_bench.tasks")
