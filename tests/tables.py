"""Tables for the tests of formats: wild ones, and one as large as leaderboards get."""

import math

from hypothesis import strategies as st

from lra_bench.report.table import Column, Entry, Group, Table

STRANGE = [
    "=cmd|' /C calc'!A1",
    "\t+1",
    "＝1+1",
    "a;=1",
    "-1e5",
    r"\input{/etc/passwd}\write18{ls}\csname end\endcsname",
    "^^5cinput{x} $$x$$ #1 % & ~ _ {",
    "|a|b` [x](javascript:alert(1)) <script>alert(1)</script> &lt; **b** www.x.org http://x.org",
    "Ré ñ ł ﬁ µ αΩ ≤≥–—×±… 模型 ?` !` -- --- << '' \x1b[31m\r\n# title\u202e",
    "a" * 120,
    "0.0123 [-0.0110, 1.5e-3] 2 of 5 chance; 1 missing",
    "",
]
texts = st.one_of(st.sampled_from(STRANGE), st.text(max_size=30))
entries = st.builds(
    Entry,
    text=texts,
    value=st.floats(),
    best=st.booleans(),
    link=st.none() | st.sampled_from(["https://a.org/b?c=d&e=(f)", "javascript:alert(1)"]) | texts,
)


@st.composite
def tables(draw):
    columns = draw(st.lists(st.builds(Column, texts, st.none() | texts, texts, st.booleans()), min_size=1, max_size=4))
    columns[0] = Column(draw(texts), draw(texts), wordy=True)
    row = st.tuples(*[entries] * len(columns))
    groups = st.lists(st.builds(Group, texts, st.lists(row, max_size=3).map(tuple)), max_size=3)
    notes = st.lists(texts, max_size=2).map(tuple)
    return Table(draw(texts), draw(texts), tuple(columns), tuple(draw(groups)), draw(notes))


def large_table(models: int, quoted: int) -> Table:
    """A leaderboard of eight tasks and two averages, with intervals, strange names, and rows without intervals."""
    tasks = [Column(f"Task number {n} (accuracy)", f"task {n}", "in percent") for n in range(7)]
    columns = (Column("Model", "model", wordy=True), *tasks, Column("Parameters", "params"), Column("Memory", None))
    names = [f"model_{n} num_filters={n} output=fixed" for n in range(models - len(STRANGE))] + STRANGE
    number = Entry("61.10 [60.70, 61.60] (3 of 5 chance; 2 missing)", 61.1, best=True)
    rows = tuple((Entry(name, name), *[number] * 7, Entry("251,024", 251024.0), Entry("1", 1.0)) for name in names)
    row = (Entry("S4 (Gu et al.)", "S4"), *[Entry("86.09", 86.09)] * 7, Entry("–", math.nan), Entry("–", math.nan))
    groups = (Group("Measured", rows), Group(STRANGE[5], (row,) * quoted))
    return Table("Long Range Arena", f"clean protocol, {STRANGE[6]}", columns, groups, tuple(STRANGE))
