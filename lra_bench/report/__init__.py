"""Records in, tables and figures out. The names here are the library behind `lra-bench report`, for notebooks.

They are imported when they are first used: pandas and matplotlib take longer than most commands.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lra_bench.report.build import build_report
    from lra_bench.report.figures.cost import cost_figure, length_figure, length_groups
    from lra_bench.report.figures.curves import best_curves_figure, cloud_figure, curves_figure
    from lra_bench.report.figures.features import features_figure
    from lra_bench.report.figures.filters import filter_count_figure, filters_figure
    from lra_bench.report.figures.rates import sensitivity_figure
    from lra_bench.report.frame import boards, leaderboard, load_records, sensitivity
    from lra_bench.report.usable import failure_table, usable_difference, usable_range, usable_table

_HOME = {
    "best_curves_figure": "figures.curves",
    "boards": "frame",
    "build_report": "build",
    "cloud_figure": "figures.curves",
    "cost_figure": "figures.cost",
    "curves_figure": "figures.curves",
    "failure_table": "usable",
    "features_figure": "figures.features",
    "filter_count_figure": "figures.filters",
    "filters_figure": "figures.filters",
    "leaderboard": "frame",
    "length_figure": "figures.cost",
    "length_groups": "figures.cost",
    "load_records": "frame",
    "sensitivity": "frame",
    "sensitivity_figure": "figures.rates",
    "usable_difference": "usable",
    "usable_range": "usable",
    "usable_table": "usable",
}

__all__ = [
    "best_curves_figure",
    "boards",
    "build_report",
    "cloud_figure",
    "cost_figure",
    "curves_figure",
    "failure_table",
    "features_figure",
    "filter_count_figure",
    "filters_figure",
    "leaderboard",
    "length_figure",
    "length_groups",
    "load_records",
    "sensitivity",
    "sensitivity_figure",
    "usable_difference",
    "usable_range",
    "usable_table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
