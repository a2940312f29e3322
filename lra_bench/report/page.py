"""The HTML page."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lra_bench.core.record import RunRecord, Status
from lra_bench.report import formatting
from lra_bench.report.board import Board, Row, total
from lra_bench.report.rate_table import EDGE, at_most, interval, rate_table
from lra_bench.report.sensitivity import COST_LEFT, OWN_FACTOR, thresholds
from lra_bench.report.statistics import BOOTSTRAP_FROM, RESAMPLES


@dataclass(frozen=True)
class Section:
    """A board and its figures, as `<svg>` elements."""

    board: Board
    sensitivity: str
    curves: str


def render(sections: Sequence[Section], filters: str | None) -> str:
    """The page as one file that needs no other. Text from records is escaped, the figures are not."""
    boards = [section.board for section in sections]
    records = [trial.record for board in boards for trial in board.trials]
    environment = Environment(
        loader=PackageLoader("lra_bench.report"),
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
        interval=interval,
    )
    return environment.get_template("report.html").render(
        sections=sections,
        filters=filters,
        trials=len(records),
        statuses={status.value: n for status in Status if (n := [record.status for record in records].count(status))},
        failures=total(board.failures for board in boards),
        environments=_environments(records),
        rate_table=rate_table,
        thresholds=thresholds,
        at_most=at_most,
        own_settings=own_settings,
        seeds=seeds,
        svg=Markup,
        shares=COST_LEFT,
        own_factor=OWN_FACTOR,
        edge=EDGE,
        bootstrap_from=BOOTSTRAP_FROM,
        resamples=RESAMPLES,
    )


def own_settings(board: Board, row: Row) -> dict[str, str]:
    """The settings of a row that not all rows of its board share."""
    return {key: value for key, value in row.settings.items() if key not in board.shared}


def seeds(board: Board) -> str:
    """The seeds of a board's trials, and of their data."""
    runs = sorted({trial.record.seed for trial in board.trials})
    data = sorted({trial.record.data_seed for trial in board.trials})
    return f"{', '.join(map(str, runs))} (data: {', '.join(map(str, data))})"


def _environments(trials: Sequence[RunRecord]) -> list[tuple[str, int]]:
    """The environments that the trials ran in, with the number of trials."""
    counts = Counter(_environment(trial) for trial in trials)
    return sorted(counts.items())


def _environment(trial: RunRecord) -> str:
    where = trial.environment
    commit = (
        f"commit {where.commit[:12]}{' with local changes' if where.dirty else ''}" if where.commit else "a release"
    )
    packages = ", ".join(f"{name} {version}" for name, version in sorted(where.packages.items()))
    return (
        f"{where.device}; {where.threads} threads; precision {where.precision}; {commit}; "
        f"Python {where.python}; {packages}"
    )
