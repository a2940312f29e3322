"""Sweep files: the format of W&B sweeps, read without W&B."""

import hashlib
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from lra_bench.config.files import read_yaml
from lra_bench.core.errors import ConfigError
from lra_bench.trials.distributions import draw

MOST_DRAWS = 20
"""Draws for each cell of a random search before giving up on finding a different one."""


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

    Of a grid, cells are the product of the parameters' values, the last parameter varying fastest. Of a random search
    they are the first `run_cap` different draws of a sequence that is a function of the parameters alone, so that a
    larger `run_cap` adds cells to those there are.

    Raises:
        ConfigError: no such file, not a sweep file, or something in it that does not run locally.
    """
    shipped = shipped_sweeps()
    path = shipped.get(name_or_path, Path(name_or_path))
    if name_or_path not in shipped and not path.exists():
        raise ConfigError(f"there is no sweep '{name_or_path}'. Shipped: {', '.join(shipped)}; or give a file")
    content = OmegaConf.to_container(read_yaml(path), resolve=False)
    if not isinstance(content, dict) or not isinstance(content.get("parameters"), dict):
        raise ConfigError(f"{path} is not a sweep file: it has no 'parameters'")
    method = content.get("method")
    if method not in ("grid", "random"):
        raise ConfigError(
            f"{path}: method '{method}' does not run locally, only 'grid' and 'random' do; "
            f"`wandb sweep {path}` hands it to W&B"
        )
    if "early_terminate" in content:
        raise ConfigError(
            f"{path}: early_terminate works with W&B alone (`wandb sweep {path}`); remove it to run locally"
        )
    try:
        parameters = _flat(content["parameters"])
        cells = _grid(parameters) if method == "grid" else _random(parameters, content.get("run_cap"))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return Sweep(path.stem, cells)


def _flat(parameters: dict[Any, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Every parameter under its dotted key; nested `parameters` are flattened."""
    flat: dict[str, dict[str, Any]] = {}
    for name, entry in parameters.items():
        key = f"{prefix}{name}"
        if not isinstance(entry, dict) or not entry:
            raise ConfigError(f"parameter '{key}' needs 'value: x' or 'values: [x, y]'")
        if isinstance(entry.get("parameters"), dict):
            flat |= _flat(entry["parameters"], f"{key}.")
        else:
            flat[key] = entry
    return flat


def _grid(parameters: dict[str, dict[str, Any]]) -> tuple[tuple[str, ...], ...]:
    axes = []
    for key, entry in parameters.items():
        values = [entry["value"]] if "value" in entry else entry.get("values")
        if not isinstance(values, list) or not values:
            raise ConfigError(
                f"parameter '{key}' needs 'value: x' or 'values: [x, y]'; distributions need method random"
            )
        axes.append(values)
    return tuple(_words(parameters, values) for values in itertools.product(*axes))


def _random(parameters: dict[str, dict[str, Any]], run_cap: Any) -> tuple[tuple[str, ...], ...]:
    """Draw number i has a generator of its own, so draws do not depend on how many there are."""
    if not isinstance(run_cap, int) or run_cap < 1:
        raise ConfigError("method random needs run_cap, the number of cells, such as run_cap: 300")
    seed = int.from_bytes(hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).digest()[:8], "big")
    cells: dict[tuple[str, ...], None] = {}
    for number in range(run_cap * MOST_DRAWS):
        rng = np.random.default_rng([seed, number])
        cells[_words(parameters, [draw(key, entry, rng) for key, entry in parameters.items()])] = None
        if len(cells) == run_cap:
            return tuple(cells)
    raise ConfigError(f"run_cap is {run_cap}, but the parameters have only about {len(cells)} different draws")


def _words(keys: Iterable[str], values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(f"{key}={_word(value)}" for key, value in zip(keys, values, strict=True))


def _word(value: Any) -> str:
    """A value as it stands on the command line; W&B writes the same."""
    return value if isinstance(value, str) else json.dumps(value)
