"""Retrieval: the official files are read as published, whatever they come in, and gathered as a slow reading says."""

import tarfile
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lra_bench.core.errors import ConfigError, LraBenchError
from lra_bench.core.record import RunRecord
from lra_bench.core.settings import TrainConfig
from lra_bench.data.prepared import Order
from lra_bench.tasks.aan_files import read_pairs, undone
from lra_bench.tasks.retrieval import Retrieval, RetrievalConfig

PARTS = ("train", "eval", "test")

PAPERS = [
    repr(text.encode())
    for text in (
        "A plain paper\nabout parsing",
        'It says "quoted, once',
        "It's the author's own",
        "both ' and \" in one\\n",
        "na\u00efve \u03b1\u03b2\u03b3 caf\u00e9",
        "x" * 3997 + "~, which is published character 4,000, and this is not kept",
        "long " * 1000,
    )
]
PAPERS += ["no literal, 'raw' \u00e9", "b'cut short", "b'\\xff\\xfe is not UTF-8'", "b''", '"opens and never closes']
SAME_BEGINNING = PAPERS[5][:-1] + " and more'"

ROWS = {
    "train": [(i % 2, PAPERS[i % 12], PAPERS[(5 * i + 3) % 12]) for i in range(30)]
    + [(1, PAPERS[0], SAME_BEGINNING), (0, "b'once: ^'", PAPERS[3])],
    "eval": [(i % 2, PAPERS[i], PAPERS[i + 1]) for i in range(6)] + [(0, "b'in val alone \\x7e'", PAPERS[7])],
    "test": [(i % 2, PAPERS[i + 1], PAPERS[i]) for i in range(4)] + [(1, "b'in test alone: @ ~'", PAPERS[2])],
}


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def official(tmp_path) -> Path:
    return written(tmp_path / "tsv_data")


def written(folder: Path, rows=ROWS, end="\n") -> Path:
    folder.mkdir()
    for part in PARTS:
        lines = [
            f"{label}.0\tW{i}\tP{i}\t{first}\t{second}{end}" for i, (label, first, second) in enumerate(rows[part])
        ]
        (folder / f"new_aan_pairs.{part}.tsv").write_bytes("".join(lines).encode())
    return folder


def packed(folder: Path, parts=PARTS) -> Path:
    """The files inside a gzipped tar among others, as in lra_release.gz."""
    path, decoy = folder.parent / "lra_release.gz", folder.parent / "decoy"
    decoy.write_text("no pairs")
    with tarfile.open(path, "w:gz") as archive:
        inside = "lra_release/lra_release/tsv_data"
        for name in (
            "listops-1000/basic_train.tsv",
            "tsv_data/._new_aan_pairs.train.tsv",
            "tsv_data/new_aan_pairs.tsv",
        ):
            archive.add(decoy, f"lra_release/lra_release/{name}")
        for part in parts:
            archive.add(folder / f"new_aan_pairs.{part}.tsv", f"{inside}/new_aan_pairs.{part}.tsv")
            archive.add(decoy, f"{inside}/new_aan_pairs.{part}.only_ids.tsv")
    return path


def task(protocol="clean", **knobs) -> Retrieval:
    return Retrieval(RetrievalConfig("retrieval", **knobs), 0, protocol, TrainConfig(), 0)


def prepared(source: Path, protocol="legacy", **knobs) -> Retrieval:
    made = task(protocol, **knobs)
    made.prepare(Order(source=str(source)))
    return made


def slow_ids(level: str, seq_len: int, max_vocab: int = 98, rows=ROWS):
    """A function from a text to its ids, by the published rules."""
    if level == "byte":
        return lambda text: [byte + 1 for byte in text.encode()[:10_000]][:seq_len]
    counts = Counter("".join(text[:3999] for _, *texts in rows["train"] for text in texts))
    order = sorted(counts, key=lambda character: (-counts[character], character))[: max_vocab - 3]
    ids = {character: index + 3 for index, character in enumerate(order)}
    return lambda text: [ids.get(character, 1) for character in text[: seq_len - 1]] + [2]


def given(made: Retrieval, split: str) -> list[tuple[int, list[int], list[int]]]:
    """What a source gives, without padding."""
    source = made.source(split)
    batch = made.decode(source.__getitems__(list(range(source.size))))
    assert not batch.x[~batch.mask].any()
    assert not batch.x2[~batch.mask2].any()
    assert max(batch.x.max(), batch.x2.max()) < made.spec.input_size
    firsts, seconds = ([x[m].tolist() for x, m in zip(*both, strict=True)] for both in (batch[0::2][:2], batch[4:6]))
    return list(zip(batch.y.tolist(), firsts, seconds, strict=True))


