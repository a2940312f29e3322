"""Which figures a report has, and what is said about them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from lra_bench.report.board import Board
from lra_bench.report.figures.axes import ROWS_SHOWN
from lra_bench.report.figures.cost import cost_figure, length_figure, length_groups
from lra_bench.report.figures.curves import best_curves_figure, cloud_figure, curves_figure
from lra_bench.report.figures.features import features_figure
from lra_bench.report.figures.filters import COUNT, filter_count_figure, filters_figure
from lra_bench.report.figures.medians import Floats
from lra_bench.report.figures.rates import sensitivity_figure


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn, and what is said about it.

    Attributes:
        name: of its files, without ending; different for every drawing of a report, and never text of a record.
        title: short.
        caption: what is drawn, and how to read it.
        alt: what it shows, for those who cannot see it.
        draw: makes the figure; None where its data are not there.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[], Figure | None]


@dataclass(frozen=True)
class _Kind:
    """A kind of figure of one board. `{metric}` and `{rows}` in its texts stand for the board's."""

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[Board], Figure | None]


_OF_A_BOARD = (
    _Kind(
        "sensitivity",
        "Sensitivity to the learning rate",
        "Validation {metric} against learning rate, {rows}: median over seeds, and as a band the range from the lowest "
        "to the highest seed. A ring marks the selected rate, the one with the best mean; an arrow out of it says that "
        "this is the last rate tried, so a better one may lie beyond. Below, which is also the legend: how many of all "
        "trials failed at each rate. A cross at the edge: most seeds failed. Values beyond the axis are drawn on its "
        "edge. Dashed: trivial and optimal predictors, and the thresholds of the tolerance.",
        "Validation {metric} against learning rate, one line per model, with failed trials per rate below. The numbers "
        "are in the tables.",
        sensitivity_figure,
    ),
    _Kind(
        "curves",
        "Learning curves at every rate",
        "Validation {metric} against step, {rows}: one line per learning rate, each the median over seeds. A cross "
        "marks the last step before most seeds had failed; curves beyond the axis run along its edge.",
        "Learning curves: validation {metric} against step, one panel per model, one line per learning rate.",
        curves_figure,
    ),
    _Kind(
        "best",
        "Best against best",
        "Validation {metric} against step, {rows}, each at its best learning rate: median over seeds, and as a band "
        "the range from the lowest to the highest seed.",
        "Learning curves of all models at their best learning rates on one pair of axes.",
        best_curves_figure,
    ),
    _Kind(
        "filters",
        "How many filters it takes",
        "Test {metric} against the number K of spectral filters, each at its best learning rate: median over seeds, "
        "and as a bar its interval. A cross at the edge: there is no best rate. Dashed, for errors: how fast the "
        "eigenvalues after the K-th fall. Only its slope is theory; it is drawn through the first point.",
        "Test {metric} against number of spectral filters.",
        filter_count_figure,
    ),
    _Kind(
        "cloud",
        "Every setting tried against the best",
        "Validation {metric} against step. Grey: the model of which most settings were tried, a curve for each of them "
        "at each learning rate, the median over seeds. In colour: the best curve of each model, chosen on validation.",
        "A cloud of learning curves of one model with many settings, and the best curve of each model.",
        cloud_figure,
    ),
    _Kind(
        "cost",
        "What it costs",
        "Test {metric} at the best learning rate, {rows}, against parameters, time, speed in training and peak memory: "
        "median over seeds, and as a bar its interval. Costs are medians over the trials that ran to their end; time "
        "and memory depend on the machine.",
        "Test {metric} against parameters, seconds per trial, examples per second and peak memory, a point per model.",
        cost_figure,
    ),
)


KINDS = tuple(kind.name for kind in _OF_A_BOARD)
"""Names of the kinds of figures of one board."""


def board_drawings(board: Board, place: int, kinds: Sequence[str] = KINDS) -> list[Drawing]:
    """The figures of one board, which is number `place` of the report. Some of them may lack their data.

    Args:
        board: whose trials are drawn.
        place: number that keeps names apart.
        kinds: which figures, of `KINDS`.
    """
    words = {"metric": board.metric.name, "rows": _rows(board)}
    return [
        Drawing(
            name=f"{place}-{slug(board.task)}-{kind.name}",
            title=kind.title,
            caption=kind.caption.format(**words),
            alt=kind.alt.format(**words),
            draw=partial(kind.draw, board),
        )
        for kind in _OF_A_BOARD
        if kind.name in kinds
    ]


def shared_drawings(boards: Sequence[Board], filters: tuple[Floats, Floats] | None) -> list[Drawing]:
    """The figures of several boards, or of none.

    Args:
        boards: all of the report.
        filters: eigenvalues (K,) and eigenvectors (L, K) of the spectral filters; None draws none of them.
    """
    drawings = [_length(group, place) for place, group in enumerate(length_groups(boards), 1)]
    if filters is not None:
        drawings.append(
            Drawing(
                name="filters",
                title="Spectral filters",
                caption="Left: eigenvalues σₖ of the Hankel matrix. Right: some of its eigenvectors φₖ, the filters "
                "that the STU convolves its input with. They are fixed, not learnt.",
                alt="Eigenvalues of the spectral filters against their number, and some of the filters.",
                draw=partial(filters_figure, *filters),
            )
        )
    if filters is not None or any(COUNT in row.settings for board in boards for row in board.rows):
        drawings.append(
            Drawing(
                name="features",
                title="What the STU computes",
                caption="The input is convolved with each fixed filter φₖ, once with its values as they are and once "
                "with every other one negated, scaled by the fourth root of the eigenvalue σₖ, and projected by a "
                "learnt matrix M⁺ or M⁻. The last three inputs and the output two steps ago are added.",
                alt="A drawing of the spectral transform unit: input, fixed filters, scaling, learnt projections, sum.",
                draw=partial(features_figure, None if filters is None else filters[1]),
            )
        )
    return drawings


def slug(name: str) -> str:
    """The name as part of a file name, whatever it holds."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "task"


def _length(group: tuple[Board, ...], place: int) -> Drawing:
    board = group[0]
    return Drawing(
        name=f"length-{place}-{slug(board.task)}",
        title=f"Growth with the length of sequences: {board.task}",
        caption=f"Test {board.metric.name} at the best learning rate (median over seeds, and as a bar its interval), "
        f"examples per second in training and peak memory against the length of the sequences; {board.conditions}. "
        "Time and memory depend on the machine.",
        alt="Metric, speed and memory against sequence length, one line per model.",
        draw=partial(length_figure, group),
    )


def _rows(board: Board) -> str:
    """Which rows are drawn, in words."""
    if len(board.rows) <= ROWS_SHOWN:
        return "all models"
    return f"{ROWS_SHOWN} of {len(board.rows)} rows (the best of every model first)"
