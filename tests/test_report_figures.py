import math
import re

import numpy as np
import pytest

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import Status
from lra_bench.report.aggregate import aggregate
from lra_bench.report.board import Metric
from lra_bench.report.content import Picture
from lra_bench.report.figures.axes import ROWS_SHOWN, log_ticks, shown_rows, spread
from lra_bench.report.figures.cost import cost_figure, length_figure, length_groups
from lra_bench.report.figures.curves import best_curves_figure, cloud, cloud_figure, curves_figure
from lra_bench.report.figures.features import features_figure
from lra_bench.report.figures.filters import filter_count_figure, filter_sweeps, filters_figure
from lra_bench.report.figures.gallery import Drawing, board_drawings, shared_drawings
from lra_bench.report.figures.medians import median_curve
from lra_bench.report.figures.pictures import FEW, paint
from lra_bench.report.figures.rates import sensitivity_figure
from lra_bench.report.sensitivity_frame import frame
from lra_bench.report.tolerance import area, best_cell
from lra_bench.report.trial import measured
from tests.records import TASK, boards_of, make_config, make_record, realistic_records

NMSE = Metric("nmse", higher_is_better=False, chance=1.0)
FILTERS = (np.array([0.3, 0.02, 1e-4]), np.eye(16, 3))


def curve(*values):
    return [{"step": step, "val": {"nmse": value}} for step, value in enumerate(values, 1)]


def trial(model="stu", rate=0.1, seed=0, val=0.1, length=512, points=(0.9, 0.5, 0.1), **settings):
    config = make_config(model, rate, seed, **settings)
    config["task"]["seq_len"] = length
    return make_record(
        model,
        rate,
        seed,
        val=val,
        status=Status.DIVERGED if val is None else Status.OK,
        config=config,
        trial_id=f"{model}-{rate}-{seed}-{length}-{settings}",
        curve=curve(*points),
    )


def only(boards):
    [board] = boards
    return board


def drawn_names(drawings):
    return {drawing.name for drawing in drawings if drawing.draw() is not None}


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.fixture(scope="module")
def board():
    return only(boards_of(realistic_records()))


def row_of(values, **changes):
    return only(boards_of([trial(rate=rate, val=val, **changes) for rate, val in values.items()])).rows[0]


def test_area_by_hand():
    # scores 0.5, 0.9 and 0 at 0, 1 and 3 decades: (0.7 * 1 + 0.45 * 2) / 3
    row = row_of({1e-3: 0.5, 1e-2: 0.1, 1.0: None})
    assert area(row.cells, NMSE) == pytest.approx(1.6 / 3)


@pytest.mark.parametrize(("value", "expected"), [(0.0, 1.0), (1.0, 0.0), (7.0, 0.0), (None, 0.0), (0.25, 0.75)])
def test_area_of_the_same_everywhere(value, expected):
    assert area(row_of({0.01: value, 0.1: value, 3.0: value}).cells, NMSE) == pytest.approx(expected)


def test_area_of_scores_is_measured_from_chance():
    task = TASK.model_copy(update={"metric": "accuracy", "higher_is_better": True, "chance": 0.2})
    records = [make_record(rate=rate, task=task, val=None) for rate in (0.1, 1.0)]
    records = [record.model_copy(update={"val": {"accuracy": 0.6}}) for record in records]
    found = only(boards_of(records))
    assert area(found.rows[0].cells, found.metric) == pytest.approx(0.5)


def test_there_is_no_area_of_one_rate_or_without_chance():
    assert area(row_of({0.1: 0.1}).cells, NMSE) is None
    assert area(row_of({0.1: 0.1, 1.0: 0.1}).cells, Metric("nmse", False, math.nan)) is None


def test_frame():
    records = [trial(rate=rate, seed=seed, val=val) for rate, val in ((0.01, 0.2), (0.1, 0.05)) for seed in (0, 1)]
    records += [trial(rate=1.0, seed=0, val=None), trial(rate=1.0, seed=1, val=0.5)]
    [line] = frame(boards_of(records)).to_dict("records")
    assert (line["model"], line["trials"], line["best_rate"], line["best_rate_at_edge"]) == ("stu", 6, 0.1, False)
    assert (line["good_threshold"], line["good_decades"], line["very_good_decades"]) == (0.1, 0.0, None)
    assert line["area"] == pytest.approx((0.8 + 2 * 0.95 + 0) / 4)
    assert (line["diverged"], line["diverged_per_rate"]) == (pytest.approx(1 / 6), "1: 0.5")
    assert line["test_median"] == 0.05


