import math

import numpy as np
import pytest

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import Status
from lra_bench.report.board import UNKNOWN_METRIC, Metric
from lra_bench.report.cost import cost
from lra_bench.report.figures.medians import median_curve
from lra_bench.report.statistics import summarise
from lra_bench.report.tolerance import sensitivity, thresholds
from tests.records import TASK, boards_of, make_config, make_record

NMSE = Metric("nmse", higher_is_better=False, chance=1.0)
ACCURACY = Metric("accuracy", higher_is_better=True, chance=0.2)


def only_row(records):
    [board] = boards_of(records)
    [row] = board.rows
    return row


def row_of(values_by_rate, **changes):
    """One row with the given validation errors, None being a diverged trial."""
    return only_row(
        [
            make_record(rate=rate, seed=seed, val=val, status=Status.DIVERGED if val is None else Status.OK, **changes)
            for rate, values in values_by_rate.items()
            for seed, val in enumerate(values)
        ]
    )


def test_summary_by_hand():
    summary = summarise([4.0, 1.0, 2.0, 5.0])
    assert (summary.n, summary.median, summary.mean) == (4, 3.0, 3.0)
    assert (summary.minimum, summary.maximum) == (summary.low, summary.high) == (1.0, 5.0)


def test_bootstrap_of_few_values_would_be_their_range():
    rng = np.random.default_rng(1)
    for n in range(2, 6):
        medians = np.median(np.arange(n)[rng.integers(n, size=(20_000, n))], axis=1)
        assert np.quantile(medians, [0.025, 0.975], method="inverted_cdf").tolist() == [0, n - 1]


def test_interval_is_inside_the_range_and_ignores_order():
    values = [float(v) for v in range(1, 12)]
    summary = summarise(values)
    assert summary.minimum < summary.low < summary.median < summary.high < summary.maximum
    assert summarise(values[::-1]) == summary


def test_interval_may_reach_the_failed():
    summary = summarise([1.0, 1.1, 1.2, 1.3, math.inf, math.inf, math.inf])
    assert (summary.low, summary.median, summary.high) == (1.0, 1.3, math.inf)


def test_failed_trials_take_part_in_the_median_as_worst():
    [cell] = row_of({0.1: [0.2, None, 0.4]}).cells
    assert (cell.val.median, cell.val.minimum, cell.val.maximum) == (0.4, 0.2, math.inf)
    assert cell.val.mean == math.inf
    assert (cell.n, cell.failures) == (3, {"diverged": 1})


def test_a_failed_trial_is_worst_even_if_it_had_measured_something():
    [cell] = only_row([make_record(val=0.01, status=Status.TIMEOUT)]).cells
    assert (cell.val.median, cell.test.median) == (math.inf, math.inf)


def test_worst_of_a_score_is_minus_infinity():
    assert ACCURACY.worst == -math.inf
    assert ACCURACY.value(make_record(status=Status.OOM), {"accuracy": 0.9}) == -math.inf


def test_chance_is_a_result_and_a_missing_metric_a_failure():
    [cell] = only_row(
        [make_record(seed=0, val=0.99, status=Status.CHANCE), make_record(seed=1, val=None, status=Status.OK)]
    ).cells
    assert cell.failures == {"no value": 1}
    assert cell.val.minimum == 0.99


def test_best_rate_has_the_best_mean_validation_metric():
    # medians favour 0.1, means favour 0.01; the test metric would favour 0.1
    row = only_row(
        [
            make_record(rate=rate, seed=seed, val=val, test=test)
            for rate, vals, test in (
                (0.01, (0.3, 0.3, 0.3), 0.9),
                (0.1, (0.1, 0.1, 0.9), 0.1),
                (1.0, (0.5, 0.5, 0.5), 0.5),
            )
            for seed, val in enumerate(vals)
        ]
    )
    found = sensitivity(row, NMSE)
    assert found.best is not None
    assert found.best.rate == 0.01
    assert found.best.test.median == 0.9


def test_a_rate_with_a_failed_seed_is_never_best():
    found = sensitivity(row_of({0.01: [0.5, 0.5, 0.5], 0.1: [0.1, 0.1, None]}), NMSE)
    assert found.best is not None
    assert found.best.rate == 0.01


