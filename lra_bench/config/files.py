"""The YAML files that ship with the package, and reading YAML with errors that people can act on."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError
from yaml.representer import RepresenterError

from lra_bench.core.errors import ConfigError

BOOLEANS = {"y", "yes", "n", "no", "true", "false", "on", "off"}
SHIPPED = Path(str(files("lra_bench.configs")))


def shipped_configs(kind: str) -> dict[str, str]:
    """Name -> first comment line of every file under `configs/<kind>`; recipes are named "<task>/<model>"."""
    folder = SHIPPED / kind
    return {
        path.relative_to(folder).with_suffix("").as_posix(): first_comment(path)
        for path in sorted(folder.rglob("*.yaml"))
    }


def read_yaml(path: Path) -> DictConfig:
    """Read a YAML file of `key: value` pairs.

    Raises:
        ConfigError: missing, unreadable, not YAML, or not a mapping.
    """
    try:
        values = OmegaConf.load(path)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}") from error
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, DictConfig):
        raise ConfigError(f"{path} must hold `key: value` pairs")
    return values


def write_yaml(values: dict[str, Any]) -> str:
    """YAML that `read_yaml` reads as these values.

    The text is that of OmegaConf's own writer, which takes ten times as long because it makes nodes of all values, and
    is left to those that are not plain, such as enums.
    """
    try:
        return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
    except RepresenterError:
        return OmegaConf.to_yaml(OmegaConf.create(values))


def write_line(value: Any) -> str:
    """A plain value in one line of YAML."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=True, allow_unicode=True, width=-1)
    return text.removesuffix("\n").removesuffix("\n...")


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes strings that OmegaConf reads as numbers or booleans, which PyYAML alone would not all quote."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = "'" if text.lower() in BOOLEANS or _is_number(text) else None
        node: yaml.ScalarNode = self.represent_scalar("tag:yaml.org,2002:str", text, style=style)
        return node


_Dumper.add_representer(str, _Dumper.represent_text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def first_comment(path: Path) -> str:
    """First line of a file, which by the house rule is a comment that says what the file is."""
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
