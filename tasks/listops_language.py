"""The ListOps language: words, values, and the official file format. NumPy alone: usable without torch or any trainer.

    [MAX 4 [MED 1 9 5 2 ] 0 ]    has the value 4: the median is 3 (3.5 rounded down)

The language is that of "ListOps" (arXiv 1804.06028), the files are those of "Long Range Arena" (arXiv 2011.04006;
github.com/google-research/long-range-arena, lra_benchmarks/data/listops.py).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import replacing

DIGITS = 10
OPERATORS = ("MIN", "MAX", "MED", "SM")
WORDS = (*map(str, range(DIGITS)), *(f"[{name}" for name in OPERATORS), "]")
"""Word of every token: a token is an index into this tuple."""

CLOSE = WORDS.index("]")
HEADER = b"Source\tTarget"
_TOKENS = {word.encode(): token for token, word in enumerate(WORDS)}
_DEPTH_STEPS = np.array([0] * DIGITS + [1] * len(OPERATORS) + [-1])
_OPERATIONS: tuple[Callable[[list[int]], int], ...] = (
    min,
    max,
    lambda values: (sorted(values)[(len(values) - 1) // 2] + sorted(values)[len(values) // 2]) // 2,
    lambda values: sum(values) % DIGITS,
)


@dataclass(frozen=True)
class Expressions:
    """Labelled expressions, one after the other.

    Attributes:
        tokens: (T,) uint8, indices into `WORDS`.
        offsets: (N + 1,) int64; expression i is tokens[offsets[i]:offsets[i + 1]].
        labels: (N,) uint8, values 0 to 9.
    """

    tokens: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Tokens of expression `index`, from 0 on; a view."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


def concatenate(parts: Sequence[Expressions]) -> Expressions:
    """All expressions of `parts`, in order."""
    lengths = [np.diff(part.offsets) for part in parts]
    return Expressions(
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([[0], *lengths]).cumsum(),
        np.concatenate([part.labels for part in parts]),
    )


def evaluate(tokens: NDArray[np.uint8]) -> int:
    """Value of one expression, (L,) tokens.

    Raises:
        LraBenchError: malformed.
    """
    _require_well_formed(tokens)
    operators: list[int] = []
    arguments: list[list[int]] = [[]]
    for token in tokens.tolist():
        if token < DIGITS:
            arguments[-1].append(token)
        elif token == CLOSE:
            value = _OPERATIONS[operators.pop() - DIGITS](arguments.pop())
            arguments[-1].append(value)
        else:
            operators.append(token)
            arguments.append([])
    return arguments[0][0]


def to_source(tokens: NDArray[np.uint8]) -> str:
    """The official form of one expression, (L,) tokens: pairs nested to the left, `( ( ( [MIN 3 ) 5 ) ] )`.

    Raises:
        LraBenchError: malformed.
    """
    _require_well_formed(tokens)
    words: list[str] = []
    pairs: list[int] = []
    for token in reversed(tokens.tolist()):
        if DIGITS <= token < CLOSE:
            words.append("( " * pairs.pop() + WORDS[token])
            continue
        word = "] )" if token == CLOSE else WORDS[token]
        if pairs:
            word += " )"
            pairs[-1] += 1
        if token == CLOSE:
            pairs.append(1)
        words.append(word)
    return " ".join(reversed(words))


def from_source(text: str) -> NDArray[np.uint8]:
    """Tokens (L,) of an expression in the official form, or without parentheses; they carry no information.

    Raises:
        LraBenchError: a word that is not in `WORDS`. Whether the expression is well formed is not checked.
    """
    return np.frombuffer(_encode(text.encode()), np.uint8)


def write_tsv(target: Path | BinaryIO, expressions: Expressions) -> None:
    """Write a file like the official basic_train.tsv: a header, `source TAB label` rows, CR LF after each.

    Args:
        target: path of the file, replaced only when all is written; or a binary file.
        expressions: its rows.
    """
    if isinstance(target, Path):
        with replacing(target) as temporary, temporary.open("wb") as file:
            write_tsv(file, expressions)
        return
    target.write(HEADER + b"\r\n")
    for index, label in enumerate(expressions.labels):
        target.write(f"{to_source(expressions[index])}\t{label}\r\n".encode())


def read_tsv(lines: Iterable[bytes]) -> Expressions:
    """Read an official file line by line. Labels are taken as they stand, not recomputed.

    Args:
        lines: a binary file, or its lines; they may end in CR LF or LF.

    Raises:
        LraBenchError: another header; a row of other than two columns; an unknown word, a malformed expression or a
            label that is no digit. The message names the line.
    """
    rows = iter(lines)
    header = next(rows, b"").rstrip(b"\r\n")
    if header != HEADER:
        raise LraBenchError(f"line 1: a ListOps file begins with Source TAB Target, this one with {header[:60]!r}")
    tokens, labels, lengths = bytearray(), bytearray(), [0]
    for number, row in enumerate(rows, start=2):
        try:
            expression, label = _parse(row.rstrip(b"\r\n"))
        except LraBenchError as error:
            raise LraBenchError(f"line {number}: {error}") from None
        tokens += expression
        labels.append(label)
        lengths.append(len(expression))
    return Expressions(np.frombuffer(tokens, np.uint8), np.cumsum(lengths), np.frombuffer(labels, np.uint8))


def _parse(row: bytes) -> tuple[bytearray, int]:
    """Tokens and label of a row."""
    columns = row.split(b"\t")
    if len(columns) != 2:
        raise LraBenchError(f"expected 2 columns (Source, Target), got {len(columns)}")
    source, label = columns
    if len(label) != 1 or not label.isdigit():
        raise LraBenchError(f"expected a label from 0 to 9, got {label[:60]!r}")
    expression = _encode(source)
    _require_well_formed(np.frombuffer(expression, np.uint8))
    return expression, int(label)


def _encode(source: bytes) -> bytearray:
    """One byte per token."""
    words = source.translate(None, b"()").split()
    try:
        return bytearray(map(_TOKENS.__getitem__, words))
    except KeyError as error:
        raise LraBenchError(f"{error.args[0][:60]!r} is no word of ListOps; the words are {' '.join(WORDS)}") from None


def _require_well_formed(tokens: NDArray[np.uint8]) -> None:
    """Raise `LraBenchError` unless the tokens are one expression whose operators all have arguments."""
    if not len(tokens) or tokens.max() >= len(WORDS):
        raise LraBenchError(f"a ListOps expression has one or more tokens from 0 to {len(WORDS) - 1}")
    depth = _DEPTH_STEPS[tokens].cumsum()
    if depth[-1] != 0 or (depth[:-1] <= 0).any():
        raise LraBenchError("not one ListOps expression: the brackets do not match")
    if ((tokens[:-1] >= DIGITS) & (tokens[:-1] < CLOSE) & (tokens[1:] == CLOSE)).any():
        raise LraBenchError("not a ListOps expression: an operator has no arguments")
