"""Leaderboards as one tidy table: what a notebook or a spreadsheet works on."""

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from lra_bench.report import formatting
from lra_bench.report.board import UNKNOWN_METRIC
from lra_bench.report.cost import Cost, cost
from lra_bench.report.standings.contenders import Result, device_hours
from lra_bench.report.standings.differences import Away, away_on_averages, away_on_tasks
from lra_bench.report.standings.lines import Line
from lra_bench.report.standings.published import UNVERIFIED, Quoted
from lra_bench.report.standings.standing import Standing
from lra_bench.report.standings.suites import ACCURACY, Convention
from lra_bench.report.standings.task_columns import TaskColumn

_WHOLE, _REAL, _TEXT, _TRUTH = "Int64", "Float64", "string", "boolean"

COLUMNS = {
    "suite": _TEXT,
    "track": _TEXT,
    "protocol": _TEXT,
    "origin": _TEXT,
    "tier": _TEXT,
    "model": _TEXT,
    "task": _TEXT,
    "column": _TEXT,
    "task_version": _WHOLE,
    "metric": _TEXT,
    "rank": _WHOLE,
    "row_rank": _REAL,
    "best_rate": _REAL,
    "n": _WHOLE,
    "median": _REAL,
    "low": _REAL,
    "high": _REAL,
    "mean": _REAL,
    "best_of_n": _REAL,
    "chance": _WHOLE,
    "trials": _WHOLE,
    "failed": _WHOLE,
    "failures": _TEXT,
    "missing": _WHOLE,
    "complete": _TRUTH,
    "parameters": _REAL,
    "state_size": _REAL,
    "examples_per_second": _REAL,
    "peak_memory_mb": _REAL,
    "device_hours": _REAL,
    "against": _TEXT,
    "difference": _REAL,
    "difference_low": _REAL,
    "difference_high": _REAL,
    "spread": _REAL,
    "evidence": _TEXT,
    "source": _TEXT,
    "link": _TEXT,
    "note": _TEXT,
}
"""Columns of the frame, and their types; every one may hold missing values."""


def frame(standings: Iterable[Standing]) -> pd.DataFrame:
    """The leaderboards as one tidy table: a line per table, row, and task or average.

    Numbers are as measured: accuracies are shares of 1, published ones too; differences are in percentage points. On a
    task's line `best_rate` to `chance` are of the trials at the best learning rate, and `trials` to `device_hours` of
    those at all rates, so that `trials` of all lines sum to the trials there are. On the line of an average, `task` is
    its name, and costs are those of the whole row. `rank` is among the numbers of that task or average, `row_rank` what
    the leaderboard shows. A task that was not run has no line. Floors have the tier `floor`, published numbers `quoted`
    or `unverified`; `spread` is what is printed beside these.

    Args:
        standings: in the order wanted.

    Returns:
        The columns `COLUMNS`.
    """
    lines = [{**_place(standing), **line} for standing in standings for line in _lines(standing)]
    table = pd.DataFrame([[line.get(name) for name in COLUMNS] for line in lines], columns=list(COLUMNS))
    return table.astype(COLUMNS)


def _place(standing: Standing) -> dict[str, Any]:
    return {
        "suite": standing.suite.value,
        "track": standing.track,
        "protocol": standing.protocol,
        "origin": standing.origin,
    }


def _lines(standing: Standing) -> Iterator[dict[str, Any]]:
    for _, lines in standing.tiers:
        for line in lines:
            row = {
                "tier": line.contender.tier,
                "model": line.contender.label,
                "row_rank": line.rank,
                "against": standing.against.shown if standing.against else None,
            }
            yield from ({**row, **each} for each in [*_of_tasks(line, standing), *_of_averages(line, standing)])
    for name, values in standing.floors.items():
        for column, value in zip(standing.columns, values, strict=True):
            if value is not None:
                yield {"tier": "floor", "model": name, **_task(column), "median": value}
    for quoted in standing.quoted:
        yield from ({**_source(quoted), **each} for each in _of_quoted(quoted, standing))


def _of_tasks(line: Line, standing: Standing) -> Iterator[dict[str, Any]]:
    away = away_on_tasks(line, standing.columns, standing.against)
    places = zip(standing.columns, line.contender.results, line.task_ranks, away, strict=True)
    for column, result, rank, difference in places:
        if result is not None:
            yield {**_task(column), "rank": rank, **_best(result), **_all_rates(result), **_difference(difference)}


def _of_averages(line: Line, standing: Standing) -> Iterator[dict[str, Any]]:
    away = away_on_averages(line, standing.conventions, standing.against)
    for convention, difference in zip(standing.conventions, away, strict=True):
        average = line.averages.get(convention)
        values = {"median": average.value, "low": average.low, "high": average.high} if average else {}
        yield {
            **_average(convention),
            **values,
            "rank": line.average_ranks.get(convention),
            "complete": average is not None,
            **_cost(line.contender.cost),
            "device_hours": device_hours(line.contender.trials),
            **_difference(difference),
        }


def _of_quoted(quoted: Quoted, standing: Standing) -> Iterator[dict[str, Any]]:
    for column in standing.columns:
        percent = quoted.percent(column.task)
        line = {"task": column.task, "column": column.header, "metric": ACCURACY}
        if percent is not None:
            yield {**line, "median": percent / 100, "spread": _share(quoted.spread_of(column.task))}
        elif column.task in quoted.failed:
            yield {**line, "failures": formatting.FAILED}
    for convention in standing.conventions:
        percent = quoted.average(convention)
        if percent is not None:
            yield {**_average(convention), "median": percent / 100}


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _task(column: TaskColumn) -> dict[str, Any]:
    return {
        "task": column.task,
        "column": column.header,
        "task_version": column.version,
        "metric": None if column.metric is UNKNOWN_METRIC else column.metric.name,
    }


def _average(convention: Convention) -> dict[str, Any]:
    return {"task": f"average of {convention.name}", "column": convention.header, "metric": ACCURACY}


def _best(result: Result) -> dict[str, Any]:
    """Of the trials at the best learning rate."""
    if result.best is None:
        return {}
    test = result.best.test
    return {
        "best_rate": result.best.rate,
        "n": test.n,
        "median": test.median,
        "low": test.low,
        "high": test.high,
        "mean": test.mean,
        "best_of_n": test.maximum if result.metric.higher_is_better else test.minimum,
        "chance": result.chance,
    }


def _all_rates(result: Result) -> dict[str, Any]:
    row = result.row
    return {
        "trials": len(row.trials),
        "failed": sum(row.failures.values()),
        "failures": formatting.named(row.failures) if row.failures else None,
        "missing": row.missing,
        "complete": result.complete,
        **_cost(cost(row)),
        "device_hours": device_hours(row.trials),
    }


def _cost(found: Cost) -> dict[str, Any]:
    return {
        name: getattr(found, name) for name in ("parameters", "state_size", "examples_per_second", "peak_memory_mb")
    }


def _difference(away: Away | None) -> dict[str, Any]:
    if away is None:
        return {}
    return {"difference": away.value, "difference_low": away.low, "difference_high": away.high}


def _source(quoted: Quoted) -> dict[str, Any]:
    return {
        "tier": UNVERIFIED if quoted.evidence == UNVERIFIED else "quoted",
        "model": quoted.shown,
        "evidence": quoted.evidence,
        "source": f"{quoted.source.title}, {quoted.source.where}",
        "link": quoted.source.link,
        "note": quoted.note or None,
    }
