"""The `key=value` words of the command line and of a sweep's cells."""

import math
import re
from functools import lru_cache
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lra_bench.config.files import write_line
from lra_bench.core.errors import ConfigError

WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
REAL = re.compile(r"-?[0-9]+\.[0-9]*(?:e[-+]?[0-9]+)?")
"""Numbers that need no YAML parser, which takes a hundred times as long."""


def split_word(word: str) -> tuple[str, str]:
    """Key and text of a word. `None` is read as null, for W&B's agent writes null so.

    Raises:
        ConfigError: not of the form key=value.
    """
    key, equals, text = word.partition("=")
    if not (key and equals) or key.startswith("-"):
        raise ConfigError(f"'{word}' is not of the form key=value, such as optim.lr=0.01")
    return key, "null" if text == "None" else text


@lru_cache(maxsize=1 << 14)
def read_value(text: str) -> Any:
    """The value that a text stands for: YAML as OmegaConf reads it.

    Raises:
        YAMLError, OmegaConfBaseException: not YAML, or a broken interpolation.
    """
    if WHOLE.fullmatch(text):
        return int(text)
    if REAL.fullmatch(text):
        return float(text)
    return OmegaConf.from_dotlist([f"value={text}"]).value


def write_value(value: Any) -> str:
    """A text that `read_value` reads as this value; a string stays as it is where it can."""
    if isinstance(value, str) and _reads_as_itself(value):
        return value
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(value)
    return write_line(value)


def _reads_as_itself(text: str) -> bool:
    if "${" in text:
        return True
    try:
        return bool(read_value(text) == text)
    except (OmegaConfBaseException, YAMLError):
        return False
