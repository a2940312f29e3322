import gzip
import hashlib
import io
import statistics
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lra_bench.core.errors import ConfigError, LraBenchError
from lra_bench.tasks.listops_language import (
    WORDS,
    Expressions,
    concatenate,
    evaluate,
    from_source,
    read_tsv,
    to_source,
    write_tsv,
)
from lra_bench.tasks.listops_trees import Grammar, draw_expressions
from tests import real_data

MEANINGS = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda values: int(statistics.median(values)),
    "[SM": lambda values: sum(values) % 10,
}
KNOWN = """
0 = 0
7 = 7
[MIN 3 3 ] = 3
[MIN 9 4 7 ] = 4
[MIN 0 9 8 7 6 5 4 3 2 1 ] = 0
[MIN [MAX 1 2 ] [MAX 3 0 ] ] = 2
[MAX 0 0 ] = 0
[MAX 3 8 1 ] = 8
[MAX 9 9 9 9 9 9 9 9 9 9 ] = 9
[MAX [MIN 7 9 ] [MIN 8 2 ] 1 ] = 7
[MED 1 2 ] = 1
[MED 2 1 ] = 1
[MED 0 9 ] = 4
[MED 3 8 ] = 5
[MED 4 4 ] = 4
[MED 9 8 ] = 8
[MED 9 1 5 ] = 5
[MED 0 0 9 ] = 0
[MED 1 9 5 2 ] = 3
[MED 1 9 5 3 ] = 4
[MED 6 2 8 2 7 ] = 6
[MED 9 9 9 0 0 0 ] = 4
[MED 9 8 7 6 5 4 3 2 1 0 ] = 4
[MED [SM 9 9 ] [MAX 1 3 ] 0 ] = 3
[SM 1 2 ] = 3
[SM 9 9 ] = 8
[SM 5 5 ] = 0
[SM 9 9 9 9 9 9 9 9 9 9 ] = 0
[SM 7 8 9 ] = 4
[SM [SM 9 9 ] [SM 9 9 ] ] = 6
[MAX 4 [MED 1 9 5 2 ] 0 ] = 4
[MIN [MED 7 8 9 6 ] [SM 4 [MAX 2 5 ] 0 ] 8 ] = 7
[SM [MIN [MAX [MED [SM 1 2 ] 9 ] 0 ] 8 ] 7 ] = 3
[MED 8 ] = 8
[SM 6 ] = 6
"""
"""Worked out by hand."""


LRA = Grammar()
SMALL = (
    Grammar(max_depth=4, max_args=5, min_length=5, max_length=40, operator_probability=0.4),
    Grammar(max_depth=3, max_args=3, min_length=0, max_length=100, operator_probability=0.5),
    Grammar(max_depth=7, max_args=2, min_length=3, max_length=30, operator_probability=0.5),
    Grammar(max_depth=4, max_args=10, min_length=10, max_length=60),
)
STATED = 6_000
"""Trees behind the statistics of the law of the Long Range Arena that are stated below."""


def tokens_of(text) -> np.ndarray:
    return np.array([WORDS.index(word) for word in text.split()], np.uint8)


def written(expressions) -> bytes:
    file = io.BytesIO()
    write_tsv(file, expressions)
    return file.getvalue()


def same(a, b) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("tokens", "offsets", "labels"))


def values_of(tokens) -> list[int]:
    """Values of expressions that follow each other, read backwards: an operator takes all down to its bracket."""
    stack: list[int | None] = []
    for token in reversed(tokens.tolist()):
        if token <= 9:
            stack.append(token)
        elif token == 14:
            stack.append(None)
        else:
            arguments = []
            while (value := stack.pop()) is not None:
                arguments.append(value)
            stack.append(MEANINGS[WORDS[token]](arguments))
    return stack[::-1]


def naive_tree(rng, grammar, depth=1) -> list[int]:
    """Tokens of a tree, by recursion from the written procedure."""
    if depth == grammar.max_depth or rng.random() > grammar.operator_probability:
        return [int(rng.integers(0, 10))]
    arguments = [naive_tree(rng, grammar, depth + 1) for _ in range(rng.integers(2, grammar.max_args + 1))]
    return [int(rng.integers(10, 14)), *(token for argument in arguments for token in argument), 14]