def test_no_best_rate_where_every_rate_has_a_failed_seed():
    found = sensitivity(row_of({0.01: [0.1, 0.1, None], 0.1: [None, 0.01, 0.01]}), NMSE)
    assert found.best is None
    assert not found.at_edge
    assert found.widths[0] is not None
    assert found.widths[0].decades == pytest.approx(1)


@pytest.mark.parametrize(
    ("errors", "at_edge"), [((0.3, 0.1, 0.2), False), ((0.1, 0.2, 0.3), True), ((0.3, 0.2, 0.1), True), ((0.1,), True)]
)
def test_edge_flag(errors, at_edge):
    row = row_of({10.0**-place: [error] for place, error in enumerate(reversed(errors))})
    assert sensitivity(row, NMSE).at_edge is at_edge


def test_thresholds_by_hand():
    assert thresholds(NMSE) == pytest.approx((0.1, 0.01))
    assert thresholds(ACCURACY) == pytest.approx((0.6, 0.92))
    assert thresholds(UNKNOWN_METRIC) == ()


def test_tolerance_by_hand():
    errors = {1e-4: 0.5, 1e-3: 0.09, 1e-2: 0.005, 1e-1: 0.1, 1.0: 0.5, 10.0: 0.02}
    found = sensitivity(row_of({rate: [error] for rate, error in errors.items()}), NMSE)
    good, very_good = found.widths
    assert good is not None
    assert (good.low, good.high, good.open_ended) == (1e-3, 1e-1, False)
    assert good.decades == pytest.approx(2)
    assert very_good is not None
    assert (very_good.decades, very_good.open_ended) == (0, False)
    assert found.own_width is not None
    assert found.own_width.decades == 0


def test_a_uniformly_bad_model_has_no_tolerance():
    found = sensitivity(row_of({rate: [0.5, 0.5, 0.5] for rate in (1e-4, 1e-3, 1e-2, 1e-1)}), NMSE)
    assert found.widths == (None, None)
    assert found.own_width is not None
    assert found.own_width.decades == pytest.approx(3)
    assert found.own_width.open_ended


def test_tolerance_of_all_failed_is_none():
    found = sensitivity(row_of({0.1: [None, None], 1.0: [None, None]}), NMSE)
    assert (found.best, found.widths, found.own_width) == (None, (None, None), None)