def test_frame_without_any_result():
    [line] = frame(boards_of([make_record(task=None, model=None, val=None, status=Status.ERROR)])).to_dict("records")
    assert (line["best_rate"], line["good_threshold"], line["area"], line["parameters"]) == (None, None, None, None)


def test_median_curve_and_its_range():
    records = [trial(seed=seed, points=points) for seed, points in enumerate([(0.9, 0.5), (0.7, 0.1, 0.2), (0.8, 0.6)])]
    found = median_curve(only(boards_of(records)).rows[0].cells[0], NMSE)
    assert found.steps.tolist() == [1, 2, 3]
    assert found.median.tolist() == pytest.approx([0.8, 0.5, 0.2])
    assert (found.low.tolist(), found.high.tolist()) == ([0.7, 0.1, 0.2], [0.9, 0.6, 0.2])


def test_a_trial_that_failed_before_its_first_point_is_worst_from_the_start():
    records = [trial(seed=0, points=(0.9, 0.5)), trial(seed=1, val=None, points=())]
    found = median_curve(only(boards_of(records)).rows[0].cells[0], NMSE)
    assert found.median.tolist() == [math.inf, math.inf]


def test_sensitivity_shows_every_row_its_best_rate_and_its_failures(board):
    figure = sensitivity_figure(board)
    above, below = figure.axes
    rings = [line for line in above.lines if line.get_markerfacecolor() == "none" and line.get_marker() == "o"]
    assert [float(ring.get_xdata()[0]) for ring in rings] == [0.1, 0.003, 0.003]
    assert [label.get_text() for label in below.get_yticklabels()] == ["stu", "lru", "transformer"]
    shown = [text.get_text() for text in below.texts]
    assert [text for text in shown if text != "·"] == ["1/3", "3/3", "3/3", "3/3", "3/3"]
    figure.draw_without_rendering()
    assert below.get_position().y1 < above.get_position().y0


@pytest.mark.parametrize(("best", "arrows"), [(0.01, 1), (0.1, 0), (1.0, 1)])
def test_a_best_rate_at_the_edge_has_an_arrow(best, arrows):
    records = [trial(rate=rate, val=0.1 if rate == best else 0.5) for rate in (0.01, 0.1, 1.0)]
    above = sensitivity_figure(only(boards_of(records))).axes[0]
    assert sum(text.arrow_patch is not None for text in above.texts) == arrows


def test_curves_have_a_panel_per_row_and_a_line_per_rate(board):
    panels = [axes for axes in curves_figure(board).axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == ["stu", "lru", "transformer"]
    assert all(len([line for line in axes.lines if line.get_marker() != "x"]) == 8 for axes in panels)


def test_best_curves_are_those_of_the_best_rates(board):
    figure = best_curves_figure(board)
    best = best_cell(board.rows[0].cells, board.metric)
    assert figure.axes[0].lines[0].get_ydata().tolist() == median_curve(best, board.metric).median.tolist()
    assert [text.get_text() for text in figure.legends[0].texts] == ["stu", "lru", "transformer"]


def test_no_best_curves_where_there_are_none():
    assert best_curves_figure(only(boards_of([trial(points=())]))) is None
    assert best_curves_figure(only(boards_of([trial(val=None)]))) is None


def filter_trials(**changes):
    return [
        trial(rate=rate, seed=seed, val=val * (1 + seed), num_filters=count, **changes)
        for count, error in ((1, 0.5), (4, 0.1), (16, 0.01))
        for rate, val in ((0.1, error), (1.0, 3 * error))
        for seed in range(3)
    ]


def test_error_against_the_number_of_filters():
    board = only(boards_of([*filter_trials(), trial("lru", val=0.3)]))
    [sweep] = filter_sweeps(board)
    assert (sweep.name, sweep.counts) == ("stu", (1, 4, 16))
    assert [test.median for test in sweep.tests] == pytest.approx([1.0, 0.2, 0.02])
    figure = filter_count_figure(board)
    middle, guide = figure.axes[0].lines
    assert middle.get_xdata().tolist() == [1, 4, 16]
    slope = np.diff(np.log(guide.get_ydata())) / np.diff(guide.get_xdata())
    assert slope == pytest.approx(-(math.pi**2) / (4 * math.log(512)))
    assert "L = 512" in figure.legends[0].texts[1].get_text()


def test_sweeps_over_filters_that_differ_in_more_are_lines_of_their_own():
    board = only(boards_of([*filter_trials(), *filter_trials(ar_order=0)]))
    assert [sweep.name for sweep in filter_sweeps(board)] == ["stu ar_order=0", "stu ar_order=2"]


def test_a_count_without_a_best_rate_is_a_cross():
    records = [*filter_trials(), trial(val=None, num_filters=30)]
    figure = filter_count_figure(only(boards_of(records)))
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert [line.get_xdata()[0] for line in crosses] == [30]


def test_one_number_of_filters_is_no_sweep(board):
    assert filter_count_figure(board) is None
    hostile = [trial(num_filters=count) for count in ("<b>", None, 2.5)]
    assert filter_count_figure(only(boards_of(hostile))) is None


def test_the_eigenvalues_fall_at_least_as_fast_as_the_slope_that_is_drawn():
    from lra_bench.nn.ops.spectral import spectral_filters

    for length in (128, 1024):
        sigma, _ = spectral_filters(length, 24)
        assert np.all(np.diff(np.log(sigma)) <= -(math.pi**2) / (4 * math.log(length)))


def lru_trials():
    return [
        trial("lru", rate, val=rate * error, points=(1, rate * error), r_min=r_min)
        for r_min, error in ((0.0, 3.0), (0.5, 2.0), (0.9, 1.0))
        for rate in (0.1, 0.2)
    ]


def test_the_cloud_is_of_the_model_with_most_rows_against_the_best_of_each():
    board = only(boards_of([*lru_trials(), trial("stu", points=(1.0, 0.05), val=0.05)]))
    assert {row.label for row in cloud(board)} == {"lru r_min=0.0", "lru r_min=0.5", "lru r_min=0.9"}
    figure = cloud_figure(board)
    [lines] = figure.axes[0].collections
    assert len(lines.get_segments()) == 6
    assert [line.get_ydata()[-1] for line in figure.axes[0].lines] == [0.1, 0.05]
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "lru: 3 settings, 6 curves",
        "lru: best",
        "stu: best",
    ]


