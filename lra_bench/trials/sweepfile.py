"""Sweep files: the format of W&B sweeps, read without W&B."""

import itertools
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lra_bench.config.files import read_yaml
from lra_bench.core.errors import ConfigError


@dataclass(frozen=True)
class Sweep:
    """A named list of cells, each a tuple of `key=value` words."""

    name: str
    cells: tuple[tuple[str, ...], ...]


def shipped_sweeps() -> dict[str, Path]:
    """Name -> path of the sweep files that come with the package."""
    return {path.stem: path for path in sorted(Path(str(files("lra_bench.sweeps"))).glob("*.yaml"))}


def read_sweep(name_or_path: str) -> Sweep:
    """Read a sweep file, by path or by the name of a shipped one.

    Cells are the product of the parameters' values, the last parameter varying fastest.

    Raises:
        ConfigError: no such file, not a sweep file, or a method that does not run locally.
    """
    shipped = shipped_sweeps()
    path = shipped.get(name_or_path, Path(name_or_path))
    if name_or_path not in shipped and not path.exists():
        raise ConfigError(f"there is no sweep '{name_or_path}'. Shipped: {', '.join(shipped)}; or give a file")
    content = OmegaConf.to_container(read_yaml(path), resolve=False)
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise ConfigError(f"{path} is not a sweep file: it has no 'parameters'")
    if content.get("method") != "grid":
        raise ConfigError(
            f"{path}: method '{content.get('method')}' does not run locally, only 'grid' does; "
            f"`wandb sweep {path}` hands it to W&B"
        )
    axes = _axes(content["parameters"], path)
    cells = tuple(
        tuple(f"{key}={_word(value)}" for (key, _), value in zip(axes, values, strict=True))
        for values in itertools.product(*(values for _, values in axes))
    )
    return Sweep(path.stem, cells)


def _axes(parameters: dict[Any, Any], path: Path, prefix: str = "") -> list[tuple[str, list[Any]]]:
    """Dotted key and values of every parameter; nested `parameters` are flattened."""
    axes: list[tuple[str, list[Any]]] = []
    for name, entry in parameters.items():
        key = f"{prefix}{name}"
        if isinstance(entry, dict) and isinstance(entry.get("parameters"), dict):
            axes += _axes(entry["parameters"], path, f"{key}.")
        elif isinstance(entry, dict) and isinstance(entry.get("values"), list) and entry["values"]:
            axes.append((key, entry["values"]))
        elif isinstance(entry, dict) and "value" in entry:
            axes.append((key, [entry["value"]]))
        else:
            raise ConfigError(f"{path}: parameter '{key}' needs 'value: x' or 'values: [x, y]'")
    return axes


def _word(value: Any) -> str:
    """A value as it stands on the command line; W&B writes the same."""
    return value if isinstance(value, str) else json.dumps(value)
