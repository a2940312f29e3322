"""Examples of the recall tasks, one at a time. NumPy alone: usable without torch, Lightning or any trainer."""

import hashlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.errors import LraBenchError

PAD, BLANK, MARKER, FIRST_SYMBOL = 0, 1, 2, 3
"""Tokens of the two copying tasks; the symbols are FIRST_SYMBOL, FIRST_SYMBOL + 1, ..."""

TRIGGER, FIRST_ORDINARY = 1, 2
"""Tokens of induction heads, beside PAD; the ordinary tokens are FIRST_ORDINARY, FIRST_ORDINARY + 1, ..."""

FILLER = 0
"""Token of associative recall between the queries; keys and then values come after it."""

POWER = 0.01
"""Of the law of gaps in associative recall, p(g) ~ g^(POWER - 1); 1 would be uniform."""

CLASSES = 8
HELD_OUT = {"val": 0, "test": 1}
"""Sequences fall into CLASSES equal classes; these splits have one each, and the training stream has the others."""

MOST_DRAWS = 10_000
"""A split for which so many draws find nothing is empty, or as good as empty."""


class Example(NamedTuple):
    """One sequence, not padded.

    Attributes:
        x: (L,) int64 tokens, or (L, C) float32.
        steps: (n,) int64, where something is asked.
        targets: what the answer is there: (n,) int64 classes, or (n, C_out) float32 values.
    """

    x: NDArray[Any]
    steps: NDArray[np.int64]
    targets: NDArray[Any]


def copying(rng: np.random.Generator, symbols: int, memory: int, delay: int) -> Example:
    """`memory` symbols, delay - 1 blanks, a marker, `memory` blanks at which the symbols are to be repeated.

    Classes are symbols, from 0. Arjovsky, Shah and Bengio, arXiv 1511.06464, section 4.1; memory_problem.py of
    amarshah/complex_RNN.
    """
    memorised = rng.integers(symbols, size=memory)
    x = np.full(2 * memory + delay, BLANK)
    x[:memory] = FIRST_SYMBOL + memorised
    x[memory + delay - 1] = MARKER
    return Example(x, np.arange(memory + delay, len(x)), memorised)


def selective_copying(rng: np.random.Generator, symbols: int, memory: int, length: int) -> Example:
    """`memory` symbols at random places of `length` blanks, then a marker for each, at which it is to be repeated.

    Classes are symbols, from 0. Gu and Dao, arXiv 2312.00752, section 4.1.1; torch_copying_data(variable=True) in
    src/dataloaders/datasets/copying.py of state-spaces/s4.
    """
    memorised = rng.integers(symbols, size=memory)
    x = np.full(length + memory, MARKER)
    x[:length] = BLANK
    x[np.sort(rng.choice(length, memory, replace=False))] = FIRST_SYMBOL + memorised
    return Example(x, np.arange(length, len(x)), memorised)


def adding(rng: np.random.Generator, length: int) -> Example:
    """Channel 0 is uniform on [0, 1); channel 1 marks one step in each half; at the end their sum is asked.

    Arjovsky, Shah and Bengio, arXiv 1511.06464, section 4.2; adding_problem.py of amarshah/complex_RNN.
    """
    x = np.zeros((length, 2), dtype=np.float32)
    x[:, 0] = rng.random(length, dtype=np.float32)
    marked = [rng.integers(length // 2), rng.integers(length // 2, length)]
    x[marked, 1] = 1
    return Example(x, np.array([length - 1]), x[marked, 0].sum(keepdims=True)[:, None])


def induction_heads(rng: np.random.Generator, symbols: int, length: int) -> Example:
    """Random ordinary tokens; a trigger somewhere among them, and again at the end, where what followed it is asked.

    Classes are ordinary tokens, from 0. Fu et al., arXiv 2212.14052, section 3.1, after Olsson et al. (2022);
    generate_induction_head in src/dataloaders/synthetics.py of HazyResearch/safari.
    """
    x = FIRST_ORDINARY + rng.integers(symbols, size=length)
    place = rng.integers(length - 2)
    x[[place, length - 1]] = TRIGGER
    return Example(x, np.array([length - 1]), x[place + 1 : place + 2] - FIRST_ORDINARY)


def associative_recall(rng: np.random.Generator, vocab_size: int, length: int, pairs: int) -> Example:
    """Keys, each followed by its value; then each key once more, somewhere, at which its value is asked.

    Keys are tokens 1 to vocab_size // 2 - 1 and differ; values are the tokens from vocab_size // 2 on and differ, and
    the classes are values, from 0. Queries stand at even distances from the end of the pairs, small ones more often.
    Arora et al., arXiv 2312.04927, section 3; zoology/data/multiquery_ar.py of HazyResearch/zoology.
    """
    first_value = vocab_size // 2
    keys = 1 + rng.choice(first_value - 1, pairs, replace=False)
    values = rng.choice(vocab_size - first_value, pairs, replace=False)
    x = np.full(length, FILLER)
    x[: 2 * pairs : 2] = keys
    x[1 : 2 * pairs : 2] = first_value + values
    law = np.arange(1, length // 2 - pairs + 1) ** (POWER - 1)
    steps = 2 * pairs + 2 * rng.choice(len(law), pairs, replace=False, p=law / law.sum())
    x[steps] = keys
    return Example(x, steps, values)


def draw_for_split(draw: Callable[[], Example], split: Literal["train", "val", "test"]) -> Example:
    """Draw until an example belongs to the split. Its sequence alone decides, so that no two splits share one.

    Args:
        draw: gives an example, another one each time.
        split: to draw for.

    Raises:
        LraBenchError: there are so few different sequences that the split has none.
    """
    for _ in range(MOST_DRAWS):
        example = draw()
        kind = hashlib.blake2b(example.x.tobytes(), digest_size=1).digest()[0] % CLASSES
        if kind == HELD_OUT[split] if split in HELD_OUT else kind not in HELD_OUT.values():
            return example
    raise LraBenchError(f"the task's settings leave no sequence for the {split} split: ask for longer sequences")
