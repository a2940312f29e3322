"""Random ListOps expressions. NumPy alone: usable without torch or any trainer.

The law of the trees is that of "Long Range Arena" (arXiv 2011.04006; github.com/google-research/long-range-arena,
lra_benchmarks/data/listops.py). Nodes are independent of one another, so a level of many trees is drawn at once, and
the trees follow the law of the recursive procedure.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.errors import LraBenchError
from lra_bench.core.settings import require
from lra_bench.tasks.listops_language import CLOSE, DIGITS, OPERATORS, Expressions, concatenate

NODES = 4_000_000
"""Bound on the nodes of the trees that are drawn at a time."""
PATIENCE = 1_000_000
"""Trees drawn without an accepted one before giving up."""


@dataclass(frozen=True)
class Grammar:
    """Law of the expressions; the defaults are those of the Long Range Arena.

    Attributes:
        max_depth: depth at which every node is a digit; the root has depth 1.
        max_args: an operator has 2 to `max_args` arguments, uniformly.
        min_length: an accepted expression has more tokens than this, brackets of operators included.
        max_length: an accepted expression has fewer tokens than this.
        operator_probability: of a node above `max_depth`, the root too; otherwise it is a digit.
    """

    max_depth: int = 10
    max_args: int = 10
    min_length: int = 500
    max_length: int = 2000
    operator_probability: float = 0.25

    def __post_init__(self) -> None:
        require(self.max_depth >= 1, "max_depth", "at least 1", self.max_depth)
        require(self.max_args >= 2, "max_args", "at least 2", self.max_args)
        require(self.min_length >= 0, "min_length", "zero or more", self.min_length)
        require(self.max_length > self.min_length + 1, "max_length", "above min_length + 1", self.max_length)
        require(
            0 <= self.operator_probability <= 1, "operator_probability", "between 0 and 1", self.operator_probability
        )


def draw_expressions(rng: np.random.Generator, grammar: Grammar, count: int) -> Expressions:
    """Draw `count` independent expressions of accepted length. Two may be equal; nothing is deduplicated.

    Args:
        rng: source of all randomness.
        grammar: law of the expressions.
        count: at least 1.

    Returns:
        A function of the state of `rng`, of `grammar` and of `count`; fewer are not the first of more.

    Raises:
        LraBenchError: a million trees in a row were too short or too long.
    """
    require(count >= 1, "count", "at least 1", count)
    parts: list[Expressions] = []
    missing, fruitless = count, 0
    roots = max(1, NODES // grammar.max_length)
    while missing:
        levels, lengths = _draw_shapes(rng, grammar, roots)
        accepted = np.flatnonzero((lengths > grammar.min_length) & (lengths < grammar.max_length))[:missing]
        if len(accepted):
            chosen = np.isin(np.arange(roots), accepted)
            parts.append(_fill(rng, [level.of(chosen) for level in levels]))
            missing, fruitless = missing - len(accepted), 0
        else:
            fruitless += roots
        if fruitless >= PATIENCE:
            raise LraBenchError(
                f"of {fruitless:,} ListOps trees none had more than {grammar.min_length} and fewer than "
                f"{grammar.max_length} tokens: lower min_length, raise max_length, or change the shape of the trees"
            )
    return concatenate(parts)


@dataclass(frozen=True)
class _Level:
    """Nodes of many trees at one depth, ordered by tree and from left to right, so siblings are adjacent.

    Attributes:
        tree: (n,) tree of each node.
        operator: (n,) whether it is an operator.
        arity: (m,) arguments of each operator; they are the nodes of the next level.
    """

    tree: NDArray[np.int64]
    operator: NDArray[np.bool_]
    arity: NDArray[np.int64]

    def of(self, trees: NDArray[np.bool_]) -> "_Level":
        """The nodes of the trees that are True."""
        kept = trees[self.tree]
        return _Level(self.tree[kept], self.operator[kept], self.arity[kept[self.operator]])


def _draw_shapes(rng: np.random.Generator, grammar: Grammar, roots: int) -> tuple[list[_Level], NDArray[np.int64]]:
    """Shapes of `roots` trees, and their lengths; deeper levels of a tree that is already too long are not drawn."""
    levels = []
    tree, lengths = np.arange(roots), np.ones(roots, np.int64)
    for depth in range(1, grammar.max_depth + 1):
        probability = grammar.operator_probability if depth < grammar.max_depth else 0.0
        operator = rng.random(len(tree)) < probability
        parent = tree[operator]
        arity = rng.integers(2, grammar.max_args, len(parent), endpoint=True)
        levels.append(_Level(tree, operator, arity))
        lengths += np.bincount(parent, weights=arity + 1, minlength=roots).astype(np.int64)
        alive = lengths[parent] < grammar.max_length
        tree = np.repeat(parent[alive], arity[alive])
    return levels, lengths


def _fill(rng: np.random.Generator, levels: list[_Level]) -> Expressions:
    """Draw digits and operators for complete shapes, evaluate from the leaves up, and write down the expressions."""
    words: list[NDArray[np.uint8]] = []
    sizes: list[NDArray[np.int64]] = []
    values = np.empty(0, np.int64)
    for level in reversed(levels):
        word = rng.integers(DIGITS, size=len(level.operator), dtype=np.uint8)
        size = np.ones(len(word), np.int64)
        arguments, values = values, word.astype(np.int64)
        if len(level.arity):
            kind = rng.integers(len(OPERATORS), size=len(level.arity))
            word[level.operator] = DIGITS + kind
            size[level.operator] = 2 + np.add.reduceat(sizes[-1], _starts(level.arity))
            values[level.operator] = _apply(kind, arguments, level.arity)
        words.append(word)
        sizes.append(size)
    offsets = np.concatenate([[0], sizes[-1].cumsum()])
    return Expressions(_linearise(levels, words[::-1], sizes[::-1]), offsets, values.astype(np.uint8))


def _apply(kind: NDArray[np.int64], arguments: NDArray[np.int64], arity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Values (m,) of operators whose arguments are adjacent; one sort gives the least, greatest and median of each."""
    first = _starts(arity)
    ordered = np.sort(np.repeat(DIGITS * np.arange(len(arity)), arity) + arguments) % DIGITS
    median = (ordered[first + (arity - 1) // 2] + ordered[first + arity // 2]) // 2
    total = np.add.reduceat(arguments, first) % DIGITS
    return np.choose(kind, [ordered[first], ordered[first + arity - 1], median, total])


def _linearise(
    levels: list[_Level], words: list[NDArray[np.uint8]], sizes: list[NDArray[np.int64]]
) -> NDArray[np.uint8]:
    """Tokens of all trees, given the word and the number of tokens of every node, by level from the root down."""
    tokens = np.full(sizes[0].sum(), CLOSE, np.uint8)
    start = _starts(sizes[0])
    tokens[start] = words[0]
    for level, word, size in zip(levels[:-1], words[1:], sizes[1:], strict=True):
        before = _starts(size)
        shift = start[level.operator] + 1 - before[_starts(level.arity)]
        start = before + np.repeat(shift, level.arity)
        tokens[start] = word
    return tokens


def _starts(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of adjacent pieces of these lengths begins."""
    return lengths.cumsum() - lengths
