"""Sweep files: the format of W&B sweeps, read without W&B."""

import difflib
import hashlib
import itertools
import json
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from lra_bench.config.files import read_yaml
from lra_bench.config.words import write_value
from lra_bench.core.errors import ConfigError
from lra_bench.trials.distributions import draw

MOST_DRAWS = 20
"""Draws for each cell of a random search before giving up on finding a different one."""
FOR_WANDB = ("program", "command", "name", "description", "project", "entity", "metric")
"""Keys of sweep files that tell W&B and its agents something, and mean nothing here."""
REFUSED = {
    "early_terminate": "works with W&B alone (`wandb sweep`); remove it to run locally",
    "count": "is an option of `wandb agent`; in the file, run_cap: N takes the first N cells",
}
ENTRY = ("value", "values", "probabilities", "distribution", "min", "max", "mu", "sigma", "q")
"""Keys of a parameter."""


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

    Of a grid, cells are the product of the parameters' values, the last parameter varying fastest, or the first
    `run_cap` of these. Of a random search they are the first `run_cap` different draws of a sequence that is a function
    of the parameters alone. A larger `run_cap` adds cells to those there are.

    Raises:
        ConfigError: no such file, not a sweep file, or something in it that does not run locally.
    """
    shipped = shipped_sweeps()
    path = shipped.get(name_or_path, Path(name_or_path))
    if name_or_path not in shipped and not path.exists():
        raise ConfigError(f"there is no sweep '{name_or_path}'. Shipped: {', '.join(shipped)}; or give a file")
    content = OmegaConf.to_container(read_yaml(path), resolve=False)
    assert isinstance(content, dict)
    try:
        return Sweep(path.stem, _cells(content))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _cells(content: dict[Any, Any]) -> tuple[tuple[str, ...], ...]:
    """The cells of a sweep file's content."""
    for key, advice in REFUSED.items():
        if key in content:
            raise ConfigError(f"'{key}' {advice}")
    _require_known(content, {"method", "parameters", "run_cap", *FOR_WANDB}, "a sweep file has no key")
    method, parameters, run_cap = (content.get(key) for key in ("method", "parameters", "run_cap"))
    if method not in ("grid", "random"):
        raise ConfigError(
            f"method '{method}' does not run locally, only 'grid' and 'random' do; `wandb sweep` hands the file to W&B"
        )
    if not isinstance(parameters, dict) or not parameters:
        raise ConfigError("this is not a sweep file: it has no 'parameters'")
    flat = _flat(parameters)
    if method == "grid" and run_cap is None:
        return _grid(flat)
    if type(run_cap) is not int or run_cap < 1:
        raise ConfigError(f"method {method} needs run_cap to be a number of cells, such as run_cap: 300, got {run_cap}")
    return _grid(flat)[:run_cap] if method == "grid" else _random(flat, run_cap)


def _require_known(given: Collection[Any], known: Collection[str], complaint: str) -> None:
    for key in map(str, given):
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{complaint} '{key}'; {hint}")


def _flat(parameters: dict[Any, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Every parameter under its dotted key; nested `parameters` are flattened."""
    flat: dict[str, dict[str, Any]] = {}
    for name, entry in parameters.items():
        key = f"{prefix}{name}"
        if not isinstance(entry, dict) or not entry:
            wanted = f"values: {write_value(entry)}" if isinstance(entry, list) else f"value: {write_value(entry)}"
            raise ConfigError(f"parameter '{key}' needs a mapping; write {key}: {{{wanted}}}")
        if isinstance(entry.get("parameters"), dict):
            _require_known(entry, {"parameters"}, f"parameter '{key}' has parameters of its own, so it cannot have")
            flat |= _flat(entry["parameters"], f"{key}.")
        else:
            _require_known(entry, ENTRY, f"parameter '{key}' has no")
            if "value" in entry and "values" in entry:
                raise ConfigError(f"parameter '{key}' has both 'value' and 'values'; keep one")
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
        axes.append([f"{key}={write_value(value)}" for value in values])
    return tuple(itertools.product(*axes))


def _random(parameters: dict[str, dict[str, Any]], run_cap: int) -> tuple[tuple[str, ...], ...]:
    """Draw number i has a generator of its own, so draws do not depend on how many there are."""
    seed = int.from_bytes(hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).digest()[:8], "big")
    cells: dict[tuple[str, ...], None] = {}
    for number in range(run_cap * MOST_DRAWS):
        rng = np.random.default_rng([seed, number])
        cells[tuple(f"{key}={write_value(draw(key, entry, rng))}" for key, entry in parameters.items())] = None
        if len(cells) == run_cap:
            return tuple(cells)
    raise ConfigError(f"run_cap is {run_cap}, but the parameters have only about {len(cells)} different draws")
