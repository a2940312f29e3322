"""The HTML page: one file that needs no other, and in which nothing but its own script can run."""

import base64
import hashlib
import math
import re
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lra_bench.core.record import RunRecord, Status
from lra_bench.report import formatting
from lra_bench.report.board import Board, Row, total
from lra_bench.report.content import Content, Picture
from lra_bench.report.formats import page_tables
from lra_bench.report.formats.links import followable
from lra_bench.report.rate_table import EDGE
from lra_bench.report.search_verdict import MATCH_FACTOR
from lra_bench.report.table import Entry
from lra_bench.report.tolerance import COST_LEFT, OWN_FACTOR
from lra_bench.report.trial import Trial

LONG = 30
"""Tables with more rows than this have a height of their own, and headers that stay in sight."""

SORTED_DIGITS = 9
"""Significant ones of what entries are sorted by: the last of their 16 differ from one processor to another."""

MANY = 10
"""More notes than this below a table are folded away."""


def render(content: Content) -> str:
    """The page. Text from records is escaped; only the pictures, which this project draws, are taken as they are.

    A policy in its head allows no script but the page's own, by its hash, and no request to anywhere.
    """
    boards = [section.board for section in content.sections]
    trials = [trial for board in boards for trial in board.trials]
    script = (files("lra_bench.report.formats") / "templates/report.js").read_text(encoding="utf-8")
    return (
        environment()
        .get_template("report.html")
        .render(
            content=content,
            trials=trials,
            script=Markup(script),  # noqa: S704
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            statuses={status.value: n for status, n in _in_order(Counter(t.record.status for t in trials))},
            submissions=dict(sorted(Counter(t.submission for t in trials if t.submission is not None).items())),
            failures=total(board.failures for board in boards),
            failed=page_tables.failed_table(boards, content.folder),
            problems=page_tables.problems_table(content.problems, content.folder),
            environments=_environments(trials),
            shares=COST_LEFT,
            own_factor=OWN_FACTOR,
            match_factor=MATCH_FACTOR,
            edge=EDGE,
        )
    )


def own_settings(board: Board, row: Row) -> dict[str, str]:
    """The settings of a row that not all rows of its board share."""
    return {key: value for key, value in row.settings.items() if key not in board.shared}


def seeds(board: Board) -> str:
    """The seeds of a board's trials, and of their data."""
    runs = sorted({trial.record.seed for trial in board.trials})
    data = sorted({trial.record.data_seed for trial in board.trials})
    return f"{_listed(runs)} (data: {_listed(data)})"


def sort_key(entry: Entry) -> str | None:
    """What an entry is sorted by: None where that is its text, empty where there is nothing."""
    value = entry.value
    if isinstance(value, float):
        value = f"{value:.{SORTED_DIGITS}g}" if math.isfinite(value) else ""
    key = str(value)
    return None if key == entry.text else key


def sentence(text: str) -> str:
    """The text with a capital and a full stop, the rest as it is."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def svg(picture: Picture) -> Markup:
    """The picture as it is."""
    return Markup(picture.svg)  # noqa: S704


def width(picture: Picture) -> int:
    """Width of the picture in points, as it says itself."""
    found = re.search(r'<svg[^>]*?\swidth="([\d.]+)pt"', picture.svg)
    return round(float(found.group(1))) if found else 480


def environment(*packages: str) -> Environment:
    """What pages are made with: the report's templates, style, filters and macros, and the templates of `packages`."""
    loaders = [PackageLoader(package) for package in (*packages, __package__)]
    environment = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        number=formatting.number,
        rate=formatting.rate,
        count=formatting.count,
        named=formatting.named,
        plain=formatting.plain,
        sentence=sentence,
        svg=svg,
        width=width,
    )
    environment.globals.update(
        cells_table=page_tables.cells_table,
        trials_table=page_tables.trials_table,
        own_settings=own_settings,
        seeds=seeds,
        followable=followable,
        sort_key=sort_key,
        zip=zip,
        long=LONG,
        many=MANY,
    )
    return environment


def _in_order(counts: Counter[Status]) -> list[tuple[Status, int]]:
    return [(status, counts[status]) for status in Status if counts[status]]


def _listed(numbers: Sequence[int]) -> str:
    """0, 1, 2; four or more in a row as 0–9."""
    if len(numbers) > 3 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}–{numbers[-1]}"
    return ", ".join(map(str, numbers))


def _environments(trials: Sequence[Trial]) -> list[tuple[str, int]]:
    """The environments that the trials ran in, with the number of trials."""
    return sorted(Counter(_described(trial.record) for trial in trials).items())


def _described(record: RunRecord) -> str:
    where = record.environment
    commit = (
        f"commit {where.commit[:12]}{' with local changes' if where.dirty else ''}" if where.commit else "a release"
    )
    packages = ", ".join(f"{name} {version}" for name, version in sorted(where.packages.items()))
    threads = "" if where.threads is None else f" {where.threads} thread{'' if where.threads == 1 else 's'};"
    return f"{where.device};{threads} precision {where.precision}; {commit}; Python {where.python}; {packages}"
