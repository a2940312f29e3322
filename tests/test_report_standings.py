import dataclasses
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lra_bench.config.compose import compose
from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import Status
from lra_bench.report.aggregate import aggregate
from lra_bench.report.standings.assembly import frame, standings, tables
from lra_bench.report.standings.averages import of_samples
from lra_bench.report.standings.suites import LRA, SIX, STANDARD
from lra_bench.report.trial import Trial, measured
from tests.records import LRA_DEPTHS, TASK, boards_of, make_config, make_lra_record, make_record

FIVE_HEAD, SIX_HEAD = "Average of five (without Path-X)", "Average of six (a failed binary task as 50)"


def scores(model, values, seeds=3, **changes):
    """Records of one model: by task, an accuracy; seed 0 has it, the others lie 1 % below and above."""
    offsets = [0.0, -0.01, 0.01, -0.02, 0.02][:seeds]
    return [
        make_lra_record(task, model, seed=seed, val=value + offset, **changes)
        for task, value in values.items()
        for seed, offset in enumerate(offsets)
    ]


def all_six(model="s5", value=0.8, **changes):
    return scores(model, dict.fromkeys(SIX.tasks, value), **changes)


def rows_of(table):
    """Texts by group, first entry and column head."""
    heads = [column.header for column in table.columns]
    return {
        group.title: {row[0].text: dict(zip(heads, (entry.text for entry in row), strict=True)) for row in group.rows}
        for group in table.groups
    }


def entries_of(table, group="Measured"):
    heads = [column.header for column in table.columns]
    [rows] = [each.rows for each in table.groups if each.title == group]
    return {row[0].text: dict(zip(heads, row, strict=True)) for row in rows}


def only(records, **options):
    [found] = standings(boards_of(records), **options)
    return found


def places(records, **options):
    return [
        (each.suite.name, each.track, each.protocol, each.origin) for each in standings(boards_of(records), **options)
    ]


# What belongs together


@pytest.mark.parametrize("task", LRA)
def test_standard_settings_are_those_of_the_real_tasks(task):
    real = dataclasses.asdict(compose([f"task={task}", "model=stu"]).config.task)
    assert {key: value for key, value in real.items() if key not in ("name", "origin")} == STANDARD[task]


def test_suites_tracks_protocols_and_origins_are_apart():
    records = [
        *all_six(seeds=1),
        *all_six(seeds=1, track="recipe"),
        *all_six(seeds=1, protocol="legacy"),
        make_lra_record("listops", origin="generated"),
        make_lra_record("image_rgb"),
        make_record(),
    ]
    assert places(records) == [
        ("LRA", "recipe", "clean", "official"),
        ("LRA", "uniform", "clean", "official"),
        ("LRA", "uniform", "clean", "generated"),
        ("LRA", "uniform", "legacy", "official"),
        ("LDS", "uniform", "clean", None),
        ("OTHER", "uniform", "clean", "official"),
    ]


def test_records_in_any_order_give_the_same():
    records = [
        *all_six(),
        *all_six("lru", 0.7),
        make_record(),
        make_lra_record("text", task_settings={"level": "byte"}),
    ]
    assert tables(standings(boards_of(records))) == tables(standings(boards_of(records[::-1])))


@pytest.mark.parametrize(
    ("task", "changed", "head"),
    [
        ("listops", {"size": "tiny"}, "listops size=tiny (accuracy)"),
        ("text", {"level": "byte", "seq_len": 4000}, "text level=byte seq_len=4000 (accuracy)"),
        ("pathfinder", {"center": False}, "pathfinder center=false (accuracy)"),
    ],
)
def test_other_settings_have_a_table_without_average_and_published_numbers(task, changed, head):
    records = [*all_six(), make_lra_record(task, task_settings=changed, trial_id="other", val=0.99)]
    lra, other = standings(boards_of(records))
    assert {line.contender.label for line in lra.measured} == {"s5"}
    table = other.table()
    assert table.title == "LRA tasks with other settings"
    assert rows_of(table)["Measured"]["s5"][head] == "99.0 (1)"
    assert set(rows_of(table)) == {"Measured", "Floors"}
    assert not any("verage" in column.header for column in table.columns)
    assert any("not LRA's standard tasks" in note for note in table.notes)
    assert rows_of(lra.table())["Measured"]["s5"]["ListOps"] == "80.0 [79.0, 81.0] (3)"