def naive_expressions(rng, grammar, count) -> Expressions:
    kept: list[list[int]] = []
    while len(kept) < count:
        tree = naive_tree(rng, grammar)
        if grammar.min_length < len(tree) < grammar.max_length:
            kept.append(tree)
    tokens = np.array([token for tree in kept for token in tree], np.uint8)
    offsets = np.cumsum([0, *map(len, kept)])
    return Expressions(tokens, offsets, np.array(values_of(tokens), np.uint8))


def length_law(grammar, nesting) -> np.ndarray:
    """P(the root has a arguments, the tree n < max_length tokens and at most `nesting` levels of operators), [a, n].

    By convolution of the laws of subtrees; a root that is a digit has a = 0.
    """
    p, size = grammar.operator_probability, grammar.max_length
    unit = np.eye(3, size)
    law = unit[1] if nesting >= grammar.max_depth - 1 else (1 - p) * unit[1]
    for _ in range(min(nesting, grammar.max_depth - 1)):
        joint = np.zeros((grammar.max_args + 1, size))
        joint[0] = (1 - p) * unit[1]
        power = np.convolve(unit[2], law)[:size]
        for arity in range(2, grammar.max_args + 1):
            power = np.convolve(power, law)[:size]
            joint[arity] = p / (grammar.max_args - 1) * power
        law = joint.sum(axis=0)
    return joint


def statistics_of(expressions) -> dict[str, np.ndarray]:
    """(N,) each: what can be told of the shape and content of an expression in one number."""
    tokens, first = expressions.tokens, expressions.offsets[:-1]
    operator = (tokens >= 10) & (tokens < 14)
    opened = np.cumsum(operator.astype(np.int8) - (tokens == 14), dtype=np.int8)
    return {
        "length": np.diff(expressions.offsets),
        "operators": np.add.reduceat(operator, first, dtype=np.int64),
        "nesting": np.maximum.reduceat(opened, first),
        "root arity": np.add.reduceat((opened == 1) & ~operator, first, dtype=np.int64),
        "root": np.where(operator[first], tokens[first], 0),
        "label": expressions.labels,
        "root and label": np.where(operator[first], tokens[first], 0) * 10 + expressions.labels,
    }


def skeletons(expressions) -> list[bytes]:
    """Shape of every expression: digits and operators made anonymous."""
    table = bytes([0] * 10 + [1] * 4 + [2]).ljust(256)
    return [expressions[i].tobytes().translate(table) for i in range(len(expressions))]


def assert_fits(counts, expected):
    """Pearson's statistic is less than 5 standard deviations above its mean; bins that expect under 20 are one bin."""
    counts, expected = np.ravel(counts), np.ravel(expected)
    assert counts.sum() == pytest.approx(expected.sum())
    assert counts[expected == 0].sum() == 0
    rare = expected < 20
    chi_square = np.sum((counts - expected)[~rare] ** 2 / expected[~rare])
    if expected[rare].sum() > 0:
        chi_square += (counts[rare].sum() - expected[rare].sum()) ** 2 / max(expected[rare].sum(), 20)
    freedom = max(1, np.sum(~rare))
    assert chi_square < freedom + 5 * np.sqrt(2 * freedom)


def assert_alike(a, b):
    """Two samples of one size and law: Pearson's statistic less than 5 standard deviations above its mean."""
    a, b = Counter(a), Counter(b)
    assert a.total() == b.total()
    common = [key for key in a.keys() | b.keys() if a[key] + b[key] >= 20]
    assert sum(a[key] + b[key] for key in common) > a.total()
    chi_square = sum((a[key] - b[key]) ** 2 / (a[key] + b[key]) for key in common)
    assert chi_square < len(common) + 5 * np.sqrt(2 * len(common))


@pytest.fixture(scope="module")
def drawn() -> Expressions:
    """20,000 expressions of the Long Range Arena's law."""
    return concatenate([draw_expressions(np.random.default_rng([7, part]), LRA, 5_000) for part in range(4)])


@pytest.mark.parametrize("line", KNOWN.strip().splitlines())
def test_values_worked_out_by_hand(line):
    text, _, value = line.rpartition(" = ")
    assert evaluate(tokens_of(text)) == int(value)
    assert values_of(tokens_of(text)) == [int(value)]


def test_the_original_rows_evaluate_to_their_labels():
    rows = [line.split("\t") for line in gzip.decompress(real_data.expressions().read_bytes()).decode().splitlines()]
    assert len(rows) == 10_000
    for label, source in rows:
        tokens = from_source(source)
        assert evaluate(tokens) == int(label)
        assert to_source(tokens) == source


