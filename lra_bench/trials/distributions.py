"""The distributions of W&B sweep files, drawn without W&B (docs.wandb.ai, sweep configuration structure)."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lra_bench.core.errors import ConfigError

Entry = Mapping[str, Any]
Draw = Callable[[Entry, np.random.Generator], Any]


def draw(key: str, entry: Entry, rng: np.random.Generator) -> Any:
    """One value of a parameter.

    Without `distribution` it follows from what is given, as in W&B: `value` is constant, `values` categorical, `min`
    and `max` uniform over whole numbers where both are whole, over real ones otherwise, `mu` and `sigma` normal.

    Raises:
        ConfigError: an unknown distribution, or a number that it needs is missing or wrong.
    """
    name = entry.get("distribution") or _implied(entry)
    if name not in DISTRIBUTIONS:
        raise ConfigError(f"parameter '{key}': there is no distribution '{name}'; known: {', '.join(DISTRIBUTIONS)}")
    try:
        return DISTRIBUTIONS[name](entry, rng)
    except KeyError as error:
        raise ConfigError(f"parameter '{key}': distribution {name} needs '{error.args[0]}'") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"parameter '{key}': distribution {name} with {dict(entry)}: {error}") from None


def _implied(entry: Entry) -> str:
    if "value" in entry:
        return "constant"
    if "values" in entry:
        return "categorical"
    if "min" in entry and "max" in entry:
        whole = isinstance(entry["min"], int) and isinstance(entry["max"], int)
        return "int_uniform" if whole else "uniform"
    return "normal"


def _categorical(entry: Entry, rng: np.random.Generator) -> Any:
    values = entry["values"]
    return values[int(rng.choice(len(values), p=entry.get("probabilities")))]


def _uniform(entry: Entry, rng: np.random.Generator) -> float:
    return float(rng.uniform(entry["min"], entry["max"]))


def _log_uniform_values(entry: Entry, rng: np.random.Generator) -> float:
    return math.exp(rng.uniform(math.log(entry["min"]), math.log(entry["max"])))


def _inv_log_uniform_values(entry: Entry, rng: np.random.Generator) -> float:
    inverse = {"min": 1 / entry["max"], "max": 1 / entry["min"]}
    return 1 / _log_uniform_values(inverse, rng)


def _normal(entry: Entry, rng: np.random.Generator) -> float:
    return float(rng.normal(entry.get("mu", 0.0), entry.get("sigma", 1.0)))


def _exponential(inner: Draw) -> Draw:
    """E to the power of what another draws."""
    return lambda entry, rng: math.exp(inner(entry, rng))


def _quantized(inner: Draw) -> Draw:
    """What another draws, rounded to multiples of `q`."""

    def drawn(entry: Entry, rng: np.random.Generator) -> float:
        value: float = inner(entry, rng)
        step: float = entry.get("q", 1)
        return round(value / step) * step

    return drawn


DISTRIBUTIONS: dict[str, Draw] = {
    "constant": lambda entry, rng: entry["value"],
    "categorical": _categorical,
    "int_uniform": lambda entry, rng: int(rng.integers(entry["min"], entry["max"], endpoint=True)),
    "uniform": _uniform,
    "q_uniform": _quantized(_uniform),
    "log_uniform": _exponential(_uniform),
    "q_log_uniform": _quantized(_exponential(_uniform)),
    "log_uniform_values": _log_uniform_values,
    "q_log_uniform_values": _quantized(_log_uniform_values),
    "inv_log_uniform_values": _inv_log_uniform_values,
    "normal": _normal,
    "q_normal": _quantized(_normal),
    "log_normal": _exponential(_normal),
    "q_log_normal": _quantized(_exponential(_normal)),
}
