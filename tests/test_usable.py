"""Usable ranges seed by seed, against explicit loops, and verdicts on searches, counted by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import Status
from lra_bench.report import usable_difference, usable_range, usable_table
from lra_bench.report.formats.exports import markdown_table
from lra_bench.report.formats.terminal import WIDTH, terminal_text
from lra_bench.report.search_verdict import options_table, search_sentences, sentence, verdict, verdict_table
from lra_bench.report.sensitivity_frame import frame
from lra_bench.report.side_by_side import side_by_side
from lra_bench.report.tolerance import threshold
from lra_bench.report.usable import board_table, decades_text, failure_table
from tests.records import boards_of, make_config, make_lra_record, make_record, realistic_records

RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def board_with(name, *errors, rates=RATES):
    """A board of one model: validation errors (seeds, rates); None is not run, infinity diverged."""
    records = [
        make_record(name, rate, seed, None, status=Status.DIVERGED)
        if value == math.inf
        else make_record(name, rate, seed, value)
        for seed, line in enumerate(errors)
        for rate, value in zip(rates, line, strict=True)
        if value is not None
    ]
    return boards_of(records)[0]


def found_on(*errors, limit=0.1):
    board = board_with("stu", *errors)
    return usable_range(board.rows[0], board.metric, limit)


def slow_decades(errors, limit):
    """The width by trying every run of rates."""
    best = errors.index(min(errors))
    runs = [
        math.log10(RATES[last] / RATES[first])
        for first in range(best + 1)
        for last in range(best, len(errors))
        if all(error <= limit for error in errors[first : last + 1])
    ]
    return max(runs, default=-math.inf)


def test_each_seed_is_measured_around_its_own_best_rate():
    found = found_on([1.0, 0.1, 0.01, 1.0, 0.05], [0.01, 1.0, 1.0, 0.09, 0.05], [1.0, 0.5, 0.2, 0.5, 1.0])
    assert [width and width.decades for width in found.widths.values()] == [pytest.approx(1), 0.0, None]
    assert [width and width.open_ended for width in found.widths.values()] == [False, True, None]
    assert (found.open_ended, found.none, found.decades.n) == (1, 1, 3)
    assert (found.decades.low, found.decades.median) == (-math.inf, 0.0)


def test_any_errors_give_what_trying_every_run_gives():
    rng = np.random.default_rng(5)
    for _ in range(40):
        errors = np.exp(rng.normal(-2.3, 1.0, (3, len(RATES)))).tolist()
        found = found_on(*errors)
        assert [width.decades if width else -math.inf for width in found.widths.values()] == pytest.approx(
            [slow_decades(line, 0.1) for line in errors]
        )


def test_failed_trials_meet_nothing_and_rates_not_run_leave_a_range_open():
    one, other = found_on([1.0, 0.05, math.inf, 0.04, 1.0], [1.0, 0.05, 0.01, None, 0.01]).widths.values()
    assert (one.low, one.high, one.open_ended) == (1e-1, 1e-1, False)
    assert (other.low, other.high, other.open_ended) == (1e-3, 1e-2, True)
    assert found_on([math.inf] * 5).none == 1


@pytest.mark.parametrize(
    ("errors", "text"),
    [
        ([[1, 0.01, 0.01, 1, 1]], "1.0"),
        ([[1, 0.01, 0.01, 0.01, 0.01]], "≥3.0"),
        ([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1]], "none"),
        ([[1, 0.01, 0.01, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]], "none [none, 1.0]"),
        ([[0.01] * 5, [1, 0.01, 0.01, 1, 1], [1, 0.01, 0.01, 1, 1]], "1.0 [1.0, 4.0]"),
        ([[0.01, 1, 1, 1, 1], [1, 0.01, 0.01, 1, 1], [1, 0.01, 0.01, 0.01, 1]], "≥1.0 [0.0, 2.0]"),
    ],
)
def test_the_sign_is_there_where_open_ends_could_move_the_median(errors, text):
    assert decades_text(found_on(*errors)) == text


def test_thresholds_of_scores_are_shares_of_the_gap():
    records = [make_lra_record("listops", "s5", rate, 0, val) for rate, val in ((1e-3, 0.56), (1e-2, 0.6), (1e-1, 0.5))]
    board = boards_of(records)[0]
    limit = threshold(board.metric, 0.5)
    assert limit == pytest.approx(0.55)
    (width,) = usable_range(board.rows[0], board.metric, limit).widths.values()
    assert (width.low, width.high, width.open_ended) == (1e-3, 1e-2, True)


def test_differences_are_taken_seed_by_seed():
    wide = found_on([0.01] * 5, [0.01] * 5, [1.0] * 5, [0.01] * 5)
    narrow = found_on([1, 0.01, 1, 1, 1], [1, 0.01, 0.01, 1, 1], [1.0] * 5)
    found = usable_difference(wide, narrow)
    assert (found.n, found.low, found.median, found.high) == (3, 0.0, pytest.approx(3), pytest.approx(4))
    assert usable_difference(wide, found_on([1.0] * 5)).median == math.inf
    assert usable_difference(wide, replace(narrow, widths={(9, 9): None})) is None


def many_systems():
    """Five systems, eight models, three seeds and rates; one model lacks the last system."""
    records = []
    for place, task in enumerate(("lds", "lds_asymmetric", "lds_complex", "lds_large", "lds_noisy")):
        for model in ("stu", "stu_ar", "lru", "s4d", "s4", "s5", "lstm", "transformer"):
            for seed in range(3):
                for rate in RATES:
                    config = make_config(model, rate, seed)
                    config["task"]["name"] = task
                    key, value = f"{task}-{model}-{rate}-{seed}", 0.01 if seed < 2 else 0.5
                    if place < 4 or model != "lstm":
                        records.append(make_record(model, rate, seed, value, config=config, trial_id=key))
    return boards_of(records)


def test_models_stand_side_by_side_on_all_systems():
    boards = many_systems()
    assert len(boards) == 5
    names = [name for name, _ in side_by_side(boards)]
    assert names == sorted({row.label for row in boards[0].rows})
    table = usable_table(boards, 0.1)
    shown = [line.replace("\\", "") for line in markdown_table(table).splitlines() if line.startswith("|")]
    assert len(shown) == 2 + 8
    assert max(map(len, shown)) <= 112
    assert max(map(len, terminal_text(table).splitlines())) <= WIDTH
    assert {row[0].text: row[5].text for row in table.rows} == dict.fromkeys(names, "≥4.0 [none, 4.0]") | {"lstm": "–"}


def test_failures_and_trials_at_chance_are_told_apart():
    records = [
        make_record("stu", 1e-3, 0, 0.1),
        make_record("stu", 1e-3, 1, 1.0, status=Status.CHANCE),
        make_record("stu", 1e-3, 2, None, status=Status.DIVERGED),
        make_record("stu", 1e-3, 3, None, status=Status.OOM),
    ]
    (row,) = failure_table(boards_of(records)).rows
    assert [entry.text for entry in row] == ["stu", "50% / 25%", "1 diverged, 1 oom"]
    assert board_table(boards_of(records)[0]).rows[0][-1].text == "1/4"


def test_the_frame_has_what_the_table_has():
    board = boards_of(realistic_records())[0]
    lines = frame([board]).set_index("model")
    columns = board_table(board).columns
    assert len(set(columns)) == len(columns), "notes are linked by their column"
    for row, entries in zip(board.rows, board_table(board).rows, strict=True):
        found = usable_range(row, board.metric, threshold(board.metric, 0.1))
        assert lines.loc[row.label, "good_usable_median"] == found.decades.median
        assert lines.loc[row.label, "good_usable_none"] == found.none
        assert entries[1].text == decades_text(found)


def search(settings, reference=(0.1, 0.2, 0.4)):
    """A reference of three seeds, and the errors of a model by setting, each at one rate."""
    records = [make_record("stu", 1e-2, seed, value) for seed, value in enumerate(reference)]
    for name, errors in settings.items():
        for seed, value in enumerate(errors):
            records.append(
                make_record(
                    "lru",
                    1e-3,
                    seed,
                    None if value is None else value,
                    status=Status.DIVERGED if value is None else Status.CHANCE if value == 1 else Status.OK,
                    config=make_config("lru", 1e-3, seed, ring=name),
                    trial_id=f"lru-{name}-{seed}",
                )
            )
    return boards_of(records)[0]


SETTINGS = {
    "beats": (0.09, 0.19, 0.39),
    "equal on one": (0.1, 0.1, 0.1),
    "twice": (0.2, 0.4, 0.8),
    "one seed failed": (0.05, 0.05, None),
    "above twice": (0.05, 0.41, 0.8),
    "chance": (1, 1, 1),
    "failed": (None, None, 1),
}


def test_a_search_counted_by_hand():
    found = verdict(search(SETTINGS), "lru", "stu")
    assert (found.configurations, found.beat, found.match, found.fail) == (7, 1, 3, 3)
    assert (found.failed_to_run, found.at_chance) == (1, 1)
    assert (found.reference, found.rate, found.seeds) == ("stu", 1e-2, 3)
    assert "one seed failed" in found.best
    assert found.best_ratio == pytest.approx(0.25)
    assert "Of 7 configurations of lru, 1 beat stu at its best learning rate 0.01, 3 match it, and 3 fail" in sentence(
        found
    )
    assert [entry.text for entry in verdict_table([found]).rows[0][2:8]] == ["7", "1", "3", "3", "1", "1"]


def test_only_shared_seeds_are_judged():
    found = verdict(search({"a": (0.09,), "b": (0.09, 0.3)}), "lru", "stu")
    assert (found.configurations, found.beat, found.match) == (2, 1, 1)


def test_options_of_the_best_tenth():
    settings = {f"{place}": (0.01 * place, 0.3, 0.3 + 0.01 * place) for place in range(1, 21)}
    found = verdict(search(settings), "lru", "stu")
    shares = {(each.name, each.value): (each.best, each.all) for each in found.options}
    assert shares["optim.lr", "0.001"] == (1.0, 1.0)
    assert sum(best for (name, _), (best, _) in shares.items() if name == "model.ring") == pytest.approx(1)
    assert {row[0].text for row in options_table(found).rows} == {"model.ring"}


def test_what_cannot_be_judged():
    board = search(SETTINGS)
    with pytest.raises(LraBenchError, match="there is no s5 on lds"):
        verdict(board, "s5", "stu")
    with pytest.raises(LraBenchError, match="failed at every learning rate"):
        verdict(search(SETTINGS, (0.1, 0.2, None)), "lru", "stu")
    assert search_sentences(board, [row for row in board.rows if row.label != "stu"])[0].startswith("Of 7 config")
    assert search_sentences(board, []) == ()
    assert search_sentences(board_with("stu", [0.1] * 5), []) == ()
