"""The order of a leaderboard's rows, and which of them cannot be told apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lra_bench.report.comparison import ranks
from lra_bench.report.standings.averages import Average, average
from lra_bench.report.standings.contenders import Contender, Result
from lra_bench.report.standings.suites import CONVENTIONS, Convention
from lra_bench.report.standings.task_columns import TaskColumn


@dataclass(frozen=True)
class Line:
    """A row of a leaderboard.

    Attributes:
        contender: who.
        averages: by convention, where the row is complete.
        task_ranks: one for each column; None where the result is not complete, or seeds are too few to compare. A row
            at chance stands behind all that are not.
        average_ranks: by convention.
        rank: that the leaderboard shows and is sorted by.
    """

    contender: Contender
    averages: Mapping[Convention, Average]
    task_ranks: tuple[int | None, ...]
    average_ranks: Mapping[Convention, int | None]
    rank: float | None

    @property
    def task_best(self) -> tuple[bool, ...]:
        """For each column, whether the row is not told apart from the best, and not at chance."""
        pairs = zip(self.contender.results, self.task_ranks, strict=True)
        return tuple(rank == 1 and result is not None and not result.at_chance for result, rank in pairs)

    @property
    def complete(self) -> bool:
        """All tasks of the leaderboard were run with all seeds."""
        return all(result is not None and result.complete for result in self.contender.results)


def averages_of(
    contender: Contender, columns: Sequence[TaskColumn], conventions: Sequence[Convention]
) -> dict[Convention, Average]:
    """The averages of one row, by each convention by which it is complete."""
    results = {column.task: result for column, result in zip(columns, contender.results, strict=True)}
    found = {convention: average(results, convention) for convention in conventions}
    return {convention: each for convention, each in found.items() if each is not None}


def lines(
    contenders: Sequence[tuple[Contender, Mapping[Convention, Average]]],
    columns: Sequence[TaskColumn],
    ranked_by: Convention | None,
) -> tuple[Line, ...]:
    """Rank the rows of one tier, by a paired test or a bootstrap over seeds; rows not told apart share a rank.

    Args:
        contenders: with their averages.
        columns: of the leaderboard.
        ranked_by: the average that decides; None: the only column, or the mean of the ranks in all columns.

    Returns:
        Ranked rows first, then those that are complete, then those that have most results.
    """
    by_task = [_task_ranks([one.results[place] for one, _ in contenders]) for place in range(len(columns))]
    by_average = {
        convention: _average_ranks([averages.get(convention) for _, averages in contenders])
        for convention in CONVENTIONS
        if any(convention in averages for _, averages in contenders)
    }
    found = []
    for place, (contender, averages) in enumerate(contenders):
        task_ranks = tuple(each[place] for each in by_task)
        average_ranks = {convention: each[place] for convention, each in by_average.items()}
        rank = average_ranks.get(ranked_by) if ranked_by else _mean_rank(task_ranks)
        found.append(Line(contender, averages, task_ranks, average_ranks, rank))
    return tuple(sorted(found, key=lambda line: _order(line, ranked_by)))


def _task_ranks(results: Sequence[Result | None]) -> list[int | None]:
    """The ranks of those above chance; those at chance stand behind all of them, whatever a test could tell."""
    compared = [each if each and each.complete and each.sample is not None else None for each in results]
    samples = [None if each is None or each.at_chance or each.sample is None else [each.sample] for each in compared]
    metric = next((each.metric for each in results if each), None)
    higher = metric is not None and metric.higher_is_better
    found = ranks(samples, higher_is_better=higher, log=not higher)
    above = [rank for rank, sample in zip(found, samples, strict=True) if sample is not None]
    behind = None if None in above else 1 + len(above)
    return [behind if each and each.at_chance else rank for each, rank in zip(compared, found, strict=True)]


def _average_ranks(averages: Sequence[Average | None]) -> list[int | None]:
    return ranks([each.samples if each else None for each in averages], higher_is_better=True, log=False)


def _mean_rank(task_ranks: Sequence[int | None]) -> float | None:
    known = [rank for rank in task_ranks if rank is not None]
    return sum(known) / len(known) if len(known) == len(task_ranks) else None


def _order(line: Line, ranked_by: Convention | None) -> tuple[bool, float, bool, int, float, str]:
    results = [result for result in line.contender.results if result and result.best]
    return (
        line.rank is None,
        0.0 if line.rank is None else line.rank,
        not line.complete,
        -len(results),
        _cost(line, ranked_by, results),
        line.contender.label,
    )


def _cost(line: Line, ranked_by: Convention | None, results: Sequence[Result]) -> float:
    """What decides among rows of one rank: the average, or the only result."""
    if ranked_by:
        return -line.averages[ranked_by].value if ranked_by in line.averages else math.inf
    only = results[0] if len(results) == 1 else None
    return only.metric.cost(only.best.test.median) if only and only.best else math.inf