def unliteral(text: str) -> str:
    """What the project's rule makes of a text under task.literal=undo."""
    return {"b'cut short": text, PAPERS[9]: text, "b''": text}.get(text) or (
        eval(text).decode() if text.startswith(("b'", 'b"')) else text  # noqa: S307 (this file's own texts)
    )


@pytest.mark.parametrize("literal", ["keep", "undo"])
@pytest.mark.parametrize(("level", "seq_len"), [("char", 4000), ("char", 12), ("byte", 4000), ("byte", 12)])
def test_batches_equal_a_slow_reading(official, level, literal, seq_len):
    made = prepared(official, level=level, literal=literal, seq_len=seq_len)
    meant = unliteral if literal == "undo" else str
    rows = {part: [(label, meant(a), meant(b)) for label, a, b in ROWS[part]] for part in PARTS}
    encode = slow_ids(level, seq_len, rows=rows)
    for split, part in zip(("train", "val", "test"), PARTS, strict=True):
        assert given(made, split) == [(label, encode(a), encode(b)) for label, a, b in rows[part]]


def test_what_training_never_has_and_what_finds_no_room_is_unknown(official):
    made = prepared(official)
    batch = made.decode(made.source("test").__getitems__([4]))
    assert "test alone: \N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}'" in made.words(batch.x[0].numpy())
    small = task("legacy", max_vocab=20)
    batch = small.source("train").__getitems__(list(range(31)))
    assert int(batch.x.max()) == 19
    assert given(small, "val")[0][1] == slow_ids("char", 4000, 20)(PAPERS[0])


def test_words_are_the_text(official):
    for level, size in (("byte", 257), ("char", 98)):
        made = prepared(official, level=level)
        assert made.spec.input_size == size
        batch = made.decode(made.source("train").__getitems__([7]))
        assert made.words(batch.x[0].numpy()) == PAPERS[7]
        assert made.words(batch.x2[0].numpy()) == PAPERS[2]


def test_archive_and_folder_give_the_same_set(official, tmp_path, monkeypatch):
    manifests = []
    for number, source in enumerate((official, packed(official), packed(official, reversed(PARTS)))):
        monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / f"store{number}"))
        manifests.append(prepared(source).data.manifest)
    assert len({manifest.content for manifest in manifests}) == 1
    assert manifests[0].facts == manifests[1].facts == manifests[2].facts
    assert [manifest.source for manifest in manifests] == ["tsv_data", "lra_release.gz", "lra_release.gz"]


def test_ends_of_lines_make_no_difference(official, tmp_path):
    crlf = read_pairs(written(tmp_path / "crlf", end="\r\n"), undo=False, show_progress=False)
    assert crlf.texts == read_pairs(official, undo=False, show_progress=False).texts


def test_distinct_documents_are_stored_once_and_cut(official):
    data = prepared(official).data
    distinct = {text[:4000] for rows in ROWS.values() for _, *texts in rows for text in texts}
    assert len(data.array("bytes_offsets")) == len(distinct) + 1
    assert data.array("bytes").size == sum(len(text.encode()) for text in distinct)
    assert data.array("pairs").shape == (44, 2)
    assert data.array("pairs").dtype == np.int32


def test_manifest_tells_what_was_found(official):
    manifest = prepared(official, "clean").data.manifest
    assert manifest.facts["distinct published texts"] == {
        "distinct": 16, "longer than kept": 3, "literals": 14, "literals not undone": 3,
    }  # fmt: skip
    assert manifest.facts["distinct documents kept"] == 15
    assert manifest.facts["train"] == {"pairs": 32, "citing": 16, "distinct pairs": 14, "distinct documents": 13}
    assert manifest.notes == ["the official files have 147,086/18,090/17,437 pairs, these have 32/7/5"]
    assert manifest.options == {"literal": "keep"}


def test_keep_and_undo_are_two_sets(official):
    kept, undoing = prepared(official), prepared(official, literal="undo")
    assert kept.data.folder != undoing.data.folder
    assert kept.data.manifest.content != undoing.data.manifest.content
    assert kept.fingerprint() != undoing.fingerprint()


def test_clean_leaves_out_pairs_that_occur_later_in_either_order(official):
    legacy, clean = prepared(official), task("clean")
    pairs, part = clean.data.array("pairs"), clean.data.part
    assert [len(legacy.rows(split)) for split in ("train", "val", "test")] == [32, 7, 5]

    def found(rows):
        return {frozenset(pair) for pair in pairs[rows].tolist()}

    in_train, in_val, in_test = (found(part == number) for number in range(3))
    assert in_train & in_val, "the files must overlap, or this shows nothing"
    assert found(clean.rows("train")) == in_train - in_val - in_test
    assert found(clean.rows("val")) == in_val - in_test
    assert found(clean.rows("test")) == in_test
    assert len(clean.rows("val")) == 3


