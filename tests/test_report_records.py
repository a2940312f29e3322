import json
import os
import shutil
from dataclasses import replace

import pytest

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import Status
from lra_bench.report.aggregate import aggregate
from lra_bench.report.files.records import find_trials, without_repetitions
from lra_bench.report.files.submissions import Submission, file_hash
from lra_bench.report.trial import measured
from tests.records import make_record, realistic_records
from tests.test_record import OLD


def write(root, record, study="quickstart"):
    folder = root / study / record.trial_id
    folder.mkdir(parents=True)
    record.write(folder / "record.json")
    return folder / "record.json"


def submit(root, name="theirs", records=()):
    """A submission."""
    folder = root / name
    (folder / "records").mkdir(parents=True)
    for record in records:
        record.write(folder / "records" / f"{record.trial_id}.json")
    hashes = {path.name: file_hash(path.read_bytes()) for path in (folder / "records").iterdir()}
    submission = Submission(schema_version=1, name=name, by="They", records=hashes)
    (folder / "submission.yaml").write_text(submission.text())
    return folder


def ids(*paths):
    """The ids of trials under paths, where nothing is wrong."""
    trials, problems = find_trials(paths)
    assert problems == []
    return [trial.record.trial_id for trial in trials]


def test_folders_and_files_in_order(tmp_path):
    second = write(tmp_path, make_record("stu", trial_id="b"))
    write(tmp_path, make_record("lru", trial_id="a"))
    write(tmp_path, make_record("s4d", trial_id="0", study="zoo"), study="zoo")
    assert ids(tmp_path) == ["a", "b", "0"]
    assert ids(tmp_path / "quickstart") == ["a", "b"]
    assert ids(second) == ids(second.parent) == ["b"]
    assert ids(second, tmp_path, tmp_path / "zoo", tmp_path / "zoo" / ".." / "quickstart") == ["a", "b", "0"]


def test_progress_is_told_file_by_file(tmp_path):
    for name in "abc":
        write(tmp_path, make_record(trial_id=name))
    seen = []
    find_trials([tmp_path], lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_what_is_in_a_trial_and_what_is_half_written_is_left_alone(tmp_path):
    file = write(tmp_path, make_record())
    for name in ("checkpoints", "wandb", ".hidden"):
        (file.parent / name).mkdir()
        shutil.copy(file, file.parent / name / "record.json")
    for name in (".record.json.77.part", "record.retried-1.json", "other.json"):
        (file.parent / name).write_text("{")
    assert ids(tmp_path) == ["stu-0.001-0"]


def test_a_study_may_have_any_name(tmp_path):
    write(tmp_path, make_record(study="wandb"), study="wandb")
    assert ids(tmp_path) == ["stu-0.001-0"]


def test_links_are_followed_and_never_in_circles(tmp_path):
    elsewhere = write(tmp_path / "elsewhere", make_record()).parent
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "linked").symlink_to(elsewhere)
    (elsewhere / "up").symlink_to(tmp_path)
    assert ids(tmp_path / "runs") == ["stu-0.001-0"]
    assert ids(tmp_path, elsewhere) == ["stu-0.001-0"]


def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path, monkeypatch):
    write(tmp_path, make_record())
    broken = write(tmp_path, make_record(trial_id="x"), study="broken").parent.parent
    scan = os.scandir

    def failing(path):
        if path == broken:
            raise OSError(5, "Input/output error")
        return scan(path)

    monkeypatch.setattr(os, "scandir", failing)
    trials, [problem] = find_trials([tmp_path])
    assert len(trials) == 1
    assert (problem.place, problem.reason) == (broken, "cannot be read: Input/output error")


def test_the_same_trial_in_two_studies_counts_once(tmp_path):
    record = make_record()
    write(tmp_path, record)
    write(tmp_path, record.model_copy(update={"study": "later"}), study="later")
    trials, _ = find_trials([tmp_path])
    for order in (trials, trials[::-1]):
        [kept] = without_repetitions(order)
        assert kept.record.study == "later"


def test_two_outcomes_of_one_trial_are_refused_and_named(tmp_path):
    first = write(tmp_path, make_record(val=0.1))
    second = write(tmp_path, make_record(val=None, status=Status.OOM, study="later"), study="later")
    with pytest.raises(LraBenchError, match="two different outcomes") as caught:
        without_repetitions(find_trials([tmp_path])[0])
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def corrupted(file):
    file.write_bytes(file.read_bytes().replace(b'"status"', b'"status" "'))


def truncated(file):
    file.write_bytes(file.read_bytes()[:999])


def foreign(file):
    file.write_text('{"loss": 0.0}')


def broken(file):
    file.write_bytes(OLD.read_bytes().replace(b'"ok"', b'"great"'))


def of_the_future(file):
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 3}))


def edited(file):
    """Made the best of all."""
    content = json.loads(file.read_text())
    content["val"]["nmse"] = content["test"]["nmse"] = 0.0
    file.write_text(json.dumps(content, indent=2))


