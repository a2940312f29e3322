"""Names for things that are alike: the name, and the settings that set it apart from its namesakes."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from lra_bench.report import formatting

_COMPUTED = re.compile(r"-?\d+\.\d{10,}")
"""A number with more decimals than anybody types."""


def differing_keys(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """The dotted keys whose values are not the same in all of them, or which some lack."""
    keys = sorted({key for each in settings for key in each})
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def namesakes(name: str, settings: Sequence[Mapping[str, str]], keys: Sequence[str]) -> list[str]:
    """Labels of things of one name, with the values of `keys`: `stu num_filters=16`.

    Numbers of ten decimals or more are rounded to four digits, unless that makes two labels equal.

    Args:
        name: which they share.
        settings: of each, by dotted key, values as JSON texts.
        keys: that are shown.
    """
    short = [_label(name, each, keys, rounded) for each in settings]
    if len(set(short)) == len(short):
        return short
    return [_label(name, each, keys, formatting.plain) for each in settings]


def labels(named_settings: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Each name, with the settings in which those of that name differ."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, (name, _) in enumerate(named_settings):
        places[name].append(place)
    found: dict[int, str] = {}
    for name, own in places.items():
        settings = [named_settings[place][1] for place in own]
        found |= dict(zip(own, namesakes(name, settings, differing_keys(settings)), strict=True))
    return [found[place] for place in range(len(named_settings))]


def _label(name: str, settings: Mapping[str, str], keys: Sequence[str], written: Callable[[str], str]) -> str:
    parts = [f"{_short(key, {*settings, *keys})}={written(settings.get(key, 'unset'))}" for key in keys]
    return " ".join([name, *parts])


def rounded(value: str) -> str:
    """A setting's JSON text as people write it, a number of ten decimals or more with four digits."""
    return f"{float(value):.4g}" if _COMPUTED.fullmatch(value) else formatting.plain(value)


def _short(key: str, keys: Iterable[str]) -> str:
    """The last part of a dotted key, or all of it where another key ends alike."""
    tail = key.rpartition(".")[2]
    return tail if [other.rpartition(".")[2] for other in keys].count(tail) == 1 else key
