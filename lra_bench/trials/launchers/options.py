"""The `key=value` options of a launcher."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from lra_bench.core.errors import ConfigError

Options = TypeVar("Options")


def read_options(kind: type[Options], launcher: str, words: Mapping[str, str]) -> Options:
    """Turn what was typed into a launcher's options.

    Args:
        kind: a dataclass with a default for each option.
        launcher: its name, for messages.
        words: option -> value as typed.

    Raises:
        ConfigError: no such option, or a value of the wrong type or range.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if unknown := [name for name in words if name not in known]:
        raise ConfigError(f"--launcher {launcher} has no option '{unknown[0]}'; it has {', '.join(known)}")
    try:
        return TypeAdapter(kind).validate_strings(dict(words))
    except ValidationError as error:
        first = error.errors()[0]
        name = first["loc"][0]
        raise ConfigError(f"option {name}={words[str(name)]} of --launcher {launcher}: {first['msg']}") from error