def test_other_settings_alone_are_not_the_standard_task_either():
    assert places([make_lra_record("listops", task_settings={"size": "tiny"})]) == [
        ("LRA_OTHER", "uniform", "clean", "official")
    ]


def test_an_older_version_is_not_the_standard_column():
    old = make_lra_record("text", trial_id="old", val=0.99)
    newer = old.task.model_copy(update={"version": 2})
    records = [old, make_lra_record("text", task=newer, trial_id="new", val=0.7)]
    lra, other = standings(boards_of(records))
    assert rows_of(lra.table())["Measured"]["s5"]["Text"] == "70.0 (1)"
    assert rows_of(other.table())["Measured"]["s5"]["text version=1 (accuracy)"] == "99.0 (1)"
    assert lra.table().conditions == "uniform track, clean protocol, official data, task version 2"
    image = make_lra_record("image")
    assert only([records[1], image]).conditions.endswith("task versions: Text 2, Image 1")


def test_submitted_records_of_other_data_do_not_displace_what_was_measured_here():
    ours = make_lra_record("text", val=0.7)
    theirs = make_lra_record("text", task=ours.task.model_copy(update={"content": "else", "version": 9}), val=0.99)
    lra, other = standings(aggregate([Trial(ours), Trial(theirs, submission="alice")]))
    assert rows_of(lra.table())["Measured"]["s5"]["Text"] == "70.0 (1)"
    assert "Submitted" not in rows_of(lra.table())
    assert "content=else version=9" in other.columns[0].header


def test_colour_is_never_in_the_grey_column():
    records = [*scores("s5", {"listops": 0.5}), *scores("s5", {"image_rgb": 0.9})]
    lra, other = standings(boards_of(records))
    assert rows_of(lra.table())["Measured"]["s5"]["Image"] == "not run"
    assert list(rows_of(other.table())["Measured"]["s5"])[2] == "image_rgb (accuracy)"
    quoted = rows_of(lra.table())["Quoted from papers (never ranked with the others)"]
    assert quoted["LRU"]["Image"] == "– *"
    assert quoted["LRU"][FIVE_HEAD] == quoted["LRU"][SIX_HEAD] == "–"
    assert any(note.startswith("* measured on colour pictures") for note in lra.table().notes)
    coloured = rows_of(other.table())["Quoted from papers (never ranked with the others)"]
    assert coloured["LRU"]["image_rgb (accuracy)"] == "89.0"


def test_a_task_that_was_never_built_joins_the_only_table_it_can_be_of():
    failed = make_lra_record("text", "lru", status=Status.ERROR, val=None, task=None, model=None)
    assert places([*scores("s5", {"image": 0.7}), failed]) == [("LRA", "uniform", "clean", "official")]
    both = [*scores("s5", {"image": 0.7}), make_lra_record("listops", origin="generated"), failed]
    assert ("LRA", "uniform", "clean", None) in places(both)
    drawn = make_lra_record("pathx", "lru", status=Status.ERROR, val=None, task=None, origin="generated")
    assert places([drawn]) == [("LRA", "uniform", "clean", "generated")]


def test_a_task_that_was_never_built_here_stands_beside_submitted_results():
    failed = make_lra_record("text", "lru", status=Status.ERROR, val=None, task=None, model=None)
    [found] = standings(aggregate([Trial(failed), Trial(make_lra_record("text"), submission="alice")]))
    rows = rows_of(found.table())
    assert rows["Measured"]["lru"]["Text"] == "failed (1 of 1 error)"
    assert rows["Submitted"]["s5 submission=alice"]["Text"] == "60.0 (1)"


