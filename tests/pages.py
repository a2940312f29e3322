"""Content for pages, hostile texts to put into it, and a parser that looks at what became of them."""

import math
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from lra_bench.core.record import RunRecord, Status, Tracking
from lra_bench.report.board import Board
from lra_bench.report.content import Content, Picture, Problem, Section
from lra_bench.report.figures.gallery import Drawing
from lra_bench.report.figures.style import svg_text
from lra_bench.report.formats.page import render
from lra_bench.report.rate_table import rate_table
from lra_bench.report.table import Column, Entry, Group, Table
from lra_bench.report.usable import board_table
from tests.records import boards_of, make_config, make_record

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</svg><svg onload=alert(1)>",
    "=HYPERLINK(1)",
    "a|b`c`[d](e)",
    r"$\frac$ {{ 7 * 7777 }}",
    "_hidden",
    "模型\x1b[31m\r\n# title",
    "",
]

SCRIPTING = [
    *HOSTILE,
    "javascript:window.ran=1",
    "' onmouseover='window.ran=1' autofocus onfocus='window.ran=1",
    "</script><script>window.ran=1</script>",
    "</style><style>body{display:none}</style>",
    "{% include 'report.js' %}{{ config }}",
    "--><iframe srcdoc='<script>parent.ran=1</script>'>",
    "https://example.org/\"onclick='window.ran=1'",
]
"""What tries to run script in a page, or to look different from text."""

ADDRESSES = [
    "javascript:window.ran=1",
    "JaVaScRiPt:window.ran=1",
    " javascript:window.ran=1",
    "java\tscript:window.ran=1",
    "data:text/html,<script>window.ran=1</script>",
    "vbscript:x",
    "file:///etc/passwd",
    "//example.org/run",
    "/etc/passwd",
    "\\\\example.org\\run",
    "runs/a",
    "../a b",
    "../<b>",
    "..",
    "http://",
    "https:///run",
    "http://[::1",
    "https://example.org/a b",
    "https://example.org/\x00",
]
"""Where no link may lead."""

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="400pt" height="300pt" viewBox="0 0 400 300"></svg>'


def picture(name: str, svg: str = SVG) -> Picture:
    """An empty picture."""
    return Picture(name, "A figure", "What is drawn.", "Nothing to be seen", svg)


def painted(drawings: Iterable[Drawing]) -> tuple[Picture, ...]:
    """The pictures of drawings, without files."""
    figures = [(drawing, drawing.draw()) for drawing in drawings]
    return tuple(
        Picture(drawing.name, drawing.title, drawing.caption, drawing.alt, svg_text(figure, drawing.name))
        for drawing, figure in figures
        if figure is not None
    )


def content_of(records: Iterable[RunRecord], **changes: Any) -> Content:
    """A page's content with one empty picture for each board; `changes` replace fields."""
    sections = tuple(_section(place, board) for place, board in enumerate(boards_of(records), 1))
    fields: dict[str, Any] = {
        "leaderboards": (),
        "sections": sections,
        "pictures": (),
        "problems": (),
        "mixed": False,
        "folder": Path("report"),
    }
    return Content(**{**fields, **changes})


def page_of(records: Iterable[RunRecord], **changes: Any) -> str:
    """The page of records."""
    return render(content_of(records, **changes))


def hostile_record(text: str, task: str) -> RunRecord:
    """A failed trial with the text wherever a record holds text."""
    config = make_config(text)
    config["task"]["name"] = task
    config["model"]["knob" + text] = text
    config["backbone"]["norm"] = text
    environment = make_record().environment.model_copy(update={"device": text, "commit": text})
    return make_record(
        text,
        trial_id=text,
        study=text,
        config=config,
        message=text,
        environment=environment,
        val=None,
        status=Status.ERROR,
        tracking=Tracking(backend="wandb", mode=text, run_id=text, url=text),
    )


