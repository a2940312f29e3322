"""The YAML files that ship with the package, and reading YAML with errors that people can act on."""

from importlib.resources import files
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lra_bench.core.errors import ConfigError

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


def first_comment(path: Path) -> str:
    """First line of a file, which by the house rule is a comment that says what the file is."""
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