def test_labels_are_the_values(drawn):
    assert len(drawn) == 20_000
    assert values_of(drawn.tokens) == drawn.labels.tolist()
    assert [evaluate(drawn[i]) for i in range(300)] == drawn.labels[:300].tolist()


def test_arrays_are_of_the_declared_types(drawn):
    for expressions in (drawn, read_tsv(io.BytesIO(written(draw_expressions(np.random.default_rng(0), SMALL[0], 3))))):
        assert expressions.tokens.dtype == expressions.labels.dtype == np.uint8
        assert expressions.offsets.dtype == np.int64
        assert expressions.offsets[0] == 0
        assert expressions.offsets[-1] == len(expressions.tokens)


def test_lengths_and_arities_follow_the_exact_law(drawn):
    found = statistics_of(drawn)
    law = length_law(LRA, nesting=9)
    law[:, :501] = 0
    expected = law * len(drawn) / law.sum()
    counts = np.zeros_like(law)
    np.add.at(counts, (found["root arity"], found["length"]), 1)
    assert_fits(counts.sum(axis=0), expected.sum(axis=0))
    assert_fits(counts.reshape(11, 20, 100).sum(axis=2), expected.reshape(11, 20, 100).sum(axis=2))


def test_trees_are_accepted_as_often_as_the_exact_law_says():
    law = length_law(LRA, nesting=9).sum(axis=0)
    assert law[501:].sum() == pytest.approx(0.082, abs=0.001)
    every = draw_expressions(np.random.default_rng(1), Grammar(min_length=0), 30_000)
    lengths = np.diff(every.offsets)
    assert_fits(np.bincount(lengths, minlength=2000), law * len(every) / law.sum())
    share, expected = np.mean(lengths > 500), law[501:].sum() / law.sum()
    assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / len(every))


def test_all_accepted_trees_use_the_whole_depth(drawn):
    law = length_law(LRA, nesting=9)[:, 501:].sum()
    assert length_law(LRA, nesting=8)[:, 501:].sum() / law < 1e-8
    assert (statistics_of(drawn)["nesting"] == 9).all()


def test_statistics_are_those_of_the_long_range_arena(drawn):
    """Against 6,000 trees of another implementation: within 5 standard errors of the difference, and rounding."""
    found = statistics_of(drawn)
    spread = np.sqrt(1 / STATED + 1 / len(drawn))

    def assert_shares(shares, stated, spread=spread):
        stated = np.array(stated)
        assert (np.abs(shares - stated) < 5 * np.sqrt(stated * (1 - stated)) * spread + 0.0005).all()

    length, labels = found["length"], found["label"]
    assert abs(length.mean() - 1041) < 5 * 393 * spread + 0.5
    assert abs(length.std() - 393) < 5 * 393 / np.sqrt(2) * spread + 0.5
    for quantile, at in zip((0.05, 0.25, 0.5, 0.75, 0.95), (541, 708, 961, 1319, 1798), strict=True):
        assert_shares(np.mean(length <= at), quantile)
    assert abs(found["operators"].mean() - 148) < 5 * found["operators"].std() * spread + 0.5
    arity = np.bincount(found["root arity"], minlength=11)[2:] / len(drawn)
    assert_shares(arity, [0.044, 0.061, 0.079, 0.107, 0.115, 0.134, 0.142, 0.152, 0.165])
    share = np.bincount(labels) / len(drawn)
    assert_shares(share, [0.169, 0.088, 0.072, 0.078, 0.092, 0.091, 0.082, 0.071, 0.088, 0.170])
    for root, label, stated in ((10, 0, 0.575), (11, 9, 0.553), (12, 4, 0.22), (12, 5, 0.21)):
        assert_shares(np.mean(labels[found["root"] == root] == label), stated, 2 * spread)


def test_words_are_uniform_and_independent(drawn):
    tokens = drawn.tokens.astype(np.int64)
    now, then = tokens[:-1], tokens[1:]
    pairs = (now < 14) & (then < 10)
    counts = np.bincount(now[pairs] * 10 + then[pairs], minlength=140).reshape(14, 10)
    assert_fits(counts[:10], np.full(100, counts[:10].mean()))
    assert_fits(counts[10:], np.full(40, counts[10:].mean()))
    roots = np.bincount(tokens[drawn.offsets[:-1]])[10:]
    assert_fits(roots, np.full(4, roots.mean()))


