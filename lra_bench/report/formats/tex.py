r"""Text as TeX typesets it.

Text in records comes from strangers: every character that TeX gives a meaning to is written as a command, every letter
outside ASCII as one too or as a question mark, and nothing else becomes a command.
"""

import re
import unicodedata

from lra_bench.report.formatting import printable

PIECE = 14
"""Characters of a long word between two places where the line may break."""

_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textquoteleft{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "‘": r"\textquoteleft{}",
    "’": "'",
    "“": r"\textquotedblleft{}",
    "”": "''",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": "$-$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "≠": r"$\ne$",
    "≈": r"$\approx$",
    "∞": r"$\infty$",
    "→": r"$\to$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ı": r"\i{}",
}
_GREEK = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "pi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Xi",
    "Pi",
    "Sigma",
    "Upsilon",
    "Phi",
    "Psi",
    "Omega",
]
_TEX |= {
    unicodedata.lookup(
        f"GREEK {'SMALL' if name.islower() else 'CAPITAL'} LETTER {name.replace('ambda', 'amda')}"
    ): f"$\\{name}$"
    for name in _GREEK
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
    "\u0328": "k",
}

_PIECES = re.compile(rf".{{1,{PIECE}}}?[_=/.,:]|.{{1,{PIECE}}}")
_EXPONENT = re.compile(r"(?<=\d)e(-?\d+)\b")
_MINUS = re.compile(r"(?<![\w.-])(?<!-\{\})-(?=\d)")


def tex_safe(text: str) -> str:
    """One line that looks as the text does, whatever it holds."""
    return _without_dashes(_characters(printable(text)))


def tex_breakable(text: str) -> str:
    """As `tex_safe`, and lines may break within long words."""
    parts = re.split(r"(?<=[ -])", printable(text))
    return _without_dashes(
        "".join(
            r"\allowbreak{}".join(map(_characters, _PIECES.findall(part)))
            if len(part) > PIECE + 1
            else _characters(part)
            for part in parts
        )
    )


def tex_number(text: str) -> str:
    """As `tex_safe`, with minus signs and powers of ten as in print."""
    return _EXPONENT.sub(r"$\\times10^{\1}$", _MINUS.sub("$-$", tex_safe(text)))


def _without_dashes(safe: str) -> str:
    """Two hyphens stay two hyphens."""
    return re.sub("-(?=-)", "-{}", safe)


def _characters(line: str) -> str:
    return "".join(map(_character, unicodedata.normalize("NFC", line)))


def _character(character: str) -> str:
    if character in _TEX:
        return _TEX[character]
    if character.isascii():
        return character
    base, *marks = list(unicodedata.normalize("NFD", character))
    if base.isascii() and base.isalpha() and all(mark in _ACCENTS for mark in marks):
        for mark in marks:
            base = rf"\{_ACCENTS[mark]}{{{base}}}"
        return base
    plain = unicodedata.normalize("NFKC", character)
    return "".join(map(_character, plain)) if plain != character else "?"
