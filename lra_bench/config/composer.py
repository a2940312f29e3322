"""Many configs at once: those of a sweep's cells, which differ in few values.

Cells that choose the same task, model and recipe share all layers below the command line. These are merged once. The
words of a cell are then laid over them value by value, through the typed nodes that OmegaConf's own merge would ask.
Whatever this does not surely do as `compose` does, `compose` does.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import Container, DictConfig, OmegaConf, ValueNode

from lra_bench.config.compose import SLOTS, compose, merged
from lra_bench.config.schema import Config
from lra_bench.config.words import read_value, split_word

CHOOSING = {*SLOTS, *(f"{slot}.name" for slot in SLOTS), "recipe"}
"""Keys that decide which layers there are."""
PLAIN_KEY = re.compile(r"\w+(?:\.\w+)*")
LINK = re.compile(r"\$\{(\w+(?:\.\w+)?)\}")
"""An interpolation that is nothing but another key."""
Change = tuple[str, str, str]
"""A field, the key whose node reads the text first (its own, or the one it is linked to), and the text."""


class Unsure(Exception):
    """Left to `compose`."""


class Composer:
    """Composes the configs of many cells; sections that are equal because their words are, are one object."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, ...], _Group | None] = {}

    def compose(self, words: Sequence[str]) -> Config:
        """The config that `compose(words)` gives.

        Raises:
            ConfigError: as `compose`.
        """
        try:
            return self._quickly(words)
        except Exception:  # if anything is wrong with the words, `compose` says what
            return compose(words).config

    def _quickly(self, words: Sequence[str]) -> Config:
        shared: list[str] = []
        own: dict[str, str] = {}
        for word in words:
            key, text = split_word(word)
            if key in CHOOSING or _is_for_the_layers(text):
                shared.append(word)
            else:
                own[key] = text
        return self._group(tuple(shared)).config(own)

    def _group(self, shared: tuple[str, ...]) -> "_Group":
        if shared not in self._groups:
            self._groups[shared] = None
            self._groups[shared] = _group(shared)
        group = self._groups[shared]
        if group is None:
            raise Unsure
        return group


@dataclass
class _Group:
    """Cells with the same layers below their own words.

    Attributes:
        taken: keys that those layers have from the command line.
        classes: of the sections, by name.
        values: of all fields, by name of the section, "" being the config itself.
        nodes: of every field that holds a single value, by dotted key; they convert and check.
        links: key -> key whose value it takes unless it is set itself.
        made: sections, by name and changes.
    """

    taken: set[str]
    classes: dict[str, type] = field(default_factory=dict)
    values: dict[str, dict[str, Any]] = field(default_factory=lambda: defaultdict(dict))
    nodes: dict[str, ValueNode] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    made: dict[tuple[str, tuple[Change, ...]], Any] = field(default_factory=dict)

    def config(self, own: Mapping[str, str]) -> Config:
        """The config of a cell.

        Args:
            own: key -> text, of single values.

        Raises:
            Unsure, KeyError: this is for `compose`.
            ConfigError: a value out of range.
        """
        if any(_overlap(key, taken) for taken in self.taken for key in own):
            raise Unsure
        changes = self._changes(own)
        top = self._filled("", changes.pop("", ()))
        sections = {name: self._section(name, tuple(changes.pop(name, ()))) for name in self.classes}
        if changes:
            raise Unsure
        return Config(**top, **sections)

    def _changes(self, own: Mapping[str, str]) -> dict[str, list[Change]]:
        """What the words change, by name of the section."""
        first = {key: target for key, target in self.links.items() if target in own} | {key: key for key in own}
        changes: dict[str, list[Change]] = defaultdict(list)
        for key, target in first.items():
            section, _, name = key.rpartition(".")
            changes[section].append((name, target, own[target]))
        return changes

    def _section(self, name: str, changes: tuple[Change, ...]) -> Any:
        if (name, changes) not in self.made:
            self.made[name, changes] = self.classes[name](**self._filled(name, changes))
        return self.made[name, changes]

    def _filled(self, section: str, changes: Sequence[Change]) -> dict[str, Any]:
        """The values of a section's fields."""
        values = dict(self.values[section])
        for name, first, text in changes:
            key = f"{section}.{name}" if section else name
            value = read_value(text)
            if isinstance(value, Container):
                raise Unsure
            value = self.nodes[first].validate_and_convert(value)
            values[name] = value if first == key else self.nodes[key].validate_and_convert(value)
        return values


def _group(shared: tuple[str, ...]) -> _Group:
    """What the cells with these shared words have in common.

    Raises:
        Unsure, ConfigError, OmegaConfBaseException: this is for `compose`.
    """
    taken = {split_word(word)[0] for word in shared} - CHOOSING
    if not all(PLAIN_KEY.fullmatch(key) for key in taken):
        raise Unsure
    group = _Group(taken)
    whole = merged(shared).values
    for name in map(str, whole):
        node = whole._get_node(name)
        if isinstance(node, DictConfig) and isinstance(cls := OmegaConf.get_type(node), type) and cls is not dict:
            group.classes[name] = cls
            for inner in map(str, node):
                _add(group, name, inner, node)
        else:
            _add(group, "", name, whole)
    if not all(target in group.nodes and target not in group.links for target in group.links.values()):
        raise Unsure
    return group


def _add(group: _Group, section: str, name: str, parent: DictConfig) -> None:
    """Note the value of a field, and its node or link."""
    key = f"{section}.{name}" if section else name
    node, value = parent._get_node(name), parent[name]
    group.values[section][name] = OmegaConf.to_object(value) if isinstance(value, Container) else value
    if isinstance(node, ValueNode):
        group.nodes[key] = node
        if node._is_interpolation():
            link = LINK.fullmatch(node._value())
            if link is None:
                raise Unsure
            group.links[key] = link[1]
    elif "${" in str(node):
        raise Unsure


def _is_for_the_layers(text: str) -> bool:
    """Whether a value is more than a single one, or refers to others: OmegaConf merges these."""
    return text.startswith(("[", "{")) or "$" in text or "???" in text


def _overlap(one: str, other: str) -> bool:
    """Whether two dotted keys are equal, or one is within the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