@pytest.mark.parametrize("grammar", SMALL, ids=str)
def test_every_statistic_equals_that_of_the_recursive_procedure(grammar):
    ours = draw_expressions(np.random.default_rng(2), grammar, 3_000)
    naive = naive_expressions(np.random.default_rng(3), grammar, 3_000)
    assert values_of(ours.tokens) == ours.labels.tolist()
    expected = statistics_of(naive)
    for name, values in statistics_of(ours).items():
        assert_alike(values.tolist(), expected[name].tolist())


def test_whole_shapes_are_as_frequent_as_in_the_recursive_procedure():
    grammar = Grammar(max_depth=4, max_args=3, min_length=6, max_length=20, operator_probability=0.4)
    ours = draw_expressions(np.random.default_rng(4), grammar, 10_000)
    naive = naive_expressions(np.random.default_rng(5), grammar, 10_000)
    assert len(set(skeletons(naive))) > 100
    assert_alike(skeletons(ours), skeletons(naive))


def test_extreme_grammars():
    rng = np.random.default_rng(0)
    digits = draw_expressions(rng, Grammar(max_depth=1, min_length=0, max_length=2), 50)
    assert digits.tokens.tolist() == digits.labels.tolist()
    digits = draw_expressions(rng, Grammar(min_length=0, operator_probability=0), 50)
    assert digits.tokens.tolist() == digits.labels.tolist()
    full = draw_expressions(rng, Grammar(3, 2, 0, 100, operator_probability=1), 50)
    assert set(skeletons(full)) == {bytes([1, 1, 0, 0, 2, 1, 0, 0, 2, 2])}
    assert values_of(full.tokens) == full.labels.tolist()
    wide = draw_expressions(rng, Grammar(max_depth=2, max_args=60, min_length=40), 50)
    assert values_of(wide.tokens) == wide.labels.tolist()


@pytest.mark.parametrize("count", [1, 7, 1_000])
def test_the_count_is_exact_and_the_generator_decides(count):
    first, again, other = (draw_expressions(np.random.default_rng([0, seed]), LRA, count) for seed in (1, 1, 2))
    assert len(first) == count
    assert len(first.offsets) == count + 1
    assert same(first, again)
    assert not same(first, other)


def test_numbers_stay_what_they_are():
    """A change here is a new version of every task that draws expressions."""
    drawn = draw_expressions(np.random.default_rng([0, 1, 2]), LRA, 400)
    content = drawn.tokens.tobytes() + drawn.labels.tobytes() + drawn.offsets.astype("<i8").tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == "d8fd74efbf9260f7"


TREES = st.recursive(
    st.integers(0, 9).map(str),
    lambda inner: st.tuples(st.sampled_from(list(MEANINGS)), st.lists(inner, min_size=1, max_size=5)),
    max_leaves=30,
)


def plain(tree) -> str:
    return tree if isinstance(tree, str) else " ".join([tree[0], *map(plain, tree[1]), "]"])


def nested(tree) -> str:
    if isinstance(tree, str):
        return tree
    source = tree[0]
    for argument in [*tree[1], "]"]:
        source = f"( {source} {nested(argument)} )"
    return source


def meaning(tree) -> int:
    return int(tree) if isinstance(tree, str) else MEANINGS[tree[0]]([meaning(argument) for argument in tree[1]])


@settings(deadline=None)
@given(TREES)
def test_sources_and_tokens_are_inverse(tree):
    tokens = tokens_of(plain(tree))
    assert to_source(tokens) == nested(tree)
    for text in (nested(tree), plain(tree), nested(tree).replace("( ", "(")):
        found = from_source(text)
        assert found.dtype == np.uint8
        assert np.array_equal(found, tokens)
    assert evaluate(tokens) == meaning(tree)


def test_a_file_has_the_official_bytes(tmp_path):
    tokens = tokens_of("[MAX 4 [SM 9 5 ] ] 7")
    expressions = Expressions(tokens, np.array([0, 7, 8]), np.array([4, 7], np.uint8))
    official = b"Source\tTarget\r\n( ( ( [MAX 4 ) ( ( ( [SM 9 ) 5 ) ] ) ) ] )\t4\r\n7\t7\r\n"
    assert written(expressions) == official
    write_tsv(tmp_path / "basic_test.tsv", expressions)
    assert [path.name for path in tmp_path.iterdir()] == ["basic_test.tsv"]
    assert (tmp_path / "basic_test.tsv").read_bytes() == official
    for content in (official, official.replace(b"\r\n", b"\n"), official.removesuffix(b"\r\n")):
        assert same(read_tsv(io.BytesIO(content)), expressions)