def a_broken_link(file):
    file.unlink()
    file.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (corrupted, "is not a valid run record: it is not JSON"),
        (truncated, "is not a valid run record: it is cut off"),
        (foreign, "is not a valid run record: it has no schema_version"),
        (broken, "is not a valid run record: status: Input should be 'ok'"),
        (of_the_future, "was written by a newer lra-bench (record version 3): update lra-bench"),
        (edited, "was changed after it was written: its checksum does not match"),
        (a_broken_link, "is not a file"),
    ],
)
def test_a_bad_file_is_listed_with_its_reason_and_changes_no_other_row(tmp_path, damage, reason):
    """Of one model a trial is damaged: its row is as if there were no such file, the other rows as they were."""
    records = realistic_records()
    files = {record.trial_id: write(tmp_path, record) for record in records}
    before, _ = find_trials([tmp_path])
    damaged = "stu-0.001-1"
    damage(files[damaged])
    trials, [problem] = find_trials([tmp_path])
    assert problem.place == files[damaged]
    assert problem.reason.startswith(reason)
    assert problem.reason.isprintable()
    others = [trial for trial in before if trial.record.trial_id != damaged]
    assert trials == others
    [whole], [rest] = aggregate(before), aggregate(trials)
    by_label = {row.label: row for row in rest.rows}
    for row in whole.rows:
        assert (row == by_label[row.label]) == (row.label != "stu")
    assert by_label["stu"].missing == 1


def test_nothing_but_bad_files_is_no_crash(tmp_path):
    foreign(write(tmp_path, make_record()))
    trials, problems = find_trials([tmp_path])
    assert trials == []
    assert len(problems) == 1


def test_nothing_found_names_the_command(tmp_path):
    with pytest.raises(LraBenchError, match="lra-bench sweep run quickstart"):
        find_trials([tmp_path])


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(LraBenchError, match="there is no"):
        find_trials([tmp_path / "nowhere"])


def test_a_submission_is_known_however_it_is_named(tmp_path):
    folder = submit(tmp_path / "results", records=[make_record(trial_id="a"), make_record(trial_id="b", seed=1)])
    submit(tmp_path / "results", "others", [make_record(trial_id="a")])
    write(tmp_path / "runs", make_record(trial_id="a"))
    for path in (folder, folder / "submission.yaml", folder / "records"):
        trials, problems = find_trials([path])
        assert problems == []
        assert [(trial.submission, trial.tier, trial.record.trial_id) for trial in trials] == [
            ("theirs", "submitted", "a"),
            ("theirs", "submitted", "b"),
        ]
    trials, _ = find_trials([folder / "records" / "b.json"])
    assert [(trial.submission, trial.record.trial_id) for trial in trials] == [("theirs", "b")]
    trials, _ = find_trials([tmp_path])
    found = [(trial.submission, trial.record.trial_id) for trial in trials]
    assert found == [(None, "a"), ("others", "a"), ("theirs", "a"), ("theirs", "b")]
    assert without_repetitions(trials) == trials


def test_a_submission_is_checked_against_its_list(tmp_path):
    folder = submit(tmp_path, records=[make_record(trial_id=name, seed=place) for place, name in enumerate("abcd")])
    records = folder / "records"
    make_record(trial_id="a", seed=0, val=0.0).write(records / "a.json")
    (records / "b.json").unlink()
    make_record(trial_id="e", seed=9).write(records / "e.json")
    trials, problems = find_trials([tmp_path])
    assert [trial.record.trial_id for trial in trials] == ["c", "d"]
    assert [(problem.place.name, problem.reason) for problem in problems] == [
        ("a.json", "is not the file that submission.yaml lists: its SHA-256 differs"),
        ("b.json", "is listed in submission.yaml and not there"),
        ("e.json", "is not listed in submission.yaml"),
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("name: theirs", "name: ours"), "name: the folder is theirs"),
        (("name: theirs", "name: ../theirs"), "name: String should match"),
        (("by: They", "by: ''"), "by: String should match"),
        (("by: They", "by: They\nurl: javascript:alert(1)"), "url: String should match"),
        (("by: They", "by: They\nnote: x"), "note: Extra inputs"),
        (("a.json", "../a.json"), "records.../a.json"),
        (("schema_version: 1", "schema_version: 2"), "schema_version: Input should be 1"),
        (("by: They", "by: [They"), "is not YAML: "),
        (("by: They", "by: !!python/object/apply:os.getcwd []"), "is not YAML: "),
    ],
)
def test_without_a_good_description_none_of_a_submission_counts(tmp_path, change, reason):
    folder = submit(tmp_path, records=[make_record(trial_id="a")])
    path = folder / "submission.yaml"
    path.write_text(path.read_text().replace(*change))
    trials, [problem] = find_trials([tmp_path])
    assert trials == []
    assert problem.place == path
    assert reason in problem.reason
    assert problem.reason.isprintable()


def test_a_submission_without_its_records_is_a_problem(tmp_path):
    folder = submit(tmp_path, records=[make_record(trial_id="a")])
    shutil.rmtree(folder / "records")
    assert [problem.place for problem in find_trials([tmp_path])[1]] == [folder / "records"]


def test_trials_that_were_never_in_a_file_have_an_order_too():
    trials = measured(realistic_records())
    assert without_repetitions(trials[::-1]) == without_repetitions(trials)
    doubled = [*trials, *(replace(trial, submission="theirs") for trial in trials)]
    assert len(without_repetitions(doubled)) == 2 * len(trials)
