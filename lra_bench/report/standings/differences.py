"""How far measured rows are from a published one, with our interval: published numbers have no seeds of ours."""

from collections.abc import Sequence
from dataclasses import dataclass

from lra_bench.report.standings.contenders import Result
from lra_bench.report.standings.lines import Line
from lra_bench.report.standings.published import Quoted
from lra_bench.report.standings.suites import Convention
from lra_bench.report.standings.task_columns import TaskColumn


@dataclass(frozen=True)
class Away:
    """A row's number minus the published one, in percentage points.

    Attributes:
        value: the difference.
        low: lower end of the interval of the row's number, minus the published one.
        high: upper end of it, likewise.
        n: number of seeds.
    """

    value: float
    low: float
    high: float
    n: int


def away_on_tasks(line: Line, columns: Sequence[TaskColumn], quoted: Quoted | None) -> list[Away | None]:
    """One for each column; None where either has no number."""
    percents = [quoted.percent(column.task) if quoted else None for column in columns]
    return [_of_result(*pair) for pair in zip(line.contender.results, percents, strict=True)]


def away_on_averages(line: Line, conventions: Sequence[Convention], quoted: Quoted | None) -> list[Away | None]:
    """One for each convention; None where either has no average."""
    return [_of_average(line, convention, quoted.average(convention) if quoted else None) for convention in conventions]


def _of_result(result: Result | None, percent: float | None) -> Away | None:
    if result is None or result.best is None or percent is None:
        return None
    test = result.best.test
    return _minus((test.median, test.low, test.high), percent, test.n)


def _of_average(line: Line, convention: Convention, percent: float | None) -> Away | None:
    average = line.averages.get(convention)
    if average is None or percent is None:
        return None
    return _minus((average.value, average.low, average.high), percent, average.n)


def _minus(shares: tuple[float, float, float], percent: float, n: int) -> Away:
    value, low, high = (100 * share - percent for share in shares)
    return Away(value, low, high, n)
