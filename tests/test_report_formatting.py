import math

import pytest

from lra_bench.report.formatting import (
    Interval,
    count,
    cut,
    display_width,
    named,
    number,
    plain,
    printable,
    rate,
    sentence,
    stopped,
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0123456, "0.0123"),
        (0.011, "0.0110"),
        (1.0, "1.00"),
        (123.4, "123"),
        (1234.0, "1.23e3"),
        (1.234e-5, "1.23e-5"),
        (0.0, "0.00"),
        (math.inf, "failed"),
        (-math.inf, "failed"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_number(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.0, "1"), (0.1, "0.1"), (0.00316, "0.00316"), (1e-3, "0.001"), (3.162e-4, "3.16e-4"), (1e-10, "1e-10")],
)
def test_rate(value, shown):
    assert rate(value) == shown


def test_words():
    assert count(12345.0) == "12,345"
    assert count(None) == "–"
    assert named({"diverged": 3, "oom": 1}) == "3 diverged, 1 oom"
    assert named({}) == "0"
    assert plain('"adam"') == "adam"
    assert plain("0.5") == "0.5"
    assert printable("a\x1b[31m\n b") == "a [31m b"


def test_cut_keeps_both_ends():
    assert cut("abcdefghij", 10) == "abcdefghij"
    assert cut("abcdefghij", 6) == "ab…hij"
    assert cut("abcdefghij", 1) == "…"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("0.0123 [0.0110, 0.0150]", ("0.0123", "[0.0110, 0.0150]", "")),
        ("50.0 [49.6, 88.1] (2 of 5 chance)", ("50.0", "[49.6, 88.1]", "(2 of 5 chance)")),
        ("not run", ("not run", "", "")),
        ("", ("", "", "")),
    ],
)
def test_intervals_apart(text, parts):
    found = Interval.of(text)
    assert (found.number, found.ends, found.remark) == parts


def test_sentences():
    assert sentence("clean protocol, LRA") == "Clean protocol, LRA."
    assert stopped("xLSTM: some tasks") == "xLSTM: some tasks."
    assert stopped("Why?") == "Why?"


def test_width_on_a_terminal():
    assert display_width("stu") == 3
    assert display_width("模型") == 4
    assert display_width("e\u0301") == 1