def test_no_cloud_of_two_rows(board):
    assert cloud_figure(board) is None


def test_cost_has_a_panel_for_each_amount_that_was_measured(board):
    figure = cost_figure(board)
    shown = [axes.get_xlabel() for axes in figure.axes if axes.get_visible()]
    assert shown == ["parameters", "seconds per trial", "examples per second", "peak memory (MB)"]
    assert [line.get_xdata()[0] for line in figure.axes[0].lines] == [1335, 2243, 8963]


def test_cost_leaves_out_what_is_not_known():
    budget = make_record().budget.model_copy(update={"peak_memory_mb": None, "seconds": 0.0})
    figure = cost_figure(only(boards_of([make_record(budget=budget)])))
    assert [a.get_xlabel() for a in figure.axes if a.get_visible()] == ["parameters", "examples per second"]
    assert cost_figure(only(boards_of([make_record(val=None, status=Status.OOM)]))) is None


def test_growth_with_length():
    records = [trial(model, length=length) for model in ("stu", "lru") for length in (1024, 128, 512)]
    [group] = length_groups(boards_of([*records, trial(length=128).model_copy(update={"protocol": "legacy"})]))
    assert [found.shared["task.seq_len"] for found in group] == ["128", "512", "1024"]
    figure = length_figure(group)
    assert len(figure.axes) == 3
    assert figure.axes[1].lines[0].get_xdata().tolist() == [128, 512, 1024]
    assert sorted(text.get_text() for text in figure.legends[0].texts) == ["lru", "stu"]


def test_one_length_is_no_growth(board):
    assert length_groups([board]) == []


def test_filters_and_features():
    assert len(filters_figure(*FILTERS).axes[1].lines) == 3
    assert "φ₃" in [text.get_text() for axes in features_figure(FILTERS[1]).axes[0].child_axes for text in axes.texts]
    for phi in (None, np.ones((4, 1))):
        features_figure(phi).draw_without_rendering()


def test_the_words_of_the_features_lie_apart():
    figure = features_figure(FILTERS[1])
    figure.draw_without_rendering()
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text()]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_at_most_so_many_rows_are_drawn_and_each_model_is_among_them():
    records = [trial(num_filters=count, val=0.001 * count) for count in range(1, 30)]
    board = only(boards_of([*records, trial("lru", val=0.9), trial("s5", val=None)]))
    labels = [row.label for row in shown_rows(board)]
    assert len(labels) == ROWS_SHOWN
    assert labels[:2] == ["stu num_filters=1", "stu num_filters=2"]
    assert labels[-2:] == ["lru", "s5"]
    assert f"{ROWS_SHOWN} of 31 rows" in board_drawings(board, 1)[0].caption