def test_mixed_tracks_and_protocols_share_a_table_but_no_row():
    records = [
        *all_six("s5", 0.8),
        *scores("s5", {"text": 0.9}, protocol="legacy"),
        *scores("lru", {"text": 0.9}, protocol="legacy"),
        *scores("lru", {"image": 0.9}),
    ]
    [found] = standings(aggregate(measured(records), mix=True), mix=True)
    assert (found.track, found.protocol) == ("uniform", "clean and legacy")
    measured_rows = rows_of(found.table())["Measured"]
    assert set(measured_rows) == {
        "s5 protocol=clean",
        "s5 protocol=legacy",
        "lru protocol=clean",
        "lru protocol=legacy",
    }
    assert measured_rows["s5 protocol=clean"]["Text"].startswith("80.0")
    assert measured_rows["lru protocol=clean"]["Text"] == "not run"
    assert any("mixed" in note for note in found.table().notes)


def test_mixed_boards_of_one_protocol_each_share_a_table():
    records = [*scores("s5", {"text": 0.9}, protocol="legacy"), *scores("s5", {"image": 0.9})]
    [found] = standings(aggregate(measured(records), mix=True), mix=True)
    assert found.protocol == "clean and legacy"
    assert len(places(records)) == 2


# Rows


def test_rows_of_different_depths_on_different_tasks_are_one():
    assert len({LRA_DEPTHS.get(task, 6) for task in SIX.tasks}) > 1
    found = only(all_six())
    assert [line.contender.label for line in found.measured] == ["s5"]
    assert found.measured[0].complete


def test_settings_that_differ_on_one_task_part_the_rows_on_all():
    wide = make_config("s5", seed=0)
    wide["model"]["width"] = 2
    narrow = [make_lra_record(task, "s5") for task in ("text", "image")]
    records = [
        *(
            record.model_copy(update={"config": {**record.config, "model": {"name": "s5", "width": 1}}})
            for record in narrow
        ),
        narrow[0].model_copy(update={"trial_id": "wide", "config": {**narrow[0].config, "model": wide["model"]}}),
    ]
    found = rows_of(only(records).table())["Measured"]
    assert found["s5 width=1"]["Image"] == "60.0 (1)"
    assert found["s5 width=2"]["Image"] == "not run"
    assert found["s5 width=2"]["Text"] == "60.0 (1)"


def test_submissions_are_rows_of_their_own():
    records = [make_lra_record(task, "s5") for task in ("text", "image")]
    trials = [Trial(records[0]), Trial(records[0], submission="alice"), Trial(records[1], submission="bob")]
    [found] = standings(aggregate(trials))
    table = rows_of(found.table())
    assert set(table["Measured"]) == {"s5"}
    assert table["Submitted"]["s5 submission=alice"]["Image"] == "not run"
    assert table["Submitted"]["s5 submission=bob"]["Image"] == "60.0 (1)"
    assert table["Submitted"]["s5 submission=bob"]["Text"] == "not run"


def test_hostile_model_names_are_names():
    hostile = [{"name": name} for name in ("<script>", "=1+1", "a|b", "\x1b[31m")] + [{"name": 7}]
    records = [
        make_record("stu", config={**make_config("stu"), "model": model}, trial_id=f"{place}")
        for place, model in enumerate(hostile)
    ]
    assert {line.contender.model for line in only(records).measured} == {str(model["name"]) for model in hostile}


# Numbers


def test_cells_by_hand():
    records = [
        *scores("s5", {"text": 0.8}, seeds=5),
        make_lra_record("image", "s5", val=0.5),
        *(
            make_lra_record("pathx", "s5", seed=seed, val=value, status=status)
            for seed, (value, status) in enumerate(
                [(0.5, Status.CHANCE), (0.51, Status.CHANCE), (0.9, Status.OK), (0.91, Status.OK), (0.92, Status.OK)]
            )
        ),
        *(
            make_lra_record("listops", "s5", seed=seed, rate=rate, val=None if fails else 0.4, status=status)
            for (seed, rate), fails, status in [
                ((0, 1e-3), True, Status.DIVERGED),
                ((1, 1e-3), False, Status.OK),
                ((0, 1e-2), True, Status.OOM),
                ((1, 1e-2), True, Status.DIVERGED),
            ]
        ),
    ]
    found = rows_of(only(records).table())["Measured"]["s5"]
    assert found["Text"] == "80.0 [78.0, 82.0] (5)"
    assert found["Image"] == "50.0 (1)"
    assert found["Path-X"] == "90.0 [50.0, 92.0] (2 of 5 chance)"
    assert found["ListOps"] == "failed (2 of 4 diverged, 1 of 4 oom)"
    assert found["Retrieval"] == "not run"


