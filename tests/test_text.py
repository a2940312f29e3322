from pathlib import Path

import numpy as np
import pytest

from lra_bench.building import build_task
from lra_bench.config.compose import compose_task
from lra_bench.core.errors import LraBenchError
from lra_bench.data.documents import END, UNKNOWN
from lra_bench.data.prepared import Order
from lra_bench.tasks.text import Text
from tests import official, real_data
from tests.official_sets import reviews


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "store"))
    return tmp_path / "store"


def task(*words: str) -> Text:
    return build_task(compose_task("text", words))


def prepared(source: Path, *words: str) -> Text:
    made = task(*words)
    made.prepare(Order(str(source)))
    return made


def text_of(made: Text, row: int) -> str:
    offsets = made.data.array("bytes_offsets")
    return made.data.array("bytes")[offsets[row] : offsets[row + 1]].tobytes().decode()


def folder_of(path: Path, rows: list[tuple[str, str, int, str]]) -> Path:
    return official.as_folder(path, official.imdb(rows))


BOTH = [("train", "pos", 9, "good"), ("train", "neg", 1, "bad"), ("test", "pos", 7, "fine"), ("test", "neg", 4, "dull")]


def test_folder_and_archives_give_the_same_set(tmp_path, monkeypatch):
    rows = BOTH * 3 + [("train", "pos", 10, f"ü {i}") for i in range(9)]
    found = set()
    for name, suffix in (("a", ""), ("b", ".tar"), ("c", ".tar.gz"), ("d", ".tar.zst")):
        monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / name))
        files = official.imdb(rows)
        source = (
            official.as_tar(tmp_path / f"x{suffix}", files) if suffix else official.as_folder(tmp_path / "f", files)
        )
        found.add(prepared(source).data.manifest.content)
    assert len(found) == 1


def test_duplicates_stay_on_one_side_and_test_reviews_do_not_train(tmp_path):
    made = prepared(reviews(tmp_path / "f"))
    texts = {split: [text_of(made, int(row)) for row in made.rows(split)] for split in ("train", "val", "test")}
    assert "both parts" in texts["test"]
    assert "both parts" not in texts["train"] + texts["val"]
    assert sorted(("twice" in texts["train"], "twice" in texts["val"])) == [False, True]
    assert len(texts["test"]) == 41
    assert len(texts["val"]) == len(made.data.labels[made.data.part == 0]) // 10
    assert made.data.manifest.facts["training reviews that are test reviews too"] >= 1


def test_validation_is_stratified_and_a_matter_of_the_data_seed(tmp_path):
    rows = [
        (part, *kind, f"{part}{kind}{i}")
        for part in ("train", "test")
        for kind in (("pos", 8), ("neg", 2))
        for i in range(50)
    ]
    made = prepared(folder_of(tmp_path / "f", [(a, b, c, d) for a, b, c, d in rows]))
    assert np.bincount(made.data.labels[made.rows("val")]).tolist() == [5, 5]
    assert not np.array_equal(made.rows("val"), task("data_seed=1").rows("val"))


def test_legacy_selects_on_the_test_set_and_says_so(tmp_path, cli):
    source = reviews(tmp_path / "f")
    made = prepared(source, "protocol=legacy")
    assert made.selects_on == "test"
    assert np.array_equal(made.rows("val"), made.rows("test"))
    assert len(made.rows("train")) == (made.data.part == 0).sum()
    small = ("model=s4d", "model.d_state=4", "backbone.d_model=4", "backbone.depth=1", "train.max_steps=2")
    output = cli("train", "task=text", "protocol=legacy", *small, "train.global_batch_size=2").output
    assert "best test accuracy" in output
    (record,) = Path("runs/train").glob("*/record.json")
    assert '"rule": "best test accuracy' in record.read_text()


def test_words_are_the_review(tmp_path):
    source = folder_of(tmp_path / "f", [*BOTH, ("test", "pos", 9, "naïve foe")])
    made = prepared(source, "task.min_freq=1")
    unknown = "".join(letter if letter in "goodbad" else "\ufffd" for letter in "naïve foe")
    expected = {"char": {unknown}, "byte": {"fine", "dull", "naïve foe"}}
    for level, texts in expected.items():
        made = task("task.min_freq=1", f"task.level={level}")
        test = made.source("test")
        assert texts <= {made.words(test[index].x[0].numpy()) for index in range(test.size)}


def test_rare_characters_are_unknown_and_the_most_frequent_come_first(tmp_path):
    made = prepared(folder_of(tmp_path / "f", [*BOTH, ("train", "pos", 9, "aaaaab")]), "task.min_freq=2")
    counts = made.data.array("character_counts")
    assert (np.diff(counts.astype(int)) <= 0).all()
    seen = np.concatenate([made.documents.ids(int(row)) for row in range(len(made.data.labels))])
    assert set(seen.tolist()) == {UNKNOWN, END, *range(3, 3 + (counts >= 2).sum())}


def test_sequences_end_with_the_end_and_are_cut(tmp_path):
    made = prepared(folder_of(tmp_path / "f", [*BOTH, ("test", "pos", 9, "x" * 100)]), "task.seq_len=10")
    batch = made.source("test").__getitems__([0, 1, 2])
    lengths = batch.mask.sum(1)
    assert lengths.max() == 10
    assert (batch.x[range(3), lengths - 1] == 2).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (BOTH[:3], "both classes for both parts"),
        ([*BOTH, ("train", "pos", 3, "bad")], "contradicts its class"),
        ([], "both classes for both parts"),
    ],
)
def test_a_source_that_is_not_imdb_is_refused(tmp_path, rows, message):
    with pytest.raises(LraBenchError, match=message):
        prepared(folder_of(tmp_path / "f", rows))


def test_a_review_that_is_not_text_is_named(tmp_path):
    source = folder_of(tmp_path / "f", BOTH)
    next(source.rglob("train/neg/*.txt")).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LraBenchError, match=r"train/neg/.* is not UTF-8"):
        prepared(source)


def test_the_real_reviews_have_the_known_counts():
    made = prepared(real_data.reviews())
    facts = made.data.manifest.facts
    assert facts["vocabulary"] == {"distinct characters": 178, "at least 10 times": 137, "at least 15 times": 131}
    assert [facts[part]["characters, mean"] for part in ("train", "test")] == [1325.07, 1293.79]
    assert [facts[part]["distinct"] for part in ("train", "test")] == [24_904, 24_801]
    assert [facts[part]["more than 4,095 characters"] for part in ("train", "test")] == [727, 668]
    assert made.documents.cut + 3 == 134
