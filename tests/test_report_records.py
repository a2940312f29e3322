import pytest

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import Status
from lra_bench.report.records import load_trials
from tests.records import make_record


def write(root, record, study="quickstart"):
    folder = root / study / record.trial_id
    folder.mkdir(parents=True)
    record.write(folder / "record.json")
    return folder / "record.json"


def test_folders_and_files_in_order(tmp_path):
    second = write(tmp_path, make_record("stu", trial_id="b"))
    write(tmp_path, make_record("lru", trial_id="a"))
    write(tmp_path, make_record("s4d", trial_id="0", study="zoo"), study="zoo")
    everything = [trial.record.trial_id for trial in load_trials([tmp_path])]
    assert everything == ["a", "b", "0"]
    assert [trial.record.trial_id for trial in load_trials([tmp_path / "quickstart"])] == ["a", "b"]
    assert [trial.record.trial_id for trial in load_trials([second])] == ["b"]
    assert [trial.record.trial_id for trial in load_trials([second, tmp_path, tmp_path / "zoo"])] == everything


def test_the_same_trial_in_two_studies_counts_once(tmp_path):
    record = make_record()
    write(tmp_path, record)
    write(tmp_path, record.model_copy(update={"study": "later"}), study="later")
    [kept] = load_trials([tmp_path])
    assert kept.record.study == "later"


def test_two_outcomes_of_one_trial_are_refused(tmp_path):
    write(tmp_path, make_record(val=0.1))
    write(tmp_path, make_record(val=None, status=Status.OOM, study="later"), study="later")
    with pytest.raises(LraBenchError, match="two different outcomes"):
        load_trials([tmp_path])


def test_every_bad_file_is_named(tmp_path):
    write(tmp_path, make_record())
    bad = [tmp_path / name / "record.json" for name in ("x", "y")]
    for file, text in zip(bad, ("{", '{"schema_version": 1}'), strict=True):
        file.parent.mkdir()
        file.write_text(text)
    with pytest.raises(LraBenchError) as caught:
        load_trials([tmp_path])
    assert all(str(file) in str(caught.value) for file in bad)


def test_nothing_found_names_the_command(tmp_path):
    with pytest.raises(LraBenchError, match="lra-bench sweep run quickstart"):
        load_trials([tmp_path])


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(LraBenchError, match="there is no"):
        load_trials([tmp_path / "nowhere"])