def test_missing_trials_are_counted_in_the_cell():
    records = [*scores("s5", {"text": 0.8}, seeds=3), *scores("lru", {"text": 0.7}, seeds=2)]
    found = rows_of(only(records).table())["Measured"]
    assert found["lru"]["Text"] == "69.5 [69.0, 70.0] (2; 1 missing)"


def test_a_trial_without_a_test_value_is_no_result():
    [record] = scores("s5", {"text": 0.8}, seeds=1)
    found = only([record.model_copy(update={"test": {}})])
    assert rows_of(found.table())["Measured"]["s5"]["Text"] == "failed (no test value)"
    assert frame([found])["n"].isna().all()


def test_errors_have_three_digits_and_no_percent():
    found = only([make_record(seed=seed, val=value) for seed, value in enumerate([0.0123, 0.02, 0.011])])
    table = found.table()
    assert rows_of(table)["Measured"]["stu"]["lds (nmse)"] == "0.0123 [0.0110, 0.0200] (3)"
    assert rows_of(table)["Floors"]["noise floor"]["lds (nmse)"] == "2.00e-5"
    assert not any("percent" in note for note in table.notes)


def test_averages_by_hand():
    values = {"listops": 0.5, "text": 0.8, "retrieval": 0.9, "image": 0.7, "pathfinder": 0.6, "pathx": 0.8}
    found = only(scores("s5", values))
    [line] = found.measured
    five, six = (line.averages[convention] for convention in found.conventions)
    assert five.value == pytest.approx(3.5 / 5)
    assert six.value == pytest.approx(4.3 / 6)
    assert five.low < five.value < five.high
    text = rows_of(found.table())["Measured"]["s5"]
    assert (text[FIVE_HEAD][:4], text[SIX_HEAD][:4]) == ("70.0", "71.7")


@pytest.mark.parametrize(
    ("status", "values", "six"),
    [
        (Status.CHANCE, [0.52, 0.52, 0.52], (5 * 0.8 + 0.5) / 6),
        (Status.DIVERGED, [None, 0.9, 0.9], (5 * 0.8 + 0.5) / 6),
        (Status.PREEMPTED, [None, 0.9, 0.9], None),
    ],
)
def test_a_failed_binary_task_counts_as_fifty_unless_it_is_still_to_be_continued(status, values, six):
    statuses = [status if value is None or status is Status.CHANCE else Status.OK for value in values]
    records = all_six() + [
        make_lra_record("pathx", "s5", seed=seed, val=value, status=each, trial_id=f"x{seed}")
        for seed, (value, each) in enumerate(zip(values, statuses, strict=True))
    ]
    found = only([record for record in records if record.task.name != "pathx" or record.trial_id.startswith("x")])
    [line] = found.measured
    five, six_convention = found.conventions
    assert line.averages[five].value == pytest.approx(0.8)
    if six is None:
        assert six_convention not in line.averages
    else:
        assert line.averages[six_convention].value == pytest.approx(six)


@pytest.mark.parametrize("pathx", [[0.5, 0.9, 0.9], [0.5, 0.5, 0.9, 0.9]])
def test_chance_on_half_of_the_seeds_or_fewer_is_no_failure(pathx):
    records = [record for record in all_six() if record.task.name != "pathx"] + [
        make_lra_record("pathx", "s5", seed=seed, val=value, status=Status.CHANCE if value == 0.5 else Status.OK)
        for seed, value in enumerate(pathx)
    ]
    [line] = only(records).measured
    assert line.averages[SIX].value == pytest.approx((5 * 0.8 + np.median(pathx)) / 6)


