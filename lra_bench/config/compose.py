"""From names, files and `key=value` words to one frozen config.

Later layers win: dataclass defaults < base.yaml < task/X.yaml < model/X.yaml < recipe < --config FILE < command line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lra_bench.config.files import SHIPPED, read_yaml, shipped_configs, write_yaml
from lra_bench.config.schema import Config
from lra_bench.config.words import split_word
from lra_bench.core.errors import ConfigError
from lra_bench.core.mixer import MixerConfig, SequenceMixer
from lra_bench.core.registry import MODELS, TASKS
from lra_bench.core.settings import TaskConfig

SLOTS = ("task", "model")
"""Sections whose fields are those of the class they name; `task=lds` is short for `task.name=lds`."""

STAND_IN = "lru"
"""Model of a config that nobody trains; it brings no settings of its own but `model.*`."""


@dataclass(frozen=True)
class Layer:
    """One source of values."""

    source: str
    values: DictConfig


@dataclass(frozen=True)
class Merged:
    """A config under construction. Never changed: merging makes a new one."""

    values: DictConfig
    sources: dict[str, str]


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
    return _finish(merged(overrides, config_file))


def merged(overrides: Sequence[str], config_file: Path | None = None) -> Merged:
    """All layers of a config, one over the other, its values not yet checked together.

    Args and errors: as `compose`.
    """
    user = [_file_layer(config_file)] if config_file else []
    user.append(_command_line_layer(overrides))
    recipe = _chosen(user, "recipe")
    from_recipe = _split_recipe(recipe) if recipe else {}
    names = {slot: _name_of(slot, user, from_recipe.get(slot)) for slot in SLOTS}
    return _named(_merge(_shipped(names["task"], names["model"], recipe), user), names)


def compose_task(task: str, overrides: Sequence[str] = ()) -> Config:
    """The config of a task, for commands that need no model: `STAND_IN` takes the place of one that is not chosen.

    Args:
        task: its name.
        overrides: `key=value` words as `compose` takes them; those that matter are `task.*`, `data_seed`, `protocol`,
            and a `recipe` that changes them.

    Raises:
        ConfigError: as `compose`, or the words choose another task.
    """
    keys = {word.partition("=")[0] for word in overrides}
    model = [] if keys & {"model", "model.name", "recipe"} else [f"model={STAND_IN}"]
    config = compose([f"task={task}", *model, *overrides]).config
    if config.task.name != task:
        raise ConfigError(f"the task is {task}; leave out task={config.task.name}")
    return config


def load_frozen(path: Path) -> Config:
    """Read a trial's `config.yaml`, which holds every value, so no other layer takes part.

    Raises:
        ConfigError: as `compose`.
    """
    layer = _file_layer(path)
    names = {slot: _name_of(slot, [layer], None) for slot in SLOTS}
    return _finish(_named(_merge(_schema(names["task"], names["model"]), [layer]), names)).config


def to_yaml(config: Config) -> str:
    """YAML of the whole config, as `load_frozen` reads it."""
    return write_yaml(config.to_dict())


def to_yaml_with_sources(composed: Composed) -> str:
    """YAML of the whole config, each value with a comment that names the layer that set it."""
    lines: list[str] = []
    path: list[str] = []
    for line in to_yaml(composed.config).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        path = [*path[:depth], line.strip().partition(":")[0]]
        source = composed.sources.get(".".join(path))
        lines.append(f"{line}  # {source}" if source and not line.endswith(":") else line)
    return "\n".join(lines) + "\n"


@lru_cache(maxsize=128)
def _schema(task: str, model: str) -> Merged:
    """All keys with the defaults of their dataclasses."""
    values = OmegaConf.structured(Config)
    OmegaConf.set_readonly(values, False)
    values.task = OmegaConf.structured(_config_class(TASKS.load(task, object), TaskConfig))
    values.model = OmegaConf.structured(_config_class(MODELS.load(model, SequenceMixer), MixerConfig))
    return Merged(values, dict.fromkeys(_leaves(values), "default"))


@lru_cache(maxsize=128)
def _shipped(task: str, model: str, recipe: str | None) -> Merged:
    """The schema with all shipped layers; a sweep's cells share it."""
    layers = [
        _shipped_layer("base.yaml"),
        *_optional_shipped_layers("task", task),
        *_optional_shipped_layers("model", model),
    ]
    if recipe:
        layers.append(_recipe_layer(recipe))
    return _merge(_schema(task, model), layers)


