import csv
import io
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lra_bench.report.formats.exports import comma_separated, csv_safe, markdown, markdown_safe
from lra_bench.report.formats.terminal import WIDTH, terminal_text
from lra_bench.report.formatting import display_width, printable
from lra_bench.report.table import Column, Entry, Group, Table
from tests.tables import STRANGE, large_table, tables, texts

COLUMNS = (Column("Model", "model", wordy=True), Column("Accuracy (%)", "acc", "median over seeds"))


def small(name="stu", **entry):
    row = (Entry(name, name), Entry(**{"text": "88.1 [87.0, 89.2]", "value": 88.1, **entry}))
    return Table("LRA", "clean protocol", COLUMNS, (Group("Measured", (row,)), Group("Floors", (row,))), ("A note.",))


def plain(markdown_text):
    """What a reader sees of a line of Markdown, and the kinds of everything in it."""
    [paragraph] = [
        token for token in MarkdownIt("commonmark").enable("strikethrough").parse(markdown_text) if token.children
    ]
    return "".join(token.content for token in paragraph.children), {token.type for token in paragraph.children}


def test_markdown_in_full():
    assert markdown([small(best=True, link="https://a.org/x?a=b&c=(d)")]) == (
        "# Leaderboard\n\n## LRA\n\nClean protocol.\n\n"
        "| Model | Accuracy (%) |\n| --- | ---: |\n"
        "| *Measured* |  |\n| stu | **[88.1 \\[87.0, 89.2\\]](<https://a.org/x?a=b&amp;c=(d)>)** |\n"
        "| *Floors* |  |\n| stu | **[88.1 \\[87.0, 89.2\\]](<https://a.org/x?a=b&amp;c=(d)>)** |\n"
        "\nA note.\n\nAccuracy (%): median over seeds.\n"
    )


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "//a.org",
        "http://",
        "http://[",
        "https://a.org/a b",
        "https://a.org/<b>",
        "",
        None,
    ],
)
def test_markdown_links_only_to_the_web(link):
    assert "](" not in markdown([small(link=link)])


@given(texts)
@settings(max_examples=200, deadline=None)
def test_markdown_text_is_text(text):
    safe = markdown_safe(text)
    if printable(text):
        seen, kinds = plain(safe)
        assert seen == printable(text)
        assert kinds <= {"text", "text_special"}


@given(tables())
@settings(max_examples=60, deadline=None)
def test_markdown_tables_keep_their_shape(table):
    html = MarkdownIt("commonmark").enable("table").render(markdown([table]))
    assert html.count("<table>") == 1
    assert html.count("<th ") + html.count("<th>") == len(table.columns)
    titles = sum(bool(group.title) for group in table.groups)
    assert html.count("<tr>") == 1 + titles + len(table.rows)
    assert all(address.startswith(("http://", "https://")) for address in re.findall('href="([^"]*)', html))
    assert "<script" not in html


def test_markdown_and_csv_are_escaped():
    assert markdown_safe("a|b\n<i>`x`") == r"a\|b \<i\>\`x\`"
    assert csv_safe("stu") == "stu"


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t=", "\r@", " +", "\u200b=", "＝", "＋", "－", "＠", "﹢", "x;=", "x; +"]
)
def test_nothing_in_csv_begins_a_formula(start):
    assert "'" in csv_safe(f"{start}1")


FORMULA = re.compile(r"(^|;)\s*[=+\-@＝＋－＠﹢﹣﹦﹫]")


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_csv_text_comes_back(lines):
    written = comma_separated(pd.DataFrame(lines, columns=["a", "=b"], dtype=object))
    header, *found = csv.reader(io.StringIO(written, newline=""))
    assert header == ["a", "'=b"]
    for cells, values in zip(found, lines, strict=True):
        for cell, text in zip(cells, values, strict=True):
            assert cell.replace("'", "") == printable(text).replace("'", "")
            assert not FORMULA.search(cell)


@given(st.lists(st.floats() | st.integers(-(2**53), 2**53), min_size=1))
def test_csv_numbers_come_back(numbers):
    written = comma_separated(pd.DataFrame({"x": pd.Series(numbers, dtype=object)}))
    cells = [line.strip('"') for line in written.splitlines()[1:]]
    for cell, number in zip(cells, numbers, strict=True):
        if isinstance(number, int):
            assert int(cell) == number
        else:
            assert cell == "" if math.isnan(number) else float(cell) == pytest.approx(number, rel=1e-11, abs=0)


def test_csv_of_every_kind_of_value():
    frame = pd.DataFrame(
        {
            "flag": pd.Series([True, np.bool_(False), None], dtype=object),
            "count": pd.array([-3, 10**17 + 1, None], dtype="Int64"),
            "value": [-0.1, 1e-300, math.nan],
            "text": ["-0.1", "a,b", None],
        }
    )
    assert comma_separated(frame) == (
        'flag,count,value,text\nTrue,-3,-0.1,\'-0.1\nFalse,100000000000000001,1e-300,"a,b"\n,,,\n'
    )


def test_csv_of_nothing_is_a_header():
    assert comma_separated(pd.DataFrame(columns=["a", "b"])) == "a,b\n"


def test_terminal_in_full():
    assert terminal_text(small()) == (
        "LRA: clean protocol\n"
        "model                acc\n"
        "-- Measured --\nstu    88.1 [87.0, 89.2]\n"
        "-- Floors --\nstu    88.1 [87.0, 89.2]"
    )


@given(tables())
@settings(max_examples=100, deadline=None)
def test_terminal_fits_and_does_nothing(table):
    lines = terminal_text(table).split("\n")
    assert all(line.isprintable() and display_width(line) <= WIDTH for line in lines)


def test_terminal_without_intervals_where_there_is_no_room():
    text = terminal_text(large_table(models=20, quoted=2))
    assert "(intervals: see the report)" in text
    assert "60.70" not in text
    assert "61.10" in text
    assert text.count("251,024") == 20
    assert max(map(display_width, text.split("\n"))) <= WIDTH
    assert len(STRANGE) < 20