def test_a_failed_task_of_ten_classes_leaves_no_average():
    records = [record for record in all_six() if record.task.name != "image"]
    records += [make_lra_record("image", "s5", seed=seed, val=None, status=Status.DIVERGED) for seed in range(3)]
    [line] = only(records).measured
    assert (line.averages, line.rank) == ({}, None)


def test_incomplete_rows_are_neither_averaged_nor_ranked_and_stand_last():
    better = [record for record in all_six("lru", 0.99) if (record.task.name, record.seed) != ("text", 2)]
    found = only([*all_six(), *better])
    assert [line.contender.label for line in found.measured] == ["s5", "lru"]
    complete, incomplete = found.measured
    assert (complete.rank, incomplete.rank) == (1, None)
    assert incomplete.averages == {}
    assert incomplete.task_ranks == (1, None, 1, 1, 1, 1)
    assert [complete.task_ranks[place] for place in (0, 1)] == [2, 1]
    text = rows_of(found.table())["Measured"]["lru"]
    assert text[FIVE_HEAD] == text[SIX_HEAD] == text["Rank"] == "–"


def test_rows_without_pathx_have_the_average_of_five_alone():
    found = only(scores("s5", dict.fromkeys(SIX.tasks[:5], 0.8)))
    text = rows_of(found.table())["Measured"]["s5"]
    assert text[FIVE_HEAD].startswith("80.0")
    assert (text[SIX_HEAD], text["Path-X"], text["Rank"]) == ("–", "not run", "1")
    assert found.table().columns[1].note == "by the average of five"


def test_path256_is_a_column_and_in_no_average():
    with_path256 = only([*all_six(), *scores("s5", {"path256": 0.1})])
    assert rows_of(with_path256.table())["Measured"]["s5"]["Path-256"] == "10.0 [9.0, 11.0] (3)"
    assert with_path256.measured[0].averages == only(all_six()).measured[0].averages
    assert with_path256.measured[0].rank == 1
    assert not any(column.header == "Path-256" for column in only(all_six()).table().columns)


def test_generated_tasks_alone_have_no_average_and_no_published_numbers():
    found = only(scores("s5", {"listops": 0.5, "pathfinder": 0.9}, origin="generated"))
    table = found.table()
    assert [column.header for column in table.columns[:4]] == ["Model", "Mean rank", "ListOps", "Pathfinder"]
    assert set(rows_of(table)) == {"Measured", "Floors"}
    assert any("No average of six: nothing was run on Text, Retrieval, Image, Path-X" in note for note in table.notes)


def test_ranks_and_bold_share_what_cannot_be_told_apart():
    tasks = dict.fromkeys(SIX.tasks, 0.0)
    rng = np.random.default_rng(3)

    def noisy(model, level):
        return [
            make_lra_record(task, model, seed=seed, val=level + rng.normal(0, 0.01))
            for task in tasks
            for seed in range(5)
        ]

    found = only([*noisy("s5", 0.8), *noisy("s4", 0.8), *noisy("lru", 0.6)])
    assert {line.contender.label: line.rank for line in found.measured} == {"s5": 1, "s4": 1, "lru": 3}
    entries = entries_of(found.table())
    for head in ("ListOps", "Path-X", SIX_HEAD):
        assert [entries[model][head].best for model in ("s5", "s4", "lru")] == [True, True, False]


def test_errors_are_compared_by_their_logarithms():
    factors = (1e-3, 1e-2, 1e-1)
    records = [make_record("stu", seed=seed, val=factor) for seed, factor in enumerate(factors)]
    records += [make_record("lru", seed=seed, val=2 * factor) for seed, factor in enumerate(factors)]
    assert {line.contender.label: line.rank for line in only(records).measured} == {"stu": 1, "lru": 2}


def test_rows_at_chance_stand_behind_the_others_and_are_never_bold():
    def errors(model, values, status=Status.OK):
        return [make_record(model, seed=seed, val=value, status=status) for seed, value in enumerate(values)]

    alone = [*errors("stu", [0.99] * 3, Status.CHANCE), *errors("s4", [0.995] * 3, Status.CHANCE)]
    found = only([*alone, *errors("lru", [0.03, 0.09, 0.5]), *errors("s5", [0.03, 0.5, 0.09])])
    entries = entries_of(found.table())
    assert {name: (row["Rank"].text, row["lds (nmse)"].best) for name, row in entries.items()} == {
        "lru": ("1", True),
        "s5": ("1", True),
        "stu": ("3", False),
        "s4": ("3", False),
    }
    assert {row["lds (nmse)"].best for row in entries_of(only(alone).table()).values()} == {False}