def hostile_problem(text: str) -> Problem:
    """A file and a reason that are made of the text."""
    return Problem(Path("runs") / (text.replace("/", "").replace("\0", "") or "empty") / "record.json", text)


def hostile_table(text: str) -> Table:
    """A table that is made of the text."""
    columns = (Column(text, None, note=text, wordy=True), Column(text, None, note=text))
    row = (Entry(text, text, link=text), Entry(text, 1.0, best=True, link=text))
    return Table(text, text, columns, (Group(text, (row,)),), (text,))


def leaderboard() -> Table:
    """Accuracies in two groups, made up: four measured rows, one of them incomplete, and two quoted ones."""
    tasks = ("ListOps", "Text", "Retrieval", "Image", "Pathfinder", "Path-X")
    columns = (
        Column("Model", "model", wordy=True),
        Column("Rank", "rank", note="Rows that cannot be told apart share a rank."),
        *(Column(task, task.lower()) for task in tasks),
        Column("Average of five", "avg 5", note="Without Path-X."),
        Column("Average of six", "avg 6", note="A failed binary task counts as 50."),
        Column("Parameters", "params"),
    )
    ours = (
        ("s5", 1, (62.1, 89.3, 91.4, 88.0, 95.3, 98.6), 400_123),
        ("stu num_filters=24", 1, (60.3, 90.5, 91.0, 86.9, 95.1, 94.2), 912_000),
        ("lru", 3, (60.2, 89.4, 89.9, 85.0, 95.1, 94.2), 87_000),
        ("transformer", None, (36.4, 64.3, 57.5, 42.4, 71.4, None), 1_200_000),
    )
    quoted = (
        ("S5 (Smith et al., 2023)", (62.15, 89.31, 91.40, 88.00, 95.33, 98.58)),
        ("Transformer (Tay et al., 2021)", (36.37, 64.27, 57.46, 42.44, 71.40, None)),
    )
    groups = (
        Group("Measured", tuple(_measured_line(*line) for line in ours)),
        Group("Quoted from papers", tuple(_quoted_line(*line) for line in quoted)),
    )
    notes = ("Median over five seeds [95 % interval]. Bold: not told apart from the best of its column.",)
    return Table("Long Range Arena", "measured, uniform track, clean protocol, official data", columns, groups, notes)


def _section(place: int, board: Board) -> Section:
    return Section(board, rate_table(board), board_table(board), (picture(f"{place}-picture"),))


def _measured_line(name: str, rank: int | None, values: tuple[float | None, ...], parameters: int) -> tuple[Entry, ...]:
    shown = [
        _accuracy(value, f"{value} [{value - 0.4:.1f}, {value + 0.3:.1f}]", rank == 1) if value else _failed()
        for value in values
    ]
    return (
        Entry(name, name),
        Entry(str(rank or "–"), rank or math.nan),
        *shown,
        *_averages(values),
        Entry(f"{parameters:,}", parameters),
    )


def _quoted_line(name: str, values: tuple[float | None, ...]) -> tuple[Entry, ...]:
    shown = [_accuracy(value, f"{value:.2f}") if value else _failed() for value in values]
    source = Entry(name, name, link="https://arxiv.org/abs/2208.04933")
    return (source, Entry("–", math.nan), *shown, *_averages(values), Entry("–", math.nan))


def _accuracy(value: float, text: str, best: bool = False) -> Entry:
    return Entry(text, value, best)


def _failed() -> Entry:
    return Entry("3 of 5 chance", math.nan)


def _averages(values: tuple[float | None, ...]) -> tuple[Entry, Entry]:
    reached = [value or 50.0 for value in values]
    five, six = sum(reached[:5]) / 5, sum(reached) / 6
    return Entry(f"{five:.1f}", five), Entry(f"{six:.1f}", six)


class Tags(HTMLParser):
    """Collects start tags and checks that elements nest."""

    VOID = ("meta", "br", "img", "input", "link", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.ids: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags_of(page: str) -> Tags:
    """The page's tags; they nest."""
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags
