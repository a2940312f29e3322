"""What leaderboards show: results, averages, quoted numbers and differences as entries of tables."""

import math
from collections.abc import Sequence
from dataclasses import replace

from lra_bench.report import formatting
from lra_bench.report.board import Metric
from lra_bench.report.standings.averages import Average
from lra_bench.report.standings.contenders import Contender, Result, device_hours
from lra_bench.report.standings.differences import Away
from lra_bench.report.standings.published import Quoted
from lra_bench.report.standings.suites import ACCURACY, Convention
from lra_bench.report.table import Column, Entry

NOT_RUN = "not run"
SECOND_HAND = "†"
"""Marks quoted rows that were read in another paper."""

IN_COLOUR = "*"
"""Stands for a quoted number that is on colour pictures, or may be."""

NOTHING = Entry(formatting.NOTHING, math.nan)

COST_COLUMNS = (
    Column("Parameters", "params"),
    Column("State size", None),
    Column("Examples per second", None),
    Column("Peak memory (MB)", None),
    Column("Device hours", "hours"),
)


def result_entry(result: Result | None, best: bool) -> Entry:
    """Median over seeds [interval] (number of seeds, and what sets it apart): 88.7 [88.4, 88.9] (2 of 5 chance)."""
    if result is None:
        return Entry(NOT_RUN, math.nan)
    missing = f"; {result.row.missing} missing" if result.row.missing else ""
    if result.best is None:
        return Entry(f"{formatting.FAILED} ({_failures(result)}{missing})", math.nan)
    test = result.best.test
    n = f"{result.chance} of {test.n} chance" if result.chance else f"{test.n}"
    shown = _with_interval([_shown(value, result.metric) for value in (test.median, test.low, test.high)], test.n)
    return Entry(f"{shown} ({n}{missing})", shown_value(test.median, result.metric), best)


def average_entry(average: Average | None, best: bool) -> Entry:
    """An average in percent, with its interval."""
    if average is None:
        return NOTHING
    shown = [_percent(value) for value in (average.value, average.low, average.high)]
    return Entry(_with_interval(shown, average.n), 100 * average.value, best)


def rank_entry(rank: float | None) -> Entry:
    """A rank, or a mean of ranks."""
    return NOTHING if rank is None else Entry(f"{rank:.1f}".removesuffix(".0"), rank)


def cost_entries(contender: Contender) -> list[Entry]:
    """An entry for each of `COST_COLUMNS`."""
    cost = contender.cost
    return [
        _amount(cost.parameters, formatting.count(cost.parameters)),
        _amount(cost.state_size, formatting.count(cost.state_size)),
        _amount(cost.examples_per_second, formatting.number(cost.examples_per_second)),
        _amount(cost.peak_memory_mb, formatting.count(cost.peak_memory_mb)),
        _amount(hours := device_hours(contender.trials), formatting.number(hours)),
    ]


def floor_entry(value: float | None, metric: Metric) -> Entry:
    """What a trivial or an optimal predictor reaches."""
    return NOTHING if value is None else Entry(_shown(value, metric), shown_value(value, metric))


def quoted_name(quoted: Quoted) -> Entry:
    """The name of a published row, linked to its paper."""
    mark = f" {SECOND_HAND}" if quoted.evidence == "secondary" else ""
    return Entry(f"{quoted.shown}{mark}", quoted.shown, link=quoted.source.link)


def quoted_entry(quoted: Quoted, task: str) -> Entry:
    """A published accuracy, with no more digits than it was printed with."""
    value = quoted.percent(task)
    if value is not None:
        return Entry(f"{value}", value)
    if task in quoted.failed:
        return Entry(formatting.FAILED, math.nan)
    if task == "image" and quoted.colour_in_image:
        return Entry(f"{formatting.NOTHING} {IN_COLOUR}", math.nan)
    return NOTHING


def with_spread(entry: Entry, spread: float | None) -> Entry:
    """A published accuracy and what is printed beside it: 62.15 ± 0.23."""
    return entry if spread is None else replace(entry, text=f"{entry.text} ± {spread}")


def quoted_average_entry(quoted: Quoted, convention: Convention) -> Entry:
    """The average of a published row's numbers, by our own computation."""
    value = quoted.average(convention)
    return NOTHING if value is None else Entry(f"{value:.2f}", value)


def difference_entry(away: Away | None) -> Entry:
    """Percentage points above or below a published number, with the interval: -1.2 [-1.9, -0.4]."""
    if away is None:
        return NOTHING
    shown = [f"{_without_minus_zero(value):+.1f}" for value in (away.value, away.low, away.high)]
    return Entry(_with_interval(shown, away.n), away.value)


def shown_value(value: float, metric: Metric) -> float:
    """A number as it is shown: accuracies in percent."""
    return 100 * value if metric.name == ACCURACY else value


def _failures(result: Result) -> str:
    trials = len(result.row.trials)
    named = ", ".join(f"{n} of {trials} {name}" for name, n in result.row.failures.items())
    return named or "no test value"


def _shown(value: float, metric: Metric) -> str:
    return _percent(value) if metric.name == ACCURACY else formatting.number(value)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _with_interval(shown: Sequence[str], n: int) -> str:
    value, low, high = shown
    return f"{value} [{low}, {high}]" if n > 1 else value


def _without_minus_zero(value: float) -> float:
    return 0.0 if abs(value) < 0.05 else value


def _amount(value: float | None, text: str) -> Entry:
    return Entry(text, math.nan if value is None else value)