def test_a_file_gives_back_what_was_written():
    drawn = draw_expressions(np.random.default_rng(6), LRA, 60)
    assert same(read_tsv(io.BytesIO(written(drawn))), drawn)
    packed = io.BytesIO(gzip.compress(written(drawn)))
    with gzip.open(packed) as file:
        assert same(read_tsv(file), drawn)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "one or more tokens"),
        ("]", "brackets"),
        ("[MIN 1 2", "brackets"),
        ("[MIN 1 2 ] ]", "brackets"),
        ("[MIN 1 2 ] 3", "brackets"),
        ("[MIN 1 ] [MAX 2 ]", "brackets"),
        ("1 2", "brackets"),
        ("[MIN ]", "no arguments"),
        ("[MIN 3 [SM ] ]", "no arguments"),
    ],
)
def test_malformed_expressions_are_refused(text, reason):
    for use in (evaluate, to_source):
        with pytest.raises(LraBenchError, match=reason):
            use(tokens_of(text))


def test_other_tokens_and_words_are_refused():
    with pytest.raises(LraBenchError, match="0 to 14"):
        evaluate(np.array([15], np.uint8))
    for text in ("[FIRST 1 2 ]", "( [MIN 10 ) ] )", "[min 1 2 ]", "[MED ½ ]"):
        with pytest.raises(LraBenchError, match="no word of ListOps"):
            from_source(text)


HEADER, GOOD = b"Source\tTarget\r\n", b"( ( ( [MIN 3 ) 5 ) ] )\t3\r\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([b""], "line 1: "),
        ([GOOD, GOOD], "line 1: .*Source TAB Target"),
        ([b"Target\tSource\n", GOOD], "line 1: "),
        ([HEADER, GOOD, b"3\n"], "line 3: expected 2 columns .*, got 1"),
        ([HEADER, GOOD, b"\n"], "line 3: expected 2 columns .*, got 1"),
        ([HEADER, b"3\t3\t3\n"], "line 2: expected 2 columns .*, got 3"),
        ([HEADER, b"3\t10\n"], "line 2: expected a label from 0 to 9, got b'10'"),
        ([HEADER, b"3\tx\n"], "line 2: expected a label"),
        ([HEADER, b"3\t\n"], "line 2: expected a label"),
        ([HEADER, GOOD, b"( ( [FIRST 3 ) ] )\t3\n"], "line 3: b'.FIRST' is no word"),
        ([HEADER, b"( ( ( [MIN 3 ) 5 )\t3\n"], "line 2: .*brackets"),
    ],
)
def test_a_bad_file_is_refused_at_its_line(lines, message):
    rest = iter([*lines, b"never read"])
    with pytest.raises(LraBenchError, match=message) as caught:
        read_tsv(rest)
    assert "\n" not in str(caught.value)
    assert list(rest)[-1:] == [b"never read"]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"max_depth": 0}, "max_depth"),
        ({"max_args": 1}, "max_args"),
        ({"min_length": -1}, "min_length"),
        ({"min_length": 1999}, "max_length"),
        ({"operator_probability": 1.5}, "operator_probability"),
        ({"operator_probability": -0.1}, "operator_probability"),
    ],
)
def test_impossible_settings_are_refused(fields, name):
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        Grammar(**fields)


def test_a_law_without_accepted_trees_is_given_up():
    with pytest.raises(LraBenchError, match="more than 12 and fewer than 20 tokens"):
        draw_expressions(np.random.default_rng(0), Grammar(max_depth=2, min_length=12, max_length=20), 1)
    with pytest.raises(ConfigError, match="count must be at least 1"):
        draw_expressions(np.random.default_rng(0), LRA, 0)


def test_rare_trees_are_waited_for():
    """About 30 million trees, 300,000 at a time; one round in eight has nothing to accept."""
    grammar = Grammar(max_depth=2, min_length=11, max_length=13, operator_probability=6e-5)
    assert len(draw_expressions(np.random.default_rng(0), grammar, 200)) == 200


def test_generating_needs_no_torch():
    code = "import sys, lra_bench.tasks.listops_trees; print({'torch', 'lightning'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
