"""The tables that an exhibit may show, by name."""

from collections.abc import Callable, Mapping, Sequence

from lra_bench.core.errors import ConfigError
from lra_bench.exhibits.filter_counts import filter_counts_table
from lra_bench.exhibits.lra import lra_table
from lra_bench.exhibits.results import results_table
from lra_bench.exhibits.samples import samples_table
from lra_bench.exhibits.spec import Exhibit
from lra_bench.report.board import Board
from lra_bench.report.search_verdict import options_table, verdict, verdict_table
from lra_bench.report.table import Table
from lra_bench.report.tolerance import COST_LEFT
from lra_bench.report.usable import failure_table, usable_table

Builder = Callable[[Exhibit, Sequence[Board]], Sequence[Table]]


def _usable_range(boards: Sequence[Board]) -> list[Table]:
    """A table for each threshold, and one of failures."""
    shares = dict.fromkeys(share for board in boards for share in COST_LEFT[board.metric.higher_is_better])
    return [*(usable_table(boards, share) for share in shares), failure_table(boards)]


def _search(boards: Sequence[Board], model: str, reference: str) -> list[Table]:
    found = [verdict(board, model, reference) for board in boards]
    return [verdict_table(found), *map(options_table, found)]


BUILDERS: Mapping[str, Builder] = {
    "results": lambda _, boards: [results_table(boards)],
    "usable_range": lambda _, boards: _usable_range(boards),
    "samples": lambda exhibit, boards: [samples_table(boards, exhibit.model, exhibit.reference)],
    "filter_counts": lambda _, boards: [filter_counts_table(boards)],
    "search": lambda exhibit, boards: _search(boards, exhibit.model, exhibit.reference),
    "lra": lambda _, boards: [lra_table(boards)],
}


def tables(exhibit: Exhibit, boards: Sequence[Board]) -> dict[str, tuple[Table, ...]]:
    """The tables of an exhibit by name, those that hold something.

    Raises:
        ConfigError: there is nothing to show in one of them.
        LraBenchError: the boards lack what a table needs.
    """
    found: dict[str, tuple[Table, ...]] = {}
    for name in exhibit.tables:
        found[name] = tuple(table for table in BUILDERS[name](exhibit, boards) if table.rows)
        if not found[name]:
            raise ConfigError(f"the records of the exhibit {exhibit.id} have nothing for its table {name}")
    return found
