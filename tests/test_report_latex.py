import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings

from lra_bench.report.formats.latex import LINES, latex
from lra_bench.report.formats.tex import tex_breakable, tex_number, tex_safe
from tests.frozen_set import FROZEN
from tests.tables import large_table, tables, texts

WORDS = re.findall(
    r"\w+",
    """
    textbackslash textasciicircum textasciitilde textless textgreater textbar textquoteleft textquotedblleft textendash
    textemdash ldots pm times cdot le ge ne approx infty to dag ddag ss o O l L ae AE i u r H v c k allowbreak
    alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega
    Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega
    """,
)
SIGNS = set("{}$&#%_`'^~=.\"")
FRAME = re.findall(
    r"\w+",
    """
    providecommand lrabenchlines lrabenchset lrabenchsmall lrabenchfit begin end setlength tabcolsep renewcommand sbox
    footnotesize scriptsize tiny ifdim wd textwidth resizebox usebox else fi centering caption label ref par smallskip
    parbox raggedright toprule midrule bottomrule tabularnewline multicolumn textit textbf boldmath
    """,
)
COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)

PAPER = r"""\documentclass[twocolumn]{article}
\usepackage{PACKAGES}
\begin{document}
Some text. \input{leaderboard} More text.
\end{document}
"""


def commands(text):
    return set(COMMAND.findall(text))


def balanced(text):
    """Whether each brace that groups is closed."""
    depth = 0
    for sign in re.sub(r"\\[{}]", "", text):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return False
    return depth == 0


@given(texts)
@settings(max_examples=300, deadline=None)
def test_text_is_only_text(text):
    for safe in (tex_safe(text), tex_breakable(text), tex_number(text)):
        assert safe.isascii()
        assert "\n" not in safe
        assert commands(safe) <= {*WORDS, *SIGNS}
        assert balanced(safe)
        assert not re.search(r"(?<!\\)[#%&_]|\^\^", safe)
        assert len(re.findall(r"(?<!\\)\$", safe)) % 2 == 0


@given(tables())
@settings(max_examples=60, deadline=None)
def test_tables_hold_no_command_of_strangers(table):
    text = "\n".join(line for line in latex([table]).splitlines() if not line.startswith("%"))
    assert commands(text) <= {*WORDS, *SIGNS, *FRAME, "\\"}
    assert balanced(text)
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}")


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a_b 50% [x]", r"a\_b 50\% {[}x{]}"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("Ré ñ ł µ ﬁ", r"R\'{e} \~{n} \l{} $\mu$ fi"),
        ("≤ × Ω –", r"$\le$ $\times$ $\Omega$ \textendash{}"),
        ("a--b", "a-{}-b"),
        ("模", "?"),
    ],
)
def test_characters(text, safe):
    assert tex_safe(text) == safe


def test_numbers_as_in_print():
    assert tex_number("[-0.5, 1.2e-3]") == r"{[}$-$0.5, 1.2$\times10^{-3}${]}"
    assert tex_number("2026-11-22") == "2026-11-22"


def test_long_words_may_break():
    assert tex_breakable("self-pretraining") == "self-pretraining"
    assert tex_breakable("https://arxiv.org/abs/2111.00396").count(r"\allowbreak{}") >= 2
    assert tex_breakable("a" * 40).count("allowbreak") == 2


def test_every_label_is_another():
    table = large_table(20, 5)
    labels = re.findall(r"\\label{([^}]*)}", latex([table, table, table]))
    assert len(labels) == len(set(labels)) == 3


def test_long_tables_go_on_with_the_title_of_their_group():
    text = latex([large_table(12, 3 * LINES)])
    assert text.count(", continued") >= 3
    assert text.count(r"\caption") == 1
    assert text.count("S4 (Gu et al.)") == 3 * LINES


@pytest.mark.parametrize(
    ("packages", "text"),
    [
        ("booktabs", (FROZEN / "leaderboard.tex").read_text(encoding="ascii")),
        ("booktabs,graphicx", latex([large_table(30, 90)])),
    ],
    ids=["frozen report", "large table"],
)
def test_it_compiles_and_fits_a_two_column_page(packages, text, tmp_path):
    engine = shutil.which("pdflatex")
    if engine is None:
        pytest.skip("no pdflatex on the PATH")
    (tmp_path / "leaderboard.tex").write_text(text)
    (tmp_path / "paper.tex").write_text(PAPER.replace("PACKAGES", packages))
    command = [engine, "-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert all(float(excess) < 3 for excess in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log))
    assert "Float too large" not in log
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
