"""A search over many settings of one model: its rows keep names that people can tell apart."""

from dataclasses import replace
from itertools import pairwise, product

from lra_bench.report.aggregate import aggregate
from lra_bench.report.board import Board
from lra_bench.report.figures.axes import ROWS_SHOWN
from lra_bench.report.figures.curves import curves_figure
from lra_bench.report.files.search import FILE_NAME
from lra_bench.report.formats.page_tables import trials_table
from lra_bench.report.formats.terminal import LONG, WIDTH, terminal_text
from lra_bench.report.labels import labels
from lra_bench.report.rate_table import rate_table
from lra_bench.report.trial import Trial
from tests.records import boards_of, make_config, make_record

PHASES = (6.283185307179586, 0.3141592653589793)
FULL = "lru gamma_norm=true max_phase=0.3142 r_min=0.0 stable_exp=true"
LETTER = 10
"""Width of a letter of a panel's title, and a little more, at 100 dots per inch."""


def searched() -> Board:
    """36 settings of LRU."""
    tried = product(PHASES, (0.0, 0.9, 0.99), (True, False, None), (True, False))
    keys = ("max_phase", "r_min", "gamma_norm", "stable_exp")
    settings = [dict(zip(keys, values, strict=True)) for values in tried]
    [board] = boards_of(
        make_record("lru", val=0.1 + place / 1000, trial_id=str(place), config=make_config("lru", **each))
        for place, each in enumerate(settings)
    )
    return board


def test_numbers_of_many_decimals_are_rounded_in_names():
    assert FULL in {row.label for row in searched().rows}
    phases = [("lru", {"model.max_phase": repr(phase), "model.r_min": "0.9999"}) for phase in PHASES]
    assert labels([*phases, ("stu", {"model.r_min": "0.12345678"})]) == [
        "lru max_phase=6.283",
        "lru max_phase=0.3142",
        "stu",
    ]


def test_names_that_rounding_would_make_equal_keep_all_their_digits():
    for values in (["0.99999", "0.999999"], ["0.12345678901", "0.12345678902"]):
        assert labels([("lru", {"model.r_max": value}) for value in values]) == [f"lru r_max={each}" for each in values]


def test_names_that_cutting_would_make_equal_stand_above_their_numbers():
    lines = terminal_text(rate_table(searched())).splitlines()
    assert lines.count(FULL) == 1
    name = next(place for place, line in enumerate(lines) if line == FULL)
    assert lines[name + 1].split()[:2] == ["0.001", "(edge)"]
    assert max(map(len, lines)) <= WIDTH


def test_names_that_can_be_cut_stay_beside_their_numbers():
    [board] = boards_of([make_record(name * 45, val=0.1) for name in ("ab", "cd")])
    assert len(terminal_text(rate_table(board)).splitlines()) == len(["title", "head", "ab", "cd"])


def test_long_tables_are_a_glance_on_a_terminal():
    board = searched()
    lines = terminal_text(rate_table(board)).splitlines()
    assert lines[-1] == f"... and {len(board.rows) - LONG} more, see the report"
    assert sum(line.startswith("lru ") for line in lines) == LONG
    few = replace(board, rows=board.rows[:LONG])
    assert "more" not in terminal_text(rate_table(few)).splitlines()[-1]


def test_titles_of_panels_are_a_letter_apart_and_leave_the_panels_their_height():
    figure = curves_figure(searched())
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    boxes = [axes._left_title.get_window_extent() for axes in panels]
    lines = [boxes[start : start + 3] for start in range(0, len(boxes), 3)]
    assert len(panels) == ROWS_SHOWN
    assert all(left.x1 + LETTER < right.x0 for line in lines for left, right in pairwise(line))
    assert all(axes.get_window_extent().height > 100 for axes in panels)


def test_trials_link_to_their_folder_or_to_their_record_in_a_submission(tmp_path):
    measured, sent = make_record(), make_record("lru")
    files = {measured.trial_id: tmp_path / "runs/a" / FILE_NAME, sent.trial_id: tmp_path / "results/lab/records/b.json"}
    [board] = aggregate(Trial(record, files[record.trial_id]) for record in (measured, sent))
    table = trials_table(board, tmp_path / "report")
    assert {entries[0].link for entries in table.rows} == {"../runs/a/", "../results/lab/records/b.json"}
