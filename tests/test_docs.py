"""Every command in the documentation is run, with settings that make it short."""

import re
import runpy
import shlex
import subprocess
from pathlib import Path

import pytest

from lra_bench.trials import plan
from lra_bench.trials.plan import Cell
from tests import official
from tests.conftest import TINY

ROOT = Path(__file__).parent.parent
REVIEWS = [
    (part, label, rating, f"{part} {label}") for part in ("train", "test") for label, rating in (("pos", 9), ("neg", 1))
]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


SMALL = (
    "backbone.d_model=8",
    "backbone.depth=1",
    "train.global_batch_size=2",
    "train.max_steps=2",
    "train.val_every=2",
)
"""Overrides that make a trial on 1,000 steps and more take a moment."""

BENCH = {
    "bench layer": ("--shape", "2,32,4", "--seconds", "0"),
    "bench scaling": ("--lengths", "64,128,256", "--seconds", "0"),
    "bench train": ("--seconds", "0", *TINY),
    "bench data": ("--seconds", "0", "--no-step"),
    "bench sweep": TINY,
}
"""What makes each measurement a short one."""


def some_of(cells: list[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.config.optim.lr == 0.03 and cell.config.model.name in ("stu", "lru")]


def blocks(language: str) -> list[str]:
    return [text for page in PAGES for text in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)]


def commands(program: str) -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))[:1] == [program]]


def test_every_lra_bench_command_runs_in_the_order_of_the_page(cli, folder, monkeypatch):
    """Of each sweep two models at one rate, each with its seeds; and what a notebook does with them."""
    monkeypatch.syspath_prepend(folder)
    for text in blocks("python"):
        (folder / text.partition("\n")[0].removeprefix("# ")).write_text(text)
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(folder / "data"))
    official.as_tar(folder / "aclImdb_v1.tar.gz", official.imdb(REVIEWS))
    monkeypatch.setattr(plan, "plan", lambda sweep, extra=(), whole=plan.plan: some_of(whole(sweep, extra)))
    seen = set()
    for _, *words in commands("lra-bench"):
        groups = ("sweep", "config", "check", "new", "data", "results", "bench")
        kind = " ".join(words[:2]) if words[0] in groups else words[0]
        short = kind.startswith(("train", "sweep", "config show")) and "--help" not in words
        cli(*words, *BENCH.get(kind, SMALL if "task=listops" in words else TINY if short else ()))
        seen.add(kind)
    runpy.run_path("notebook.py")
    assert (folder / "lds.png").exists()
    assert {
        "train",
        "check model",
        "new model",
        "data prepare",
        "data show",
        "data status",
        "data verify",
        "data bundle",
        "data unbundle",
        "data export",
        "sweep plan",
        "sweep estimate",
        "sweep run",
        "sweep status",
        "sweep best",
        "report",
        "compare",
        "results merge",
        "results validate",
        "results diff",
        "results import",
        "list",
        "config show",
        "doctor",
        *BENCH,
    } <= seen


@pytest.mark.parametrize("target", [words[1] for words in commands("make")])
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_install_command_uses_the_constraints():
    installs = [line for page in PAGES for line in page.read_text().splitlines() if "pip install -" in line]
    assert installs
    assert all("-c constraints.txt" in line for line in installs)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_linked_exists(page):
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text())
    assert all((ROOT / link).exists() for link in links)


def test_help_lists_every_make_target():
    done = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True)
    assert {"quickstart", "test", "check", "help"} <= set(re.findall(r"make ([a-z-]+) ", done.stdout))
