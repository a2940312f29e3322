import math

import pytest

from lra_bench.report.formatting import count, cut, named, number, plain, printable, rate


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
