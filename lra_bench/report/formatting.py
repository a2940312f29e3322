"""Numbers and names as people read them."""

import math

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


def _plain_exponent(text: str) -> str:
    digits, e, exponent = text.partition("e")
    return f"{digits}e{int(exponent)}" if e else digits
