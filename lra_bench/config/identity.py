"""What makes two trials the same trial."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from lra_bench.config.schema import Config
from lra_bench.core.settings import NOT_RESULT_RELEVANT

PARTS = sorted({"task_version", *(part.name for part in fields(Config))} - set(NOT_RESULT_RELEVANT))
"""What an id is made of, in order."""


class TrialIds:
    """Gives configs their ids, and remembers the text of the sections and values that they share."""

    def __init__(self) -> None:
        self._texts: dict[int, tuple[Any, str]] = {}

    def of(self, config: Config, task_version: int) -> str:
        """Twelve hexadecimal digits that depend on the result-relevant part of the config alone.

        They are of the SHA-256 of the config as JSON with sorted keys, to which `task_version` is added and from which
        `NOT_RESULT_RELEVANT` is left out.
        """
        parts = {"task_version": task_version, **vars(config)}
        canonical = ",".join(f'"{name}":{self._text(name, parts[name])}' for name in PARTS)
        return hashlib.sha256(f"{{{canonical}}}".encode()).hexdigest()[:12]

    def folder(self, config: Config, task_version: int) -> Path:
        """`<out_dir>/<study>/<trial id>`."""
        return Path(config.out_dir, config.study, self.of(config, task_version))

    def _text(self, name: str, value: Any) -> str:
        known = self._texts.get(id(value))
        if known is None:
            known = self._texts[id(value)] = value, _json(_relevant(name, value))  # holds it, so no other takes its id
        return known[1]


def trial_id(config: Config, task_version: int) -> str:
    """The id of one config; see `TrialIds`."""
    return TrialIds().of(config, task_version)


def trial_folder(config: Config, task_version: int) -> Path:
    """`<out_dir>/<study>/<trial id>`."""
    return TrialIds().folder(config, task_version)


def recorded_id(config: Mapping[str, Any], task_version: int) -> str:
    """The id of a config as a record holds it, of whatever version of lra-bench: no name in it is looked up.

    Args:
        config: nested plain values, as `Config.to_dict` gave them.
        task_version: of the task that was built from it.
    """
    parts = {name: value for name, value in config.items() if name not in NOT_RESULT_RELEVANT}
    for name, value in parts.items():
        if isinstance(value, Mapping):
            parts[name] = {key: each for key, each in value.items() if f"{name}.{key}" not in NOT_RESULT_RELEVANT}
    return hashlib.sha256(_json({"task_version": task_version, **parts}).encode()).hexdigest()[:12]


def _relevant(name: str, value: Any) -> Any:
    """The fields of a section that matter; any other value as it is."""
    if not is_dataclass(value):
        return value
    kept = (each.name for each in fields(value) if f"{name}.{each.name}" not in NOT_RESULT_RELEVANT)
    return {key: getattr(value, key) for key in kept}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    """A dataclass within a section."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} in a config: only plain values and dataclasses of them can be identified")
