from pathlib import Path

import numpy as np
import pytest

from lra_bench.building import build_task
from lra_bench.config.compose import compose_task
from lra_bench.core.errors import LraBenchError
from lra_bench.data.prepared import Order
from lra_bench.tasks.listops_language import evaluate
from tests import official
from tests.official_sets import expressions


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "store"))


def task(*words: str):
    return build_task(compose_task("listops", words))


def prepared(*words: str, source: Path | None = None, jobs: int = 1):
    made = task(*words)
    made.prepare(Order(str(source) if source else None, jobs))
    return made


def tokens_of(made, row: int) -> np.ndarray:
    offsets = made.data.array("tokens_offsets")
    return made.data.array("tokens")[offsets[row] : offsets[row + 1]]


def test_the_same_bytes_whatever_the_number_of_processes(tmp_path, monkeypatch):
    words = ("task.size=small", "task.min_length=10", "task.max_length=60")
    contents = []
    for jobs in (1, 2):
        monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / str(jobs)))
        contents.append(prepared(*words, jobs=jobs).data.manifest.content)
    assert contents[0] == contents[1]
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "other"))
    assert prepared(*words, "data_seed=1").data.manifest.content != contents[0]


def test_generated_expressions_are_distinct_and_right():
    made = prepared("task.size=tiny")
    assert [len(made.rows(split)) for split in ("train", "val", "test")] == [100, 50, 50]
    assert len(np.unique(made.data.hashes)) == 200
    assert all(evaluate(tokens_of(made, row)) == made.data.labels[row] for row in range(200))
    assert all(500 < len(tokens_of(made, row)) < 2000 for row in range(200))


def test_a_grammar_with_many_repetitions_is_drawn_until_enough_are_distinct():
    made = prepared("task.size=tiny", "task.max_depth=3", "task.max_args=3", "task.min_length=3", "task.max_length=6")
    assert len(np.unique(made.data.hashes)) == 200


def test_a_grammar_with_too_few_expressions_is_refused():
    small = ("task.max_depth=2", "task.max_args=2", "task.min_length=3", "task.max_length=5")
    with pytest.raises(LraBenchError, match="too few expressions"):
        prepared("task.size=small", *small)


def test_a_batch_is_the_expression_and_its_end():
    made = prepared("task.size=tiny")
    source = made.source("val")
    for index in (0, 49):
        single = source[index]
        assert single.x[0, -1] == 2
        assert (single.x[0, :-1].numpy() - 3).tolist() == tokens_of(made, int(made.rows("val")[index])).tolist()
        assert made.words(single.x[0].numpy()).startswith("[")


def test_official_files_are_read_from_folder_and_release(tmp_path, monkeypatch):
    folder = expressions(tmp_path / "f")
    first = prepared("task.origin=official", source=folder)
    assert [len(first.rows(split)) for split in ("train", "val", "test")] == [40, 10, 10]
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    archive = official.as_tar(tmp_path / "lra_release.gz", official.lra_release(files, {}, {}))
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "other"))
    assert prepared("task.origin=official", source=archive).data.manifest.content == first.data.manifest.content


def test_a_wrong_label_is_found(tmp_path):
    rows = [("( ( ( [MAX 1 ) 2 ) ] )", 2), ("( ( ( [MIN 1 ) 2 ) ] )", 2)]
    files = official.listops({"train": rows, "val": rows[:1], "test": rows[:1]})
    with pytest.raises(LraBenchError, match=r"basic_train.tsv, line 3: the label is 2, the expression's value 1"):
        prepared("task.origin=official", source=official.as_folder(tmp_path / "f", files))


def test_missing_files_are_named(tmp_path):
    files = official.listops({"train": [("( ( ( [MAX 1 ) 2 ) ] )", 2)]})
    with pytest.raises(LraBenchError, match=r"does not hold basic_val.tsv, basic_test.tsv"):
        prepared("task.origin=official", source=official.as_folder(tmp_path / "f", files))


def test_a_source_is_for_official_data_only(tmp_path):
    with pytest.raises(LraBenchError, match=r"add task\.origin=official"):
        prepared(source=tmp_path)
    with pytest.raises(LraBenchError, match=r"--source"):
        prepared("task.origin=official")


@pytest.mark.parametrize(
    "words",
    [["task.max_depth=1"], ["task.min_length=1999"], ["task.seq_len=100"], ["task.origin=official", "task.size=tiny"]],
)
def test_impossible_settings_are_refused(words):
    with pytest.raises(LraBenchError, match=r"task\.\w+ must be"):
        task(*words)
