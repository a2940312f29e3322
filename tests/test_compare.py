"""`lra-bench compare`, on records written to disk."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lra_bench.core.record import Status, TaskInfo
from tests.records import ENVIRONMENT, make_config, make_record, realistic_records

OLD, NEW = "aaaa" * 10, "bbbb" * 10
ACCURACY = TaskInfo(name="text", version=1, metric="accuracy", higher_is_better=True, chance=0.5, origin="official")


def write(records, folder="runs"):
    for place, record in enumerate(records):
        trial = Path(folder) / record.study / f"{place}-{record.model.name[:3]}"
        trial.mkdir(parents=True)
        record.write(trial / "record.json")


def trials(name="stu", errors=(0.1, 0.11, 0.12), rate=1e-3, start=0, commit=OLD, **model_settings):
    """A trial for each test error, with seeds from `start` on."""
    return [
        make_record(
            name,
            rate,
            seed,
            val=error,
            trial_id=f"{name}-{sorted(model_settings.items())}-{rate}-{seed}",
            config=make_config(name, rate, seed, **model_settings),
            environment=ENVIRONMENT.model_copy(update={"commit": commit}),
        )
        for seed, error in enumerate(errors, start)
    ]


def scores(name, values, **changes):
    """Trials on a task whose metric is a score."""
    return [
        make_record(name, 1e-3, seed, val=None, task=ACCURACY, **changes).model_copy(
            update={"val": {"accuracy": value}, "test": {"accuracy": value}}
        )
        for seed, value in enumerate(values)
    ]


def lines_of(result):
    lines = result.output.splitlines()
    assert all(len(line) <= 100 for line in lines), result.output
    assert all(line.isprintable() for line in lines)
    return lines


def line_of(result, start):
    [line] = [line for line in lines_of(result) if line.startswith(start)]
    return line.removeprefix(start).split()


def words(result):
    return " ".join(result.output.split())


def test_two_models(cli):
    write(realistic_records())
    result = cli("compare", "stu", "lru")
    assert "lds: measured, version 1, uniform track, clean protocol" in result.output
    assert "stu is better: its nmse is " in words(result)
    assert "times smaller [" in words(result)
    assert "paired over 3 seeds (p = " in words(result)
    assert line_of(result, "model.name") == ["stu", "lru"]
    assert line_of(result, "model.num_filters") == ["24", "unset"]
    assert line_of(result, "n ") == ["3", "3"]
    turned = words(cli("compare", "lru", "stu"))
    assert turned[turned.index("its nmse") :] == words(result)[words(result).index("its nmse") :]


def test_ratio_by_hand(cli):
    write(trials("stu", [0.01, 0.02, 0.04]) + trials("lru", [0.1, 0.2, 0.4]))
    result = cli("compare", "stu", "lru")
    assert "stu is better: its nmse is 10.0 times smaller [10.0, 10.0], paired over 3 seeds (p < 0.0001)." in words(
        result
    )
    assert line_of(result, "test nmse: median [interval]")[0::3] == ["0.0200", "0.200"]


def test_scores_in_points(cli):
    write(scores("stu", [0.80, 0.82, 0.84, 0.83]) + scores("lru", [0.70, 0.73, 0.73, 0.74]))
    result = cli("compare", "lru", "stu")
    assert "stu is better: its accuracy is 9.75 points higher [8.23, 11.27]" in words(result)
    assert line_of(result, "test accuracy (%): median [interval]")[:3] == ["73.00", "[70.00,", "74.00]"]


def test_what_it_would_take(cli):
    write(trials("stu", [0.1, 0.2, 0.3]) + trials("lru", [0.2, 0.21, 0.22]))
    said = words(cli("compare", "stu", "lru"))
    assert "stu and lru cannot be told apart: the nmse of stu is 1.15 times smaller [0.327, 4.08], paired" in said
    assert "A difference of this size takes about 100 seeds on each side to show." in said


def test_other_seeds(cli):
    write(trials("stu", [0.1, 0.11, 0.12]) + trials("lru", [0.3, 0.33, 0.31, 0.35], start=7))
    result = cli("compare", "stu", "lru")
    assert "by a two-sample bootstrap of 3 and 4 seeds" in words(result)
    assert line_of(result, "seeds  ") == ["0,", "1,", "2", "7,", "8,", "9,", "10"]


def test_too_few_seeds(cli):
    write(trials("stu", [0.1]) + trials("lru", [0.3, 0.4]))
    said = words(cli("compare", "stu", "lru"))
    assert "stu and lru cannot be told apart by 1 and 2 seeds. Run the same three or more on both sides." in said


def test_a_side_without_a_result(cli):
    failed = [make_record("lru", seed=seed, val=None, status=Status.DIVERGED) for seed in range(3)]
    write(trials("stu") + failed)
    assert "not compared: at every learning rate of lru a seed failed." in words(cli("compare", "stu", "lru"))


def test_two_commits_of_the_same_trials(cli):
    write(trials(errors=[0.3, 0.33, 0.36], commit=OLD), "runs/old")
    write(trials(errors=[0.1, 0.11, 0.12], commit=NEW), "runs/new")
    result = cli("compare", "commit=aaaa", "stu,commit=bbbb")
    assert "stu,commit=bbbb is better: its nmse is 3.00 times smaller" in words(result)
    assert line_of(result, "commit") == ["aaaaaaaaaa", "bbbbbbbbbb"]
    assert words(result) == words(
        cli("compare", "commit=aaaa", "stu,commit=bbbb", "--runs", "runs/new", "--runs", "runs")
    )
    by_folder = cli("compare", "runs/old", "runs/new,stu")
    assert "runs/new,stu is better" in words(by_folder)


def test_one_side_with_two_outcomes_of_a_trial(cli):
    write(trials(errors=[0.3, 0.33, 0.36], commit=OLD), "runs/old")
    write(trials(errors=[0.1, 0.11, 0.12], commit=NEW), "runs/new")
    write(trials("lru"))
    said = cli("compare", "stu", "lru", expect=2).output
    assert "two different outcomes" in said
    assert "stu,commit=HASH" in said


def test_settings_and_labels_choose_rows(cli):
    write(trials(num_filters=16, errors=[0.3, 0.31, 0.32]) + trials(num_filters=24, errors=[0.1, 0.11, 0.12]))
    by_setting = cli("compare", "model.num_filters=16", "model=stu,model.num_filters=24,task=lds")
    assert line_of(by_setting, "model.num_filters") == ["16", "24"]
    by_label = cli("compare", "stu num_filters=16", "stu num_filters=24")
    assert line_of(by_label, "model.num_filters") == ["16", "24"]
    assert "stu num_filters=24 is better" in words(by_label)


def test_recipes(cli):
    records = [
        record.model_copy(update={"config": {**record.config, "recipe": f"lds/{name}"}})
        for name in ("stu", "lru")
        for record in trials(name)
    ]
    write(records)
    result = cli("compare", "recipe=lds/stu", "recipe=lds/lru")
    assert line_of(result, "recipe  ") == ["lds/stu", "lds/lru"]


@pytest.mark.parametrize(
    ("chosen", "value"), [("model.lags=[2,5]", [2, 5]), ("model.lags=0.01", 1e-2), ("model.lags=null", None)]
)
def test_values_are_json_or_words(cli, chosen, value):
    write(trials(lags=value) + trials("lru", lags="other"))
    assert line_of(cli("compare", chosen, "model.lags=other"), "model.name") == ["stu", "lru"]


def test_the_test_split_selects_nothing(cli):
    good_on_validation = [r.model_copy(update={"test": {"nmse": 0.5}}) for r in trials(errors=[0.01] * 3, rate=1e-2)]
    good_on_test = [r.model_copy(update={"test": {"nmse": 0.001}}) for r in trials(errors=[0.02] * 3, rate=1e-3)]
    write(good_on_validation + good_on_test + trials("lru", [0.1, 0.11, 0.12]))
    result = cli("compare", "stu", "lru")
    assert line_of(result, "best learning rate") == ["0.01", "(edge)", "0.001", "(edge)"]
    assert "lru is better" in words(result)


def test_each_task_by_itself(cli):
    text = scores("stu", [0.8, 0.81, 0.82], study="text") + scores("lru", [0.7, 0.71, 0.73], study="text")
    text = [
        r.model_copy(update={"config": {**r.config, "task": {"name": "text"}}, "trial_id": f"t{r.trial_id}"})
        for r in text
    ]
    write(trials("stu", [0.1, 0.2, 0.3]) + trials("lru", [0.2, 0.21, 0.22]) + text)
    said = words(cli("compare", "stu", "lru"))
    assert said.index("cannot be told apart") < said.index("text: measured") < said.index("stu is better")


def test_other_conditions_are_not_compared(cli):
    write(trials("stu"))
    other = [record.model_copy(update={"protocol": "legacy"}) for record in trials("lru")]
    write(other)
    said = cli("compare", "stu", "lru", expect=2).output
    assert "no task under the same conditions" in said
    assert "the first has lds (measured, version 1, uniform track, clean protocol)" in said
    assert "the second has lds (measured, version 1, uniform track, legacy protocol)" in said


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("model=stu", "lru", "model=stu is 2 rows on lds: stu num_filters=16, stu num_filters=24. Choose one"),
        ("stu num_filters=16", "s5", "no folder, model or row is called s5; there is lru, stu, stu num_filters=16"),
        ("stu,model.num_filters=7", "lru", "no record has model.num_filters=7; model.num_filters is 16, 24"),
        ("model.filters=7", "lru", "model.filters is unset"),
        ("commit=ffff", "lru", "no record has commit=ffff; commit is " + OLD),
        ("stu,", "lru", "'stu,' has an empty part"),
        ("runs/elsewhere", "lru", "there is no runs/elsewhere"),
        ("lru", "model=lru", "lru and model=lru are the same 3 trials"),
    ],
)
def test_errors_say_what_to_do(cli, first, second, said):
    write(trials(num_filters=16) + trials(num_filters=24) + trials("lru"))
    output = cli("compare", first, second, expect=2).output
    assert output.startswith("error: ")
    assert said in output
    assert output.count("\n") == 1


def test_nothing_there(cli):
    assert "there is no runs: say where the records are with --runs DIR" in cli("compare", "a", "b", expect=2).output


def test_files_that_cannot_be_read_are_left_out(cli):
    write(trials("stu") + trials("lru", [0.3, 0.4, 0.6]))
    Path("runs/quickstart/broken").mkdir()
    Path("runs/quickstart/broken/record.json").write_text("{")
    result = cli("compare", "stu", "lru")
    assert "left out 1 files: runs/quickstart/broken/record.json" in result.stderr
    assert "stu is better" in words(result)


def test_hostile_names(cli):
    name = "stu\x1b[31m\r\n[bold]" + "x" * 200
    write(trials(name) + trials("lru", [0.3, 0.4, 0.6], evil="\x1b]0;title\x07" * 20))
    result = cli("compare", "model.evil=unset", "lru")
    lines_of(result)
    assert "[bold]" in result.output
    for arguments in (("nobody", "lru"), ("model.evil=7", "lru")):
        assert "\x1b" not in cli("compare", *arguments, expect=2).output


def test_help_loads_nothing_heavy():
    code = (
        "from lra_bench.cli.main import main; main(['compare', '--help'], standalone_mode=False); import sys, json; "
        "print(json.dumps(sorted({'torch', 'scipy', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert "lra-bench compare stu lru" in done.stdout
