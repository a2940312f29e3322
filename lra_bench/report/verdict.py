"""What a comparison says: a sentence, and a table of results and of what differs."""

import math
from collections.abc import Callable, Iterator

from lra_bench.core.record import RunRecord
from lra_bench.report import formatting
from lra_bench.report.board import Metric
from lra_bench.report.compare import Comparison, Contestant
from lra_bench.report.comparison import LEVEL, MOST_SEEDS, Difference, seeds_needed
from lra_bench.report.labels import differing_keys
from lra_bench.report.rate_table import EDGE
from lra_bench.report.selectors import NOT_SET
from lra_bench.report.table import Column, Entry, Group, Table
from lra_bench.report.trial import Trial

COMMIT = 10
"""Characters shown of a commit."""

INFINITE = "∞"
SMALLEST_P = 1e-4
"""p-values below this one depend on tails that few seeds say nothing about."""


def verdict(comparison: Comparison) -> str:
    """Which side is better and by how much, or why that cannot be said."""
    first, second, found = comparison.first, comparison.second, comparison.difference
    for side in (first, second):
        if side.cell is None:
            return f"not compared: at every learning rate of {side.name} a seed failed."
        if not math.isfinite(side.cell.test.mean):
            return f"not compared: a seed of {side.name} has no test {comparison.board.metric.name}."
    if found is None:
        return (
            f"{first.name} and {second.name} cannot be told apart by {_seeds(comparison)} seeds. "
            "Run the same three or more on both sides."
        )
    metric = comparison.board.metric
    winner = first if found.first_is_better(metric.higher_is_better) else second
    if found.p <= LEVEL:
        return f"{winner.name} is better: its {metric.name} is {_size(found, metric)}, {_how(comparison, found)}."
    if found.p == 1 and found.low == found.high:
        return f"{first.name} and {second.name} came to the same {metric.name} with every seed."
    return (
        f"{first.name} and {second.name} cannot be told apart: the {metric.name} of {winner.name} is "
        f"{_size(found, metric)}, {_how(comparison, found)}. {_needed(found)}"
    )


def comparison_table(comparison: Comparison) -> Table:
    """Results of both sides, and the settings, seeds, code and machines in which they differ."""
    sides = comparison.first, comparison.second
    results, differing = list(_results(comparison)), list(_differing(*sides))
    return Table(
        title=comparison.board.label,
        conditions=comparison.board.conditions,
        columns=(Column("", ""), *(Column(side.name, side.name, wordy=True) for side in sides)),
        groups=(Group("", tuple(map(_row, results))), Group("what differs", tuple(map(_row, differing)))),
    )


def _row(line: tuple[str, ...]) -> tuple[Entry, ...]:
    return tuple(Entry(text, text) for text in line)


def _results(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    metric = comparison.board.metric
    one, other = comparison.first, comparison.second
    percent = " (%)" if metric.higher_is_better else ""
    yield "row", one.row.label, other.row.label
    yield "best learning rate", _rate(one), _rate(other)
    yield f"test {metric.name}{percent}: median [interval]", _median(one, metric), _median(other, metric)
    yield "n", *(formatting.NOTHING if each.cell is None else str(each.cell.n) for each in (one, other))


def _rate(side: Contestant) -> str:
    if side.cell is None:
        return formatting.FAILED
    edge = side.cell.rate in (side.row.cells[0].rate, side.row.cells[-1].rate)
    return formatting.rate(side.cell.rate) + (f" {EDGE}" if edge else "")


def _median(side: Contestant, metric: Metric) -> str:
    if side.cell is None:
        return formatting.FAILED
    summary = side.cell.test
    median, low, high = (_value(value, metric) for value in (summary.median, summary.low, summary.high))
    return median if summary.n == 1 else f"{median} [{low}, {high}]"


def _value(value: float, metric: Metric) -> str:
    """Scores in percent, errors as they are."""
    return f"{100 * value:.2f}" if metric.higher_is_better and math.isfinite(value) else formatting.number(value)


def _differing(one: Contestant, other: Contestant) -> Iterator[tuple[str, ...]]:
    """Settings that both have come first."""
    settings = one.row.settings, other.row.settings
    for key in sorted(differing_keys(settings), key=lambda key: sum(key not in each for each in settings)):
        yield key, *(formatting.plain(each.get(key, NOT_SET)) for each in settings)
    for name, read in _PROVENANCE.items():
        found, others = ({read(trial.record) for trial in _trials(each)} for each in (one, other))
        if found != others:
            yield name, _joined(found), _joined(others)


def _joined(texts: set[str]) -> str:
    return ", ".join(sorted(texts, key=lambda text: (len(text), text)))


def _trials(side: Contestant) -> tuple[Trial, ...]:
    """Those that the result rests on."""
    return side.row.trials if side.cell is None else side.cell.trials


def _seed(record: RunRecord) -> str:
    return str(record.seed) if record.seed == record.data_seed else f"{record.seed} (data {record.data_seed})"


def _commit(record: RunRecord) -> str:
    commit = record.environment.commit
    return "unknown" if commit is None else commit[:COMMIT] + ("+changes" if record.environment.dirty else "")


_PROVENANCE: dict[str, Callable[[RunRecord], str]] = {
    "seeds": _seed,
    "model's code": lambda record: record.model.origin if record.model else "unknown",
    "commit": _commit,
    "device": lambda record: record.environment.device,
}


def _size(found: Difference, metric: Metric) -> str:
    """How far the better one is from the other, with the interval."""
    ends = found.value, found.low, found.high
    if found.ratio:
        value, low, high = ends if found.value >= 1 else (_inverse(end) for end in (ends[0], ends[2], ends[1]))
        return f"{_real(value)} times smaller [{_real(low)}, {_real(high)}]"
    value, low, high = ends if found.value >= 0 else (-ends[0], -ends[2], -ends[1])
    if metric.higher_is_better:
        return f"{100 * value:.2f} points higher [{100 * low:.2f}, {100 * high:.2f}]"
    return f"{_real(value)} lower [{_real(low)}, {_real(high)}]"


def _inverse(value: float) -> float:
    return 1 / value if value > 0 else math.inf


def _real(value: float) -> str:
    return INFINITE if math.isinf(value) else formatting.number(value)


def _how(comparison: Comparison, found: Difference) -> str:
    p = f"p < {SMALLEST_P:g}" if found.p < SMALLEST_P else f"p = {found.p:.2g}"
    if found.method == "paired":
        return f"paired over {found.n} seeds ({p})"
    return f"by a two-sample bootstrap of {_seeds(comparison)} seeds ({p})"


def _seeds(comparison: Comparison) -> str:
    return " and ".join(str(len(_trials(each))) for each in (comparison.first, comparison.second))


def _needed(found: Difference) -> str:
    seeds = seeds_needed(found)
    number = f"more than {MOST_SEEDS:,}" if seeds is None else f"about {seeds:,}"
    return f"A difference of this size takes {number} seeds on each side to show."
