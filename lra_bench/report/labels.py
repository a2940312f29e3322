"""Names for things that are alike: the name, and the settings that set it apart from its namesakes."""

from collections.abc import Iterable, Mapping, Sequence

from lra_bench.report import formatting


def differing_keys(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """The dotted keys whose values are not the same in all of them, or which some lack."""
    keys = sorted({key for each in settings for key in each})
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def label(name: str, settings: Mapping[str, str], keys: Sequence[str]) -> str:
    """The name with the values of `keys`: `stu num_filters=16`. Values are JSON texts."""
    parts = [f"{_short(key, {*settings, *keys})}={formatting.plain(settings.get(key, 'unset'))}" for key in keys]
    return " ".join([name, *parts])


def labels(named_settings: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Each name, with the settings in which those of that name differ."""
    return [
        label(name, settings, differing_keys([other for other_name, other in named_settings if other_name == name]))
        for name, settings in named_settings
    ]


def _short(key: str, keys: Iterable[str]) -> str:
    """The last part of a dotted key, or all of it where another key ends alike."""
    tail = key.rpartition(".")[2]
    return tail if [other.rpartition(".")[2] for other in keys].count(tail) == 1 else key