def test_tolerance_of_scores():
    task = TASK.model_copy(update={"metric": "accuracy", "higher_is_better": True, "chance": 0.2, "baselines": {}})
    records = [
        make_record(rate=rate, task=task, val=None).model_copy(update={"val": {"accuracy": value}})
        for rate, value in ((0.001, 0.3), (0.01, 0.7), (0.1, 0.8), (1.0, 0.5))
    ]
    [board] = boards_of(records)
    found = sensitivity(board.rows[0], board.metric)
    assert found.best is not None
    assert found.best.rate == 0.1
    assert found.widths[0] is not None
    assert (found.widths[0].low, found.widths[0].high) == (0.01, 0.1)
    assert found.widths[1] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"track": "recipe"},
        {"protocol": "legacy"},
        {"task": TASK.model_copy(update={"version": 2})},
        {"task": TASK.model_copy(update={"metric": "mse"})},
        {"config": {**make_config(), "task": {"name": "lds", "seq_len": 1024}}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_boards_never_mix(changes):
    boards = boards_of([make_record(), make_record(trial_id="other", **changes)])
    assert [len(board.trials) for board in boards] == [1, 1]


def test_boards_of_one_task_are_told_apart_by_their_settings_and_sorted_by_their_numbers():
    other = make_config()
    other["task"]["seq_len"] = 1024
    labels = [board.label for board in boards_of([make_record(), make_record(trial_id="other", config=other)])]
    assert labels == ["lds seq_len=512", "lds seq_len=1024"]


def test_rows_differ_in_what_defines_them_and_say_so():
    wide = make_config("stu", num_filters=32)
    elsewhere = make_config("stu")
    elsewhere["train"]["threads"] = 8
    elsewhere["study"] = "other"
    [board] = boards_of(
        [
            make_record(),
            make_record(trial_id="wide", config=wide),
            make_record(trial_id="elsewhere", seed=1, config=elsewhere),
            make_record("lru"),
        ]
    )
    rows = {row.label: len(row.trials) for row in board.rows}
    assert rows == {"stu num_filters=24": 2, "stu num_filters=32": 1, "lru": 1}
    assert board.shared["optim.name"] == '"adam"'
    assert "model.num_filters" not in board.shared


def test_labels_name_the_whole_key_where_its_end_is_ambiguous():
    deep, wide = make_config(depth=2), make_config(depth=2)
    wide["backbone"]["depth"] = 3
    [board] = boards_of([make_record(trial_id="deep", config=deep), make_record(trial_id="wide", config=wide)])
    assert {row.label for row in board.rows} == {"stu backbone.depth=1", "stu backbone.depth=3"}


def test_a_trial_that_failed_before_its_task_was_built_joins_its_board():
    lost = make_record("lru", task=None, model=None, val=None, status=Status.ERROR)
    [board] = boards_of([make_record(), lost])
    assert {row.label: row.failures for row in board.rows} == {"stu": {}, "lru": {"error": 1}}
    assert board.version == 1


def test_a_trial_of_unknown_version_joins_no_board_if_there_are_two():
    second = make_record(trial_id="second", task=TASK.model_copy(update={"version": 2}))
    lost = make_record("lru", task=None, model=None, val=None, status=Status.ERROR)
    boards = boards_of([make_record(), second, lost])
    assert [board.version for board in boards] == [None, 1, 2]


def test_only_trials_without_task_and_model():
    [board] = boards_of([make_record(task=None, model=None, val=None, status=Status.ERROR)])
    assert board.metric is UNKNOWN_METRIC
    assert (board.task, board.version, board.failures) == ("lds", None, {"error": 1})


def test_incomplete_rows_say_so_and_come_last():
    complete = [make_record("lru", rate=rate, seed=seed, val=0.5) for rate in (0.1, 1.0) for seed in range(2)]
    partial = [make_record("stu", rate=0.1, seed=0, val=0.01), make_record("stu", rate=1.0, seed=1, val=0.01)]
    [board] = boards_of([*partial, *complete])
    assert [(row.label, row.missing) for row in board.rows] == [("lru", 0), ("stu", 2)]


def test_rates_that_did_not_move_are_found():
    records = [make_record(rate=rate, learning_rates={"default": rate, "ssm": 1e-3}) for rate in (0.01, 0.1)]
    assert only_row(records).fixed_groups == {"ssm": 1e-3}
    assert only_row(records[:1]).fixed_groups == {}


def test_cost_is_of_trials_that_ran_to_their_end():
    budget = make_record().budget
    records = [
        make_record(seed=0, budget=budget.model_copy(update={"seconds": 10.0})),
        make_record(seed=1, budget=budget.model_copy(update={"seconds": 20.0, "peak_memory_mb": None})),
        make_record(seed=2, val=None, status=Status.DIVERGED, budget=budget.model_copy(update={"seconds": 1.0})),
    ]
    found = cost(only_row(records))
    assert (found.seconds, found.peak_memory_mb, found.parameters) == (15.0, 300.0, 1234)


def test_a_failed_trial_is_worst_in_the_curve_after_its_end():
    def curve(*values):
        return [{"step": step, "val": {"nmse": value}} for step, value in enumerate(values, 1)]

    [cell] = only_row(
        [
            make_record(seed=0, curve=curve(0.9, 0.5, 0.1)),
            make_record(seed=1, curve=curve(0.8, 0.4, 0.2)),
            make_record(seed=2, val=None, status=Status.DIVERGED, curve=curve(0.7, None)),
        ]
    ).cells
    found = median_curve(cell, NMSE)
    assert (found.steps.tolist(), found.median.tolist()) == ([1, 2, 3], [0.8, 0.5, 0.2])


@pytest.mark.parametrize("rate", [0, -1.0, math.nan, math.inf, "0.1", None])
def test_a_record_without_a_learning_rate_is_named(rate):
    with pytest.raises(LraBenchError, match="stu-1"):
        boards_of([make_record(trial_id="stu-1", config=make_config(rate=rate))])


@pytest.mark.parametrize("key", ["task", "model", "optim"])
def test_a_record_without_a_section_is_named(key):
    config = make_config()
    config[key] = {}
    with pytest.raises(LraBenchError, match=f"stu-1 has no {key}"):
        boards_of([make_record(trial_id="stu-1", config=config)])


def test_no_records():
    with pytest.raises(LraBenchError, match="lra-bench sweep run quickstart"):
        boards_of([])