def test_mean_rank_of_several_tasks_is_of_complete_rows():
    other = TASK.model_copy(update={"name": "lds_complex"})

    def errors(model, values):
        records = []
        for task, value in values.items():
            config = make_config(model)
            config["task"]["name"] = task
            info = TASK if task == "lds" else other
            records += [
                make_record(
                    model, seed=seed, val=value * factor, task=info, config=config, trial_id=f"{model}{task}{seed}"
                )
                for seed, factor in enumerate([1.0, 1.01, 0.99])
            ]
        return records

    found = only(
        [
            *errors("stu", {"lds": 1e-4, "lds_complex": 0.3}),
            *errors("lru", {"lds": 1e-2, "lds_complex": 0.1}),
            *errors("s4", {"lds": 1e-1, "lds_complex": 0.9}),
            *errors("s5", {"lds": 1e-6}),
        ]
    )
    assert found.table().columns[1].header == "Mean rank"
    assert {line.contender.label: line.rank for line in found.measured} == {"lru": 2, "stu": 2, "s4": 3.5, "s5": None}
    assert [line.contender.label for line in found.measured][-1] == "s5"


def test_columns_of_one_task_are_named_by_what_sets_them_apart_and_sorted_by_number():
    records = []
    for length in (1024, 128, 512):
        config = make_config()
        config["task"]["seq_len"] = length
        records.append(make_record(config=config, trial_id=f"{length}"))
    heads = [column.header for column in only(records).columns]
    assert heads == ["lds seq_len=128 (nmse)", "lds seq_len=512 (nmse)", "lds seq_len=1024 (nmse)"]


def test_floors_are_rows_of_their_own():
    rows = rows_of(only(all_six()).table())["Floors"]
    assert (rows["majority"]["Text"], rows["majority"]["Image"], rows["bag of tokens"]["Text"]) == (
        "50.0",
        "10.0",
        "57.0",
    )
    assert rows["majority"][SIX_HEAD] == "–"


def test_floors_measured_here_come_first():
    ours, theirs = make_lra_record("text"), make_lra_record("text", seed=1)
    other = theirs.task.model_copy(
        update={"baselines": {"majority": {"accuracy": 0.9}, "first_token": {"accuracy": 0.6}}}
    )
    [found] = standings(aggregate([Trial(ours), Trial(theirs.model_copy(update={"task": other}), submission="alice")]))
    rows = rows_of(found.table())["Floors"]
    assert (rows["majority"]["Text"], rows["first token"]["Text"]) == ("50.0", "60.0")


def test_costs_are_of_the_most_demanding_task_and_hours_of_all_trials():
    def budget(seconds, speed, memory):
        return make_record().budget.model_copy(
            update={"seconds": seconds, "examples_per_second": speed, "peak_memory_mb": memory}
        )

    records = [
        make_lra_record("text", rate=1e-3, budget=budget(3600, 10.0, 500.0)),
        make_lra_record("text", rate=1e-2, budget=budget(1800, 10.0, 500.0), val=None, status=Status.DIVERGED),
        make_lra_record("image", budget=budget(900, 90.0, 100.0)),
    ]
    double = records[2].config | {"train": {**records[2].config["train"], "devices": 2}}
    [line] = only([*records[:2], records[2].model_copy(update={"config": double})]).measured
    found = entries_of(only([*records[:2], records[2].model_copy(update={"config": double})]).table())["s5"]
    assert line.contender.cost.examples_per_second == 10.0
    assert found["Peak memory (MB)"].text == "500"
    assert found["Device hours"].value == 1 + 0.5 + 2 * 0.25


# Published rows