def test_gallery_has_what_there_is_data_for(board):
    assert drawn_names(board_drawings(board, 3)) == {
        f"3-lds-{kind}" for kind in ("sensitivity", "curves", "best", "cost")
    }
    several = only(boards_of([*filter_trials(), *lru_trials()]))
    assert {"1-lds-filters", "1-lds-cloud"} <= drawn_names(board_drawings(several, 1))
    assert drawn_names(shared_drawings([board], None)) == {"features"}
    lengths = boards_of([trial(length=length) for length in (128, 256)])
    assert drawn_names(shared_drawings(lengths, FILTERS)) == {"length-1-lds", "filters", "features"}
    assert shared_drawings(boards_of([make_record("lru")]), None) == []


def test_every_drawing_says_what_it_is(board):
    for drawing in [*board_drawings(board, 1), *shared_drawings([board], FILTERS)]:
        assert re.fullmatch(r"[a-z0-9-]+", drawing.name)
        assert drawing.title
        assert drawing.alt
        assert "{" not in drawing.caption + drawing.alt


def test_pictures_are_the_same_bytes_every_time(tmp_path):
    drawings = board_drawings(only(boards_of([*filter_trials(), *lru_trials()])), 1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    done = []
    first = paint(drawings, tmp_path / "a", lambda *counts: done.append(counts))
    assert paint(drawings, tmp_path / "b") == first
    assert done == [(place, 6) for place in range(1, 7)]
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(f"{p.name}.{kind}" for p in first for kind in ("svg", "png", "pdf"))
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_pictures_painted_by_other_processes_are_the_same(tmp_path, board, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    drawing = board_drawings(board, 1)[-1]
    many = [Drawing(f"p{place}", "", "", "", drawing.draw) for place in range(FEW + 1)]
    done = []
    pictures = paint(many, tmp_path, lambda *counts: done.append(counts))
    [here] = paint(many[:1], tmp_path)
    assert pictures[0] == here
    assert [picture.name for picture in pictures] == [each.name for each in many]
    assert done[-1] == (len(many), len(many))
    assert done == sorted(done)


def test_ids_of_a_picture_begin_with_its_name(tmp_path, board):
    [picture] = paint(board_drawings(board, 7)[:1], tmp_path)
    assert isinstance(picture, Picture)
    ids = re.findall(r'\bid="([^"]+)"', picture.svg)
    assert ids
    assert all(found.startswith("7-lds-sensitivity-") for found in ids)
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', picture.svg)
    assert set(used) <= set(ids)


def test_a_picture_that_cannot_be_written_is_named(tmp_path, board, monkeypatch):
    with pytest.raises(LraBenchError, match=r"cannot write the figure.*1-lds-sensitivity.*No such file"):
        paint(board_drawings(board, 1), tmp_path / "nowhere")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    many = [*board_drawings(board, 1), *board_drawings(board, 2), *board_drawings(board, 3)]
    with pytest.raises(LraBenchError, match="cannot write the figure"):
        paint(many, tmp_path / "nowhere")


@pytest.mark.parametrize("val", [0.0, -1e-90, 5e-324, 1.7e308, None])
def test_a_single_value_can_be_drawn_whatever_it_is(val, tmp_path):
    boards = boards_of([trial(val=val, points=(val,), num_filters=count) for count in (1, 2, 3)])
    for drawing in board_drawings(boards[0], 1):
        if (figure := drawing.draw()) is not None:
            figure.draw_without_rendering()


def test_names_that_are_formulas_or_empty_can_be_drawn():
    records = [trial(name, points=(0.5,)) for name in ("$\\frac$", "", "_x", "模型")]
    for drawing in board_drawings(only(aggregate(measured(records))), 1):
        if (figure := drawing.draw()) is not None:
            figure.draw_without_rendering()


def test_names_of_lines_lie_apart():
    assert spread([0.1, 0.11, 0.5], 0.05) == pytest.approx([0.1, 0.15, 0.5])
    assert spread([0.98, 0.99, 1.0], 0.05) == pytest.approx([0.9, 0.95, 1.0])


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(1e-3, 1.5, [1e-3, 1e-2, 0.1, 1]), (0.5, 20, [1, 3, 10]), (300, 460, [300, 350, 400, 450]), (1, 1.5, [1, 1.5])],
)
def test_ticks_of_a_logarithmic_axis(low, high, ticks):
    found = log_ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low <= tick <= high for tick in found)
    if len(ticks) > 2 and ticks[0] != 300:
        assert found == pytest.approx(ticks)
