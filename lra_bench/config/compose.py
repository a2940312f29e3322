"""From names, files and `key=value` words to one frozen config.

Later layers win: dataclass defaults < base.yaml < task/X.yaml < model/X.yaml < recipe < --config FILE < command line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lra_bench.config.schema import Config
from lra_bench.core.errors import ConfigError
from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.registry import MODELS, TASKS
from lra_bench.core.settings import TaskConfig


@dataclass(frozen=True)
class Layer:
    """One source of values."""

    source: str
    values: DictConfig


@dataclass(frozen=True)
class Composed:
    """A config, and for each dotted key the layer that set it."""

    config: Config
    sources: dict[str, str]


def compose(overrides: Sequence[str], config_file: Path | None = None) -> Composed:
    """Put a config together.

    Args:
        overrides: `key=value` words; `task=NAME`, `model=NAME` and `recipe=TASK/MODEL` choose what is run.
        config_file: a YAML file of the same keys.

    Raises:
        ConfigError: unknown key, name or file, or a value of the wrong type or range; names where it was set.
    """
    user = [_file_layer(config_file)] if config_file else []
    user.append(_command_line_layer(overrides))
    recipe = _chosen(user, "recipe")
    from_recipe = _split_recipe(recipe) if recipe else {}
    names = {slot: _name_of(slot, user, from_recipe.get(slot)) for slot in ("task", "model")}
    layers = [
        _shipped_layer("base.yaml"),
        *_optional_shipped_layer(f"task/{names['task']}.yaml"),
        *_optional_shipped_layer(f"model/{names['model']}.yaml"),
    ]
    if recipe:
        layers.append(_recipe_layer(recipe))
    return _merge(names, layers + user)


def load_frozen(path: Path) -> Config:
    """Read a trial's `config.yaml`, which holds every value, so no other layer takes part.

    Raises:
        ConfigError: as `compose`.
    """
    layer = _file_layer(path)
    names = {slot: _name_of(slot, [layer], None) for slot in ("task", "model")}
    return _merge(names, [layer]).config


def to_yaml(config: Config) -> str:
    """YAML of the whole config, as `load_frozen` reads it."""
    return OmegaConf.to_yaml(OmegaConf.create(config.to_dict()))


def shipped_configs(kind: str) -> dict[str, str]:
    """Name -> first comment line of every shipped file under `configs/<kind>`, recipes as "<task>/<model>"."""
    folder = Path(str(files("lra_bench.configs"))) / kind
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path.read_text().partition("\n")[0].lstrip("# ")
        for path in sorted(folder.rglob("*.yaml"))
    }


def _merge(names: dict[str, str], layers: list[Layer]) -> Composed:
    schema = OmegaConf.structured(Config)
    OmegaConf.set_readonly(schema, False)
    schema.task = OmegaConf.structured(_config_class(TASKS.load(names["task"], object), TaskConfig))
    schema.model = OmegaConf.structured(_config_class(MODELS.load(names["model"], SequenceMixer), MixerConfig))
    sources = dict.fromkeys(_leaves(schema), "default")
    merged = schema
    for layer in layers:
        values = _with_names_in_slots(layer, names)
        try:
            merged = OmegaConf.merge(merged, values)
        except OmegaConfBaseException as error:
            raise ConfigError(_in_one_line(error, layer.source)) from error
        sources.update(dict.fromkeys(_leaves(values), layer.source))
    OmegaConf.set_readonly(merged, False)
    for slot, name in names.items():
        OmegaConf.set_readonly(merged[slot], False)
        merged[slot].name = name
    try:
        return Composed(OmegaConf.to_object(merged), sources)  # type: ignore[arg-type]
    except OmegaConfBaseException as error:
        raise ConfigError(_in_one_line(error, "the composed config")) from error


def _config_class(owner: Any, base: type) -> type:
    cls = getattr(owner, "Config", None)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ConfigError(f"{owner.__name__}.Config must be a frozen dataclass that extends {base.__name__}")
    return cls


def _with_names_in_slots(layer: Layer, names: dict[str, str]) -> DictConfig:
    """A layer may say `task: lds` for short: turn it into `task: {name: lds}`."""
    values = layer.values.copy()
    for slot in names:
        if isinstance(values.get(slot), str):
            values[slot] = {"name": values[slot]}
    return values


def _chosen(layers: list[Layer], key: str) -> str | None:
    """What the last layer that mentions `key` says."""
    for layer in reversed(layers):
        if (value := layer.values.get(key)) is not None:
            return str(value)
    return None


def _name_of(slot: str, layers: list[Layer], from_recipe: str | None) -> str:
    for layer in reversed(layers):
        value = layer.values.get(slot)
        name = value if isinstance(value, str) else value.get("name") if isinstance(value, DictConfig) else None
        if name is None:
            continue
        if from_recipe not in (None, name):
            raise ConfigError(f"{slot}={name} does not fit the recipe, which is for {slot}={from_recipe}")
        return str(name)
    if from_recipe is None:
        raise ConfigError(f"say which {slot} to use: {slot}=NAME. `lra-bench list {slot}s` shows the names")
    return from_recipe


def _split_recipe(recipe: str) -> dict[str, str]:
    known = shipped_configs("recipe")
    if recipe not in known:
        raise ConfigError(f"there is no recipe '{recipe}'. Known: {', '.join(known) or 'none'}")
    task, _, model = recipe.partition("/")
    return {"task": task, "model": model}


def _recipe_layer(recipe: str) -> Layer:
    layer = _shipped_layer(f"recipe/{recipe}.yaml")
    return Layer(layer.source, DictConfig({"track": "recipe", **layer.values}))


def _shipped_layer(name: str) -> Layer:
    return Layer(f"configs/{name}", _read_yaml(Path(str(files("lra_bench.configs"))) / name))


def _optional_shipped_layer(name: str) -> Iterator[Layer]:
    """None for models and tasks of other packages, which bring their defaults in their dataclass."""
    if ":" not in name and (Path(str(files("lra_bench.configs"))) / name).is_file():
        yield _shipped_layer(name)


def _file_layer(path: Path) -> Layer:
    return Layer(str(path), _read_yaml(path))


def _read_yaml(path: Path) -> DictConfig:
    try:
        values = OmegaConf.load(path)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no config file {path}") from error
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigError(f"cannot read the config file {path}: {' '.join(str(error).split())}") from error
    if not isinstance(values, DictConfig):
        raise ConfigError(f"{path} must hold `key: value` pairs")
    return values


def _command_line_layer(overrides: Sequence[str]) -> Layer:
    for word in overrides:
        if not word.partition("=")[1] or word.startswith(("-", "=")):
            raise ConfigError(f"'{word}' is not of the form key=value, such as optim.lr=0.01")
    try:
        return Layer("command line", OmegaConf.from_dotlist(list(overrides)))
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"command line: {' '.join(str(error).split())}") from error


def _leaves(node: Any, prefix: str = "") -> Iterator[str]:
    """Dotted keys of the values in a config."""
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
            yield from _leaves(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _in_one_line(error: OmegaConfBaseException, source: str) -> str:
    key = f"{error.full_key}: " if error.full_key else ""
    return f"{key}{str(error).partition(chr(10))[0]} (in {source})"
