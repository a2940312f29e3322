"""`lra-bench results` as people use it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lra_bench.config.identity import recorded_id
from lra_bench.core.record import CurvePoint, Selection, Status
from lra_bench.report.files.checks import Finding, check_rows, check_trial
from lra_bench.report.files.records import find_trials
from lra_bench.report.trial import measured
from tests.records import ENVIRONMENT, TASK, make_config, make_record
from tests.test_record import HISTORIC
from tests.test_report_records import submit, write

WIDTH = 100


def genuine(name="stu", rate=1e-3, seed=0, **changes):
    """A record in which nothing is wrong: its id is that of its config."""
    known = {
        "trial_id": recorded_id(make_config(name, rate, seed), TASK.version),
        "selection": Selection(rule="best validation nmse, earliest step on ties", step=400),
        "task": TASK.model_copy(update={"origin": "generated"}),
    }
    return make_record(name, rate, seed, **{**known, **changes})


def diverged(**changes):
    changes = {"message": "the loss is not finite", "failed_step": 7, **changes}
    return genuine(status=Status.DIVERGED, val=None, selection=None, **changes)


def grid(**changes):
    """Two models, two rates, three seeds; one trial diverged."""
    records = [genuine(name, rate, seed) for name in ("stu", "lru") for rate in (1e-3, 1e-2) for seed in range(3)]
    return [*records[:-1], diverged(name="lru", rate=1e-2, seed=2)]


def runs(folder, records, study="quickstart"):
    for record in records:
        write(folder / "runs", record, study)
    return f"runs/{study}"


def tree(folder):
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(folder).rglob("*") if path.is_file()
    }


def narrow(output):
    return max(map(len, output.splitlines())) <= WIDTH


def test_good_runs_have_no_finding(cli, folder):
    output = cli("results", "validate", runs(folder, grid())).output
    assert output.startswith("12 records\n  tasks: lds 12\n  statuses: diverged 1, ok 11\n  protocols: clean 12\n")
    assert "0 errors, 0 warnings" in output
    assert "lra-bench results merge runs/quickstart --out results/NAME --by WHO" in output
    assert narrow(output)


def test_from_runs_to_a_valid_submission(cli, folder):
    where = runs(folder, grid())
    output = cli("results", "merge", where, "--out", "results/us", "--by", "Us", "--url", "https://x.org/p").output
    assert "results/us: 12 trials added, 0 there before" in output
    assert "Next: lra-bench results validate results/us" in output
    assert "pull request" in output
    for path in Path(where).glob("*/record.json"):
        assert Path("results/us/records", f"{path.parent.name}.json").read_bytes() == path.read_bytes()
    assert sorted(path.name for path in Path("results").iterdir()) == ["us"]
    output = cli("results", "validate", "results").output
    assert "submissions: us 12" in output
    assert "0 errors, 0 warnings" in output
    assert "lra-bench report results --out report" in output
    cli("results", "diff", where, "results/us")


def test_merging_again_adds_what_is_new_and_changes_nothing_else(cli, folder):
    first, second = runs(folder, grid()[:5], "first"), runs(folder, grid(), "second")
    cli("results", "merge", first, "--out", "results/us", "--by", "Us", "--notes", "naïve: 'yes'\nand more")
    before = tree("results")
    cli("results", "merge", first, "--out", "results/us")
    assert tree("results") == before
    output = cli("results", "merge", first, second, "--out", "results/us").output
    assert "7 trials added, 5 there before" in output
    after = tree("results")
    assert {name: after[name] for name in before if "records" in name} == {
        name: state for name, state in before.items() if "records" in name
    }
    assert "0 errors" in cli("results", "validate", "results/us").output
    cli("results", "merge", "results/us", "--out", "results/us", "--contact", "us@example.org")
    assert "contact: us@example.org\nnotes: " in Path("results/us/submission.yaml").read_text()


def test_merging_does_not_depend_on_the_order(cli, folder):
    """Three files of a trial say the same but for the study."""
    places = [runs(folder, [genuine(study=name)], name) for name in ("a", "b", "c")]
    cli("results", "merge", *places, "--out", "results/one", "--by", "Us")
    cli("results", "merge", *places[::-1], "--out", "results/two", "--by", "Us")
    one, two = (Path("results", name, "submission.yaml").read_text() for name in ("one", "two"))
    assert one.replace("name: one", "name: two") == two


def test_unfinished_trials_are_left_out_and_counted(cli, folder):
    where = runs(folder, [genuine(), genuine(seed=1, val=None, selection=None, status=Status.PREEMPTED)])
    assert "1 trial left out" in cli("results", "merge", where, "--out", "results/us", "--by", "Us").output
    assert len(list(Path("results/us/records").iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "results/us"], 'say who measured: --by "WHO"'),
        (["--out", "results/Us!", "--by", "Us"], "name: String should match"),
        (["--out", "results/us", "--by", "Us\x1b[31m"], "by: String should match"),
        (["--out", "results/us", "--by", "Us", "--url", "javascript:alert(1)"], "url: String should match"),
        (["--out", "runs/quickstart", "--by", "Us"], "not empty and no submission"),
    ],
)
def test_a_merge_that_cannot_be_says_why(cli, folder, words, message):
    where = runs(folder, [genuine()])
    before = tree(folder)
    output = cli("results", "merge", where, *words, expect=2).output
    assert message in output
    assert output.count("\n") == 1
    assert tree(folder) == before


def test_a_merge_refuses_two_outcomes_and_names_the_files(cli, folder):
    first, second = runs(folder, [genuine()], "first"), runs(folder, [diverged()], "second")
    output = cli("results", "merge", first, second, "--out", "results/us", "--by", "Us", expect=2).output
    assert "two different outcomes: ok in runs/first/" in output
    assert "diverged in runs/second/" in output
    cli("results", "merge", first, "--out", "results/us", "--by", "Us")
    output = cli("results", "merge", second, "--out", "results/us", expect=2).output
    assert "results/us/records/" in output


def test_a_merge_refuses_files_that_are_no_records(cli, folder):
    where = runs(folder, [genuine(), genuine(seed=1)])
    for path in Path(where).glob("*/record.json"):
        path.write_text("{")
    output = cli("results", "merge", where, "--out", "results/us", "--by", "Us", expect=2).output
    assert "it is cut off" in output
    assert "(and 1 other file). For all: lra-bench results validate runs/quickstart" in output
    assert not Path("results").exists()


def test_an_id_that_cannot_name_a_file_is_refused(cli, folder):
    genuine(trial_id="../../evil").write(folder / "record.json")
    output = cli("results", "merge", "record.json", "--out", "results/us", "--by", "Us", expect=2).output
    assert "cannot name a file" in output
    assert sorted(path.name for path in folder.iterdir()) == ["record.json"]


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_killed_merge_leaves_no_half_of_a_submission(folder, earlier):
    """A new one is whole or not there; an old one keeps its trials. Merging again makes the same bytes as ever."""
    records = [genuine(seed=seed) for seed in range(3)]
    where = runs(folder, records)
    out = submit(folder / "results", "us", records[:earlier]) if earlier else folder / "results" / "us"
    (folder / "results").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.merge_crashes", folder / where, out]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
    points = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(points) >= 8
    everything = [trial.record.trial_id for trial in find_trials([folder / where])[0]]
    old = sorted(record.trial_id for record in records[:earlier])
    for point in points:
        assert point["same"]
        assert point["beside"] == []
        assert sorted(point["trials"]) in (old, sorted(everything))
        assert all(problem.endswith("is not listed in submission.yaml") for problem in point["problems"])
        assert earlier or not point["problems"]


def test_every_problem_of_a_submission_is_told(cli, folder):
    cli("results", "merge", runs(folder, grid()), "--out", "results/us", "--by", "Us")
    files = sorted(Path("results/us/records").iterdir())
    edited = files[0].read_text().replace('"message": null', '"message": "fine"')
    files[0].write_text(edited)
    files[1].unlink()
    shutil.copy(files[2], "results/us/records/copy.json")
    output = cli("results", "validate", "results/us", expect=1).output
    assert f"its SHA-256 differs (1)\n    {files[0]}" in output
    assert f"is listed in submission.yaml and not there (1)\n    {files[1]}" in output
    assert "is not listed in submission.yaml (1)\n    results/us/records/copy.json" in output
    assert "Mend the errors, then: lra-bench results validate results/us" in output
    facts = json.loads(cli("results", "validate", "results/us", "--json", expect=1).output)
    assert (facts["valid"], facts["records"], facts["warnings"]) == (False, 10, [])
    assert {"place": "results/us/records/copy.json", "text": "is not listed in submission.yaml"} in facts["errors"]


def test_a_file_under_another_name_is_told(cli, folder):
    where = submit(folder, "us", [genuine(seed=seed) for seed in range(3)])
    file = min((where / "records").iterdir())
    file.rename(file.with_name("other.json"))
    description = where / "submission.yaml"
    description.write_text(description.read_text().replace(file.name, "other.json"))
    output = cli("results", "validate", "us", expect=1).output
    assert "its name is not the id of its trial (1)\n    us/records/other.json" in output


def test_missing_trials_are_named(cli, folder):
    output = cli("results", "validate", runs(folder, grid()[1:-2]), expect=1).output
    assert "has no trial at learning rate 0.001 with seed 0 (1)\n    lds, stu" in output
    assert "has no trial at learning rate 0.01 with seed 1 (1)\n    lds, lru" in output
    assert "has no trial at learning rate 0.01 with seed 2 (1)\n    lds, lru" in output
    assert "3 errors" in output


def test_data_seeds_are_named_where_they_tell_trials_apart():
    records = [
        genuine(rate=rate, seed=0, data_seed=data, trial_id=f"{rate}-{data}") for rate in (1, 2) for data in (0, 1)
    ]
    texts = {finding.text for finding in check_rows(measured(records[1:]))}
    assert "has no trial at learning rate 1 with seed 0, data seed 0" in texts


@pytest.mark.parametrize("path", HISTORIC, ids=lambda path: path.stem)
def test_what_real_trials_write_is_in_order(cli, path):
    facts = json.loads(cli("results", "validate", str(path), "--json").output)
    assert facts["valid"]


def test_an_id_that_is_not_of_the_config_is_told(cli, folder):
    """Even where the model is known to nobody here: no name in a record is looked up."""
    (folder / "evil.py").write_text("raise SystemExit('imported')")
    config = make_config()
    config["model"]["name"] = "evil:Model"
    model = genuine().model.model_copy(update={"name": "evil:Model"})
    right = genuine(config=config, model=model, trial_id=recorded_id(config, TASK.version))
    assert "0 errors" in cli("results", "validate", runs(folder, [right], "right")).output
    config["optim"]["weight_decay"] = 0.5
    wrong = right.model_copy(update={"config": config})
    output = cli("results", "validate", runs(folder, [wrong], "wrong"), expect=1).output
    assert "its trial id is not that of its config (1)" in output


CHANGED_CONFIG = {**make_config(), "protocol": "legacy", "seed": 3}
CURVE = [CurvePoint(step=step, val={"nmse": value}) for step, value in ((100, 0.5), (200, 0.1), (400, 0.1))]
BEST_EARLY = Selection(rule="best validation nmse, earliest step on ties", step=200)


@pytest.mark.parametrize(
    ("record", "error", "text"),
    [
        (genuine(status=Status.PREEMPTED), True, "is not over: run its sweep again"),
        (diverged(message=None), True, "has status diverged and no message that says why"),
        (genuine(selection=None), True, "has status ok and no selection"),
        (genuine(learning_rates={}), True, "has status ok and no learning_rates"),
        (genuine(model=None), True, "has status ok and no model"),
        (genuine(task=None), True, "has status ok and no task"),
        (genuine().model_copy(update={"test": {}}), True, "has status ok and no test metric"),
        (genuine().model_copy(update={"val": {"mse": 1.0}}), True, "has status ok and no val metric"),
        (diverged().model_copy(update={"test": {"nmse": 0.1}}), True, "was tested without a selected step"),
        (genuine(config=CHANGED_CONFIG), True, "protocol is not that of its config"),
        (genuine(config=CHANGED_CONFIG), True, "seed is not that of its config"),
        (genuine(config={}), True, "its config has no model.name"),
        (
            genuine(selection=Selection(rule="best test nmse, earliest step on ties", step=400)),
            True,
            "has protocol clean and was not selected on validation data",
        ),
        (genuine(curve=CURVE), True, "its selected step is not the best of its curve"),
        (
            genuine(curve=CURVE, selection=BEST_EARLY, val=0.05),
            True,
            "its validation metrics are not those of its curve at the selected step",
        ),
        (genuine(environment=ENVIRONMENT.model_copy(update={"dirty": True})), False, "its code had local changes"),
        (
            genuine(environment=ENVIRONMENT.model_copy(update={"commit": None, "dirty": None})),
            False,
            "names no commit: its code was an installed package",
        ),
        (
            genuine(environment=ENVIRONMENT.model_copy(update={"packages": {}})),
            True,
            "names no versions of packages",
        ),
        (genuine(environment=ENVIRONMENT.model_copy(update={"device": "unknown"})), True, "names no device"),
        (
            genuine(task=TASK.model_copy(update={"fingerprint": None})),
            True,
            "has no fingerprint of its task",
        ),
        (genuine(task=TASK), False, "does not say whether its data are official or generated"),
        (
            genuine(task=TASK.model_copy(update={"origin": "official"})),
            True,
            "has official data and no hash of their content",
        ),
        (
            genuine(task=TASK.model_copy(update={"version": 0, "fingerprint": None})),
            False,
            "was made by other code, so its conditions cannot be checked",
        ),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_what_a_record_lacks_is_told(record, error, text):
    [trial] = measured([record.model_copy(update={"digest": "0" * 64})])
    assert Finding(error, text, record.trial_id) in list(check_trial(trial))


@pytest.mark.parametrize("record", [genuine(curve=CURVE, selection=BEST_EARLY, val=0.1), diverged()])
def test_a_record_as_it_should_be_has_no_finding(record):
    assert list(check_trial(measured([record.model_copy(update={"digest": "0" * 64})])[0])) == []


def test_the_best_of_a_score_is_its_largest():
    task = TASK.model_copy(update={"metric": "accuracy", "higher_is_better": True, "origin": "generated"})
    curve = [CurvePoint(step=step, val={"accuracy": value}) for step, value in ((100, 0.5), (200, 0.9), (400, 0.9))]
    values = {"task": task, "curve": curve, "val": {"accuracy": 0.9}, "test": {"accuracy": 0.9}, "digest": "0" * 64}
    record = genuine(selection=BEST_EARLY).model_copy(update=values)
    assert list(check_trial(measured([record])[0])) == []


def test_trials_without_a_learning_rate_do_not_hide_the_others():
    config = make_config()
    config["optim"]["lr"] = "fast"
    records = [genuine(config=config, trial_id="fast"), *grid()[1:]]
    texts = [finding.text for finding in check_rows(measured(records))]
    assert texts == ["its config has no positive optim.lr", "has no trial at learning rate 0.001 with seed 0"]


def test_what_a_record_says_cannot_act_on_the_terminal(cli, folder):
    evil = "\x1b]0;owned\x07\x9b31m" + "wide " * 40
    config = make_config()
    config["task"]["name"] = evil
    task = TASK.model_copy(update={"name": evil})
    model = genuine().model.model_copy(update={"name": evil})
    where = runs(folder, [genuine(config=config, task=task, model=model, study=evil, message=evil)])
    other = runs(folder, [genuine(seed=1)], "other")
    for words in (["validate", where], ["diff", where, other, "--all"]):
        output = cli("results", *words, expect=1).output
        assert "\x1b" not in output
        assert "\x9b" not in output
        assert narrow(output)


def test_a_diff_tells_trials_outcomes_and_conditions(cli, folder):
    here = {"environment": ENVIRONMENT.model_copy(update={"commit": "f" * 40, "packages": {"torch": "3.0"}})}
    first = runs(folder, [genuine(seed=seed) for seed in range(4)], "first")
    changed = [genuine(seed=1, val=0.25, **here), diverged(seed=2, **here), genuine(seed=3, **here), genuine(seed=9)]
    second = runs(folder, changed, "second")
    output = cli("results", "diff", first, second, expect=1).output
    ids = [genuine(seed=seed).trial_id for seed in range(10)]
    assert "3 trials in both: 1 with the same outcome, 2 with another\n1 only in A, 1 only in B" in output
    assert f"Only in A\n  {ids[0]}: lds stu, lr 0.001, seed 0, ok" in output
    assert f"Only in B\n  {ids[9]}: lds stu, lr 0.001, seed 9, ok" in output
    assert "val nmse 0.100 in A, 0.250 in B (+0.15)" in output
    assert "ok in A, diverged in B" in output
    assert "package torch: 2.9.0 in A, 3.0 in B (3 of 3)" in output
    assert f"commit: {ENVIRONMENT.commit} in A, {'f' * 40} in B (3 of 3)" in " ".join(output.split())
    assert "package numpy: 2.4.6 in A, none in B (3 of 3)" in output
    assert narrow(output)
    facts = json.loads(cli("results", "diff", first, second, "--json", expect=1).output)
    assert (facts["same"], facts["only_in_a"], facts["only_in_b"]) == (1, [ids[0]], [ids[9]])
    outcomes = {each["trial"]: each for each in facts["outcomes"]}
    assert outcomes[ids[2]]["status"] == ["ok", "diverged"]
    assert outcomes[ids[1]]["metrics"] == {"val nmse": [0.1, 0.25], "test nmse": [0.1, 0.25]}
    assert {"what": "package torch", "a": "2.9.0", "b": "3.0", "trials": sorted(ids[1:4])} in facts["conditions"]


def test_a_diff_shows_the_first_few_and_says_how_to_see_all(cli, folder):
    first = runs(folder, [genuine(seed=seed) for seed in range(9)], "first")
    second = runs(folder, [genuine(seed=20)], "second")
    output = cli("results", "diff", first, second, expect=1).output
    assert "... and 4 more" in output
    assert "lra-bench results diff runs/first runs/second --all" in output
    output = cli("results", "diff", first, second, "--all", expect=1).output
    assert output.count("lds stu") == 10


def test_a_diff_needs_records_on_both_sides(cli, folder):
    where = runs(folder, [genuine()])
    (folder / "empty").mkdir()
    assert "no record.json found" in cli("results", "diff", where, "empty", expect=2).output
    Path(where, genuine().trial_id, "record.json").write_text("{}")
    assert "has no schema_version" in cli("results", "diff", where, where, expect=2).output


def test_what_was_submitted_to_this_repository_is_valid(cli):
    submitted = Path(__file__).parent.parent / "results"
    if not submitted.exists():
        pytest.skip("nothing was submitted yet")
    cli("results", "validate", str(submitted))