def test_unverified_rows_say_so_in_a_group_of_their_own():
    table = rows_of(only(all_six()).table())
    unverified = table["Unverified (no text confirms these numbers)"]
    assert len(unverified) == 4
    assert all(name.endswith("(unverified)") for name in unverified)
    quoted = table["Quoted from papers (never ranked with the others)"]
    assert "S5 †" in quoted
    assert not any("unverified" in name for name in quoted)
    assert {row["Rank"] for row in [*quoted.values(), *unverified.values()]} == {"–"}


def test_quoted_rows_by_hand():
    quoted = entries_of(only(all_six()).table(), "Quoted from papers (never ranked with the others)")
    s5, transformer = quoted["S5 †"], quoted["Transformer"]
    assert (s5["ListOps"].text, s5[SIX_HEAD].text) == ("62.15", "87.46")
    assert s5["Model"].link == "https://arxiv.org/abs/2208.04933"
    assert (transformer["Path-X"].text, transformer[FIVE_HEAD].text, transformer[SIX_HEAD].text) == (
        "failed",
        "54.39",
        "53.66",
    )
    assert math.isnan(transformer["Path-X"].value)


def test_differences_have_our_interval():
    found = only(all_six(), against="S5")
    table = rows_of(found.differences())
    row = table["Measured"]["s5"]
    assert row["ListOps"] == "+17.9 [+16.9, +18.9]"
    assert row["Path-X"] == "-18.6 [-19.6, -17.6]"
    assert row[SIX_HEAD].startswith("-7.5 [")
    assert table["Quoted from papers (never ranked with the others)"]["S5 †"]["ListOps"] == "62.15 ± 0.23"
    assert [each.title for each in tables([found])] == [
        "Long Range Arena",
        "Long Range Arena: difference to S5, in percentage points",
    ]


def test_differences_to_colour_or_failed_numbers_do_not_exist():
    found = only(all_six(), against="LRU")
    row = rows_of(found.differences())["Measured"]["s5"]
    assert row["Image"] == row[FIVE_HEAD] == row[SIX_HEAD] == "–"
    assert row["ListOps"].startswith("+19.8")
    assert rows_of(only(all_six(), against="Transformer").differences())["Measured"]["s5"]["Path-X"] == "–"


def test_a_difference_to_an_unverified_row_says_so():
    table = only(all_six(), against="AR-STU").differences()
    assert table.title == "Long Range Arena: difference to AR-STU (unverified), in percentage points"
    assert "Unverified (no text confirms these numbers)" in rows_of(table)


def test_without_anything_to_compare_with_a_quoted_row_the_user_is_told():
    with pytest.raises(LraBenchError, match=r"nothing here can be compared with S5: .* Leave out --against"):
        standings(boards_of([make_record()]), against="S5")
    with pytest.raises(LraBenchError, match=r"nothing was published under the name 'S55'. Did you mean 'S5'"):
        standings(boards_of(all_six()), against="S55")


def test_what_is_printed_beside_a_quoted_number_stands_beside_the_difference_and_in_the_frame():
    [lra, other] = standings(boards_of([*all_six(), make_lra_record("image_rgb")]), against="LRU")
    quoted = rows_of(other.differences())["Quoted from papers (never ranked with the others)"]
    assert quoted["LRU"]["image_rgb (accuracy)"] == "89.0 ± 0.1"
    assert "± is as printed: a standard deviation or error over seeds." in other.differences().notes
    lines = frame([lra])
    [line] = lines[(lines["model"] == "LRU") & (lines["task"] == "listops")].to_dict("records")
    assert (line["median"], line["spread"]) == (pytest.approx(0.602), pytest.approx(0.008))


def test_notes_are_sentences():
    found = standings(boards_of([*all_six(), make_record(), make_lra_record("image_rgb")]), against="S5")
    for note in [note for table in tables(found) for note in table.notes]:
        assert note[-1] == "."
        assert not set(note) & set("{}")


def test_tables_without_against_have_no_differences():
    assert only(all_six()).differences() is None


# The frame