@pytest.mark.parametrize("literal", ["keep", "undo"])
def test_export_is_read_back_as_the_same_set(official, tmp_path, monkeypatch, literal):
    made = prepared(official, literal=literal)
    made.export(tmp_path / "export")
    assert "at most the first 4,000 characters" in (tmp_path / "export" / "README.txt").read_text()
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "other"))
    again = prepared(tmp_path / "export", literal=literal)
    assert again.data.manifest.content == made.data.manifest.content


@pytest.mark.parametrize(
    "text", ["plain", "it's", 'say "so"', "' and \"", "\\x41 \\n \t\r\n\0", "\u00e9\U0001f600", "\\"]
)
def test_undone_reverses_printing(text):
    assert undone(repr(text.encode())) == text


NO_LITERALS = [
    "",
    "plain",
    "b'",
    "b''",
    "b'open",
    "'a'",
    "B'a'",
    " b'a'",
    "b'a'\n",
    "b\"a'",
    "b'it's'",
    "b'\u00e9'",
    "b'\t'",
]
NO_LITERALS += [r"b'\d'", r"b'\xZZ'", r"b'\xff'", r"b'a\'", "b'a' b'b'", "b'a'*9", "b''if" + "(" * 500 + "''"]


@pytest.mark.parametrize("text", NO_LITERALS)
def test_what_is_no_printed_literal_is_not_undone(text):
    assert undone(text) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1.0\ta\tb\tc\n", "row 3: 4 columns; expected five"),
        (b"1.0\ta\tb\tc\td\te\n", "row 3: 6 columns"),
        (b"\n", "row 3: 1 columns"),
        (b"label\tid1\tid2\ttext1\ttext2\n", "row 3: the label is 'label'; expected 0.0 or 1.0"),
        (b"2.0\ta\tb\tc\td\n", "row 3: the label is '2.0'"),
        (b"1.0\ta\tb\t\td\n", "row 3: a text is empty"),
        (b"1.0\ta\tb\tc\t\xff\n", "row 3: not UTF-8"),
    ],
)
@pytest.mark.parametrize("pack", [False, True])
def test_a_bad_row_is_named(official, line, message, pack, store):
    path = official / "new_aan_pairs.eval.tsv"
    path.write_bytes(b"".join([*path.read_bytes().splitlines(keepends=True)[:2], line, b"never read"]))
    with pytest.raises(LraBenchError, match=rf"new_aan_pairs.eval.tsv, {message}") as caught:
        prepared(packed(official) if pack else official)
    assert "\n" not in str(caught.value)
    assert not list(store.glob("retrieval/official*"))


def test_files_must_be_there_once_with_pairs_in_them(official, tmp_path):
    with pytest.raises(LraBenchError, match=r"lacks new_aan_pairs\.eval\.tsv, new_aan_pairs\.test\.tsv"):
        prepared(packed(official, ["train"]))
    written(official / "copy")
    with pytest.raises(LraBenchError, match=r"eval\.tsv twice"):
        prepared(official)
    with pytest.raises(LraBenchError, match=r"train\.tsv holds no pairs"):
        prepared(written(tmp_path / "empty", ROWS | {"train": []}))


def test_a_source_must_be_named():
    with pytest.raises(LraBenchError, match=r"needs --source: lra_release\.gz .*https://storage"):
        task().prepare(Order())
    with pytest.raises(LraBenchError, match=r"lra-bench data prepare retrieval task\.literal=undo --source"):
        _ = task(literal="undo").data


@pytest.mark.parametrize("knobs", [{"seq_len": 4001}, {"seq_len": 1}, {"max_vocab": 3}, {"max_vocab": 259}])
def test_knobs_are_checked(knobs):
    with pytest.raises(ConfigError, match=r"task\."):
        RetrievalConfig(**knobs)


def test_files_are_not_held_in_memory(tmp_path):
    texts = [repr((f"paper {i} " + "word " * 6_000).encode()) for i in range(6)]
    rows = {part: [(i % 2, texts[i % 6], texts[i // 6 % 6]) for i in range(120)] for part in PARTS}
    source = written(tmp_path / "big", rows)
    tracemalloc.start()
    read_pairs(source, undo=False, show_progress=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000 < 7_000_000 < (source / "new_aan_pairs.test.tsv").stat().st_size


def test_a_model_trains_on_it(cli, official):
    prepared(official, "clean")
    small = ("backbone.d_model=8", "backbone.depth=1", "train.max_steps=3", "train.val_every=3", "train.log_every=1")
    cli("train", "task=retrieval", "task.seq_len=64", "model=s4d", "model.d_state=4", *small, "train.accelerator=cpu")
    (path,) = Path.cwd().glob("runs/train/*/record.json")
    record = RunRecord.read(path)
    assert record.status in ("ok", "chance")
    assert record.task.origin == "official"
    assert 0 <= record.test["accuracy"] <= 1
    assert {"majority", "first_token"} <= set(record.task.baselines)
