"""Numbers and names as people read them."""

import math
import re
import unicodedata
from dataclasses import dataclass

FAILED = "failed"
"""Stands for the worst value there is, which is what a failed trial counts as."""

SMALL_RATE = 1e-3
"""Learning rates below this one are written with an exponent."""

NOTHING = "–"
"""Stands for a number that does not exist."""


def number(value: float | None) -> str:
    """Three significant digits: 0.0120, 1.23e-5, 12.3."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return FAILED
    return _plain_exponent(f"{value:#.3g}".rstrip("."))


def rate(value: float) -> str:
    """A learning rate, with no more digits than it needs: 0.003, 3.16e-4."""
    if value >= SMALL_RATE:
        return f"{value:.3g}"
    digits, _, exponent = f"{value:.2e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def count(value: float | None) -> str:
    """A whole number with thousands apart: 12,345."""
    return NOTHING if value is None else f"{value:,.0f}"


def named(counts: dict[str, int]) -> str:
    """Counts with their names: "3 diverged, 1 oom", or "0"."""
    return ", ".join(f"{n} {name}" for name, n in counts.items()) or "0"


def plain(value: str) -> str:
    """A setting's JSON text as people write it: strings without their quotes."""
    return value[1:-1] if value.startswith('"') else value


def printable(text: str) -> str:
    """One line without control characters, which could act on a terminal."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def cut(text: str, width: int) -> str:
    """The text, its middle left out where it is longer than `width` characters: what sets names apart is at the end."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def sentence(text: str) -> str:
    """The text with a capital letter at its beginning and a full stop at its end."""
    return stopped(text[:1].upper() + text[1:])


def stopped(text: str) -> str:
    """The text with a full stop at its end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


@dataclass(frozen=True)
class Interval:
    """What is shown of a number with its interval.

    Attributes:
        number: the number.
        ends: low and high end with their brackets; empty where there is no interval.
        remark: what follows.
    """

    number: str
    ends: str
    remark: str

    @classmethod
    def of(cls, text: str) -> "Interval":
        """Take "0.0123 [0.0110, 0.0150] remark" apart; any other text is the number alone."""
        found = _INTERVAL.fullmatch(text)
        return cls(*found.groups()) if found else cls(text, "", "")


_INTERVAL = re.compile(r"(\S+) (\[[^\[\]]*\]) ?(.*)")


def display_width(text: str) -> int:
    """Width of a text on a terminal: East Asian wide characters take two columns, marks on others none."""
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _plain_exponent(text: str) -> str:
    digits, e, exponent = text.partition("e")
    return f"{digits}e{int(exponent)}" if e else digits