def test_every_trial_is_counted_in_the_frame():
    records = [
        *all_six(),
        *scores("lru", {"text": 0.7, "path256": 0.6}),
        make_lra_record("text", "lru", rate=1e-2, val=None, status=Status.DIVERGED),
        make_lra_record("text", "s4", val=None, status=Status.ERROR, task=None, model=None),
        make_lra_record("listops", task_settings={"size": "tiny"}, trial_id="tiny"),
        make_lra_record("image_rgb"),
        *(make_record(model, rate, seed) for model, rate, seed in product(("stu", "lru"), (1e-3, 1e-2), range(3))),
    ]
    trials = [*measured(records), *(Trial(record, submission="alice") for record in all_six("s5", 0.7))]
    found = frame(standings(aggregate(trials), against="S5"))
    assert found["trials"].sum() == len(trials)
    assert found["failed"].sum() == 2
    assert not found.duplicated(["suite", "track", "protocol", "origin", "tier", "model", "column"]).any()


def test_the_frame_by_hand():
    found = frame([only([*all_six(), make_lra_record("text", rate=1e-2, val=0.1)], against="S5")])
    line = found[(found["tier"] == "measured") & (found["task"] == "text")].iloc[0]
    assert (line["trials"], line["n"], line["missing"], line["best_rate"]) == (4, 3, 2, 1e-3)
    assert (line["median"], line["low"], line["high"]) == (0.8, 0.79, 0.81)
    assert line["mean"] == pytest.approx(0.8)
    assert (line["best_of_n"], line["complete"], line["metric"], line["task_version"]) == (0.81, False, "accuracy", 1)
    assert line["difference"] == pytest.approx(80 - 89.31)
    average = found[(found["tier"] == "measured") & (found["task"] == "average of six")].iloc[0]
    assert not average["complete"]
    assert found[(found["tier"] == "floor") & (found["task"] == "text")].set_index("model")["median"]["majority"] == 0.5
    quoted = found[(found["model"] == "AR-STU (unverified)") & (found["task"] == "listops")].iloc[0]
    assert (quoted["tier"], quoted["median"]) == ("unverified", pytest.approx(0.6114))


def test_an_empty_frame_has_its_columns():
    assert "median" in frame([]).columns


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(SIX.tasks), st.integers(0, 2), st.sampled_from(["run", "fail", "leave out", "chance"])
        ),
        max_size=12,
    )
)
def test_an_average_never_includes_an_incomplete_row(changes):
    plan = dict.fromkeys(product(SIX.tasks, range(3)), "run") | {(task, seed): what for task, seed, what in changes}
    outcome = {"run": (0.8, Status.OK), "fail": (None, Status.DIVERGED), "chance": (0.5, Status.CHANCE)}
    records = [
        make_lra_record(task, "lru", seed=seed, val=outcome[what][0], status=outcome[what][1])
        for (task, seed), what in plan.items()
        if what != "leave out"
    ]
    found = only([*all_six(), *records])
    lru = {line.contender.label: line for line in found.measured}.get("lru")
    for convention in found.conventions if lru else ():
        left_out = any(plan[task, seed] == "leave out" for task in convention.tasks for seed in range(3))
        failed = {task for task in convention.tasks if any(plan[task, seed] == "fail" for seed in range(3))}
        spared = {"text", "retrieval", "pathfinder", "pathx"} if convention is SIX else set()
        assert (convention in lru.averages) == (not left_out and failed <= spared)
        assert (lru.average_ranks.get(convention) is not None) <= (convention in lru.averages)


@pytest.mark.parametrize(("n", "low", "high"), [(3, 0.89, 0.96), (5, 0.94, 0.99), (10, 0.94, 0.99)])
def test_intervals_of_averages_cover_what_the_page_says(n, low, high, monkeypatch):
    monkeypatch.setattr("lra_bench.report.standings.averages.RESAMPLES", 500)
    rng = np.random.default_rng(5)
    spreads = np.array([0.5, 0.3, 0.2, 0.4, 1.0, 2.0])[:, None]
    drawn = [rng.normal(size=(6, n)) * spreads for _ in range(500)]
    intervals = [
        of_samples([{(seed, seed): value for seed, value in enumerate(row)} for row in each]) for each in drawn
    ]
    assert low <= np.mean([each.low <= 0 <= each.high for each in intervals]) <= high