def _merge(base: Merged, layers: list[Layer]) -> Merged:
    """Lay layers over a config."""
    values, sources = base.values, dict(base.sources)
    for layer in layers:
        own = _with_names_in_slots(layer)
        try:
            values = cast(DictConfig, OmegaConf.merge(values, own))
        except OmegaConfBaseException as error:
            raise ConfigError(_wrong_element(values, own, layer.source) or _in_one_line(error, layer.source)) from error
        sources.update(dict.fromkeys(_leaves(own), layer.source))
    return Merged(values, sources)


def _named(base: Merged, names: dict[str, str]) -> Merged:
    """Fill in the names, as they were asked for."""
    values = base.values
    OmegaConf.set_readonly(values, False)
    for slot, name in names.items():
        OmegaConf.set_readonly(values[slot], False)
        values[slot].name = name
    return Merged(values, base.sources)


def _finish(whole: Merged) -> Composed:
    """Turn everything into frozen dataclasses, which check their values."""
    try:
        return Composed(cast(Config, OmegaConf.to_object(whole.values)), whole.sources)
    except OmegaConfBaseException as error:
        raise ConfigError(_in_one_line(error, "the composed config")) from error


def _config_class(owner: Any, base: type) -> type:
    cls = getattr(owner, "Config", None)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ConfigError(f"{owner.__name__}.Config must be a frozen dataclass that extends {base.__name__}")
    return cls


def _with_names_in_slots(layer: Layer) -> DictConfig:
    """A file may say `task: lds` for short: turn it into `task: {name: lds}`."""
    values = layer.values.copy()
    for slot in SLOTS:
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
    return Layer(f"configs/{name}", read_yaml(SHIPPED / name))


def _optional_shipped_layers(folder: str, name: str) -> Iterator[Layer]:
    """The file of a model or task, after that of the one it `extends`.

    None for those of other packages, which bring their defaults in their dataclass.
    """
    if ":" in name or not (SHIPPED / folder / f"{name}.yaml").is_file():
        return
    layer = _shipped_layer(f"{folder}/{name}.yaml")
    if (base := layer.values.pop("extends", None)) is not None:
        yield from _optional_shipped_layers(folder, base)
    yield layer


def _file_layer(path: Path) -> Layer:
    return Layer(str(path), read_yaml(path))


def _command_line_layer(overrides: Sequence[str]) -> Layer:
    words = []
    for word in overrides:
        key, text = split_word(word)
        words.append(f"{key}.name={text}" if key in SLOTS else f"{key}={text}")
    try:
        return Layer("command line", OmegaConf.from_dotlist(words))
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


def _wrong_element(values: DictConfig, own: DictConfig, source: str) -> str | None:
    """The list with an element of the wrong type, which OmegaConf does not name."""
    for key in _leaves(own):
        value = OmegaConf.select(own, key)
        single = OmegaConf.create()
        OmegaConf.update(single, key, value)
        try:
            OmegaConf.merge(values, single)
        except OmegaConfBaseException as error:
            if error.full_key is None and isinstance(value, ListConfig):
                return f"{key}: {value} has elements of the wrong type (in {source})"
    return None


def _in_one_line(error: OmegaConfBaseException, source: str) -> str:
    key = f"{error.full_key}: " if error.full_key else ""
    return f"{key}{str(error).partition(chr(10))[0]} (in {source})"
