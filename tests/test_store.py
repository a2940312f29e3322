"""The store of prepared data: complete or absent, whatever happens; and what sets are made of and split with."""

import io
import multiprocessing
import os
import pathlib
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from lra_bench.core.errors import LraBenchError
from lra_bench.core.settings import TrainConfig
from lra_bench.data import store
from lra_bench.data.documents import (
    CODE_POINTS,
    END,
    RARE,
    UNKNOWN,
    Documents,
    known_characters,
    read_characters,
    save_texts,
)
from lra_bench.data.manifest import FILE, Description, Manifest, SetKey
from lra_bench.data.prepared import Order
from lra_bench.data.shards import ensure_shards, read_shard
from lra_bench.data.splits import carve, without_content_of
from lra_bench.data.store import SHARDS, PreparedSet, State, build_set, open_set, state_of
from tests import toy_prepared, toy_shards

KEY = SetKey("toy", 1, "official", {"words": "all"})
TIMEOUT = 60

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.toy_prepared"])


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """The store, an empty folder."""
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "store"))
    return tmp_path / "store"


def make(folder: Path) -> Description:
    store.save_array(folder, "labels", np.arange(9, dtype=np.uint8))
    filled = store.create_array(folder, "wide", np.int16, (3, 4))
    filled[:] = 7
    return Description(source="nowhere", facts={"rows": 9})


def build() -> PreparedSet:
    return build_set(KEY, "none", make)


# Complete or absent


def test_a_set_is_what_was_written():
    assert state_of(KEY) == (State.MISSING, "")
    with pytest.raises(LraBenchError, match="toy is not prepared"):
        open_set(KEY)
    made = build()
    assert state_of(KEY) == (State.READY, "")
    assert made.labels.tolist() == list(range(9))
    assert made.array("wide").tolist() == [[7] * 4] * 3
    assert type(made.array("wide")) is np.ndarray
    assert not made.array("wide").flags.writeable
    assert made.manifest.key() == KEY
    assert made.manifest.facts == {"rows": 9}
    assert made.manifest.arrays["wide"].shape == (3, 4)
    assert made.manifest.size == sum(path.stat().st_size for path in made.folder.glob("*.npy"))
    store.verify(made.folder)
    assert list(store.stored_sets()) == [made.folder]


def test_a_set_that_is_ready_is_not_made_again_and_takes_no_lock(place):
    build()
    for lock in place.rglob("*.lock"):
        lock.unlink()
    assert build_set(KEY, "none", lambda folder: pytest.fail("made again")).labels.size == 9
    assert list(place.rglob("*.lock")) == []


def test_equal_data_have_equal_content_and_different_options_different_folders():
    other = SetKey("toy", 1, "official", {"words": "some"})
    newer = SetKey("toy", 2, "official", {"words": "all"})
    sized = SetKey("toy", 1, "generated", {"size": "tiny", "data_seed": 1})
    assert build().manifest.content == build_set(other, "none", make).manifest.content
    assert len({key.variant for key in (KEY, other, newer, sized)}) == 4
    assert sized.variant.startswith("generated-tiny-")
    assert [path.name for path in store.stored_sets()] == sorted([KEY.variant, other.variant])


def test_a_failure_leaves_nothing_that_reads_as_ready():
    def fail(folder: Path) -> Description:
        make(folder)
        raise LraBenchError("no such file")

    with pytest.raises(LraBenchError, match="no such file"):
        build_set(KEY, "none", fail)
    assert state_of(KEY)[0] is State.MISSING
    assert list(store.stored_sets()) == []
    assert build().labels.size == 9


def test_a_disk_without_room_is_one_error(monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(LraBenchError, match="free some space"):
        build()
    assert state_of(KEY)[0] is State.MISSING


def test_two_processes_that_prepare_one_set_make_it_once(place, tmp_path):
    workers = [processes.Process(target=prepare_slowly, args=(place, tmp_path / "log")) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(TIMEOUT)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "log").read_text() == "made\n"
    assert toy().data.array("pixels").shape == (20, 16)
    store.verify(toy().data.folder)


def prepare_slowly(place: Path, log: Path) -> None:
    os.environ["LRA_BENCH_DATA_DIR"] = str(place)
    draw = toy_shards.draw

    def slow(data_seed, number):
        time.sleep(0.1)
        if number == 0:
            with log.open("a") as file:
                file.write("made\n")
        return draw(data_seed, number)

    toy_shards.draw = slow
    build_toy()


@pytest.mark.parametrize("moment", ["second shard", "after the arrays", "before the name"])
def test_a_killed_process_leaves_nothing_that_reads_as_ready(place, moment, monkeypatch):
    there = processes.Event()
    worker = processes.Process(target=prepare_and_hang, args=(place, moment, there))
    worker.start()
    assert there.wait(TIMEOUT)
    worker.kill()
    worker.join(TIMEOUT)
    task = toy()
    assert state_of(task.key())[0] is State.MISSING
    assert list(store.stored_sets()) == []
    finished = {path.name for path in place.glob(f"toy/.*.part/{SHARDS}/*.npz")}
    assert len(finished) == {"second shard": 1, "after the arrays": 4, "before the name": 0}[moment]
    drawn = []
    draw = toy_shards.draw
    monkeypatch.setattr(toy_shards, "draw", lambda seed, number: drawn.append(number) or draw(seed, number))
    prepared = build_toy()
    assert drawn == list(range(len(finished), 4))
    store.verify(prepared.folder)
    expected = np.concatenate([draw(0, number)["rows"] for number in range(4)])
    assert np.array_equal(prepared.array("pixels"), expected)
    assert sorted(path.name for path in place.glob("toy/*")) == [
        f".{prepared.folder.name}.lock",
        prepared.folder.name,
    ]


def prepare_and_hang(place: Path, moment: str, there) -> None:
    os.environ["LRA_BENCH_DATA_DIR"] = str(place)

    def hang(*_, **__):
        there.set()
        time.sleep(1000)

    if moment == "second shard":
        draw = toy_shards.draw
        toy_shards.draw = lambda seed, number: hang() if number == 1 else draw(seed, number)
    elif moment == "after the arrays":
        toy_prepared.Description = hang
    else:
        pathlib.Path.rename = hang
    build_toy()


def toy() -> toy_prepared.Toy:
    return toy_prepared.Toy(toy_prepared.ToyConfig(name="toy", size="tiny"), 0, "clean", TrainConfig(), 0)


def build_toy() -> PreparedSet:
    """Prepare the toy, without the trivial predictors, which take longer."""
    return build_set(toy().key(), "none", lambda folder: toy().make(folder, Order()))


# Wrong in every way


def test_a_flipped_byte_is_found_and_its_file_named():
    folder = build().folder
    content = bytearray((folder / "wide.npy").read_bytes())
    content[-1] ^= 1
    (folder / "wide.npy").write_bytes(content)
    assert state_of(KEY)[0] is State.READY
    with pytest.raises(LraBenchError, match=r"wide\.npy differs from what was prepared; delete .*, prepare again"):
        store.verify(folder)


def cut(folder: Path) -> None:
    os.truncate(folder / "wide.npy", 140)


def remove_array(folder: Path) -> None:
    (folder / "labels.npy").unlink()


def remove_manifest(folder: Path) -> None:
    (folder / FILE).unlink()


def empty_manifest(folder: Path) -> None:
    (folder / FILE).write_bytes(b"")


def manifest_from_the_future(folder: Path) -> None:
    path = folder / FILE
    path.write_text(path.read_text().replace('"dataset"', '"colour": "red",\n "dataset"'))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"wide\.npy has 140 bytes, the manifest says 152"),
        (remove_array, r"labels\.npy is missing"),
        (remove_manifest, r"manifest\.json cannot be read: No such file"),
        (empty_manifest, r"manifest\.json is not a manifest: the file"),
        (manifest_from_the_future, r"manifest\.json is not a manifest: colour: Extra inputs"),
    ],
)
def test_a_wrong_set_is_known_without_reading_it_and_made_anew(damage, message):
    folder = build().folder
    damage(folder)
    state, why = state_of(KEY)
    assert state is State.WRONG
    for read in (lambda: open_set(KEY), lambda: store.verify(folder)):
        with pytest.raises(LraBenchError, match=message) as raised:
            read()
        assert str(raised.value) == why
    build()
    store.verify(folder)


def test_a_task_with_wrong_data_says_which_command_to_run():
    folder = build_toy().folder
    os.truncate(folder / "pixels.npy", 100)
    with pytest.raises(LraBenchError, match=r"pixels\.npy has 100 bytes.*Run: lra-bench data prepare toy --size tiny"):
        _ = toy().data


def test_a_manifest_survives_its_file():
    manifest = build().manifest
    assert Manifest.parse(manifest.model_dump_json().encode(), "it") == manifest


# Shards


def shard_bytes(folder: Path, jobs: int) -> list[bytes]:
    return [path.read_bytes() for path in ensure_shards(folder, range(5), partial(toy_shards.draw, 3), jobs)]


def test_shards_do_not_depend_on_the_number_of_processes(tmp_path):
    alone = shard_bytes(tmp_path / "one", 1)
    assert alone == shard_bytes(tmp_path / "two", 2)
    assert len(set(alone)) == 5
    (tmp_path / "one" / "00002.npz").unlink()
    (tmp_path / "one" / "00001.npz").write_bytes(b"finished before")
    assert shard_bytes(tmp_path / "one", 1) == [alone[0], b"finished before", *alone[2:]]


def test_an_error_in_another_process_arrives(tmp_path):
    with pytest.raises(ValueError, match="non-negative"):
        list(ensure_shards(tmp_path, range(2), partial(toy_shards.draw, -1), jobs=2))
    assert list(tmp_path.glob("*.npz")) == []


@given(place=st.integers(0, 10**6), flip=st.integers(1, 255), cut=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_damaged_shard_is_one_clear_error_or_harmless(tmp_path_factory, place, flip, cut):
    folder = tmp_path_factory.mktemp("shards", numbered=True)
    (path,) = ensure_shards(folder, [0], partial(toy_shards.draw, 0), 1)
    whole = path.read_bytes()
    place %= len(whole)
    damaged = whole[:place] if cut else whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :]
    path.write_bytes(damaged)
    try:
        arrays = read_shard(path)
    except LraBenchError as error:
        assert "is damaged" in str(error)  # noqa: PT017
        assert "delete it and run the same command again" in str(error)  # noqa: PT017
    else:  # a byte that is not content, such as a date
        assert not cut
        assert np.array_equal(arrays["rows"], toy_shards.draw(0, 0)["rows"])


def test_processes_of_a_pool_die_with_a_parent_that_is_killed(tmp_path):
    parent = processes.Process(target=generate_for_ever, args=(tmp_path,))
    parent.start()
    deadline = time.monotonic() + TIMEOUT
    while len(list(tmp_path.glob("*.begun"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    locks = [FileLock(tmp_path / f"{number}.held") for number in range(2)]
    assert not any(is_free(lock) for lock in locks)
    parent.kill()
    parent.join(TIMEOUT)
    for lock in locks:
        lock.acquire(timeout=TIMEOUT)
        lock.release()


def generate_for_ever(folder: Path) -> None:
    list(ensure_shards(folder, range(2), partial(toy_shards.hold_a_lock, folder), jobs=2))


def is_free(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except TimeoutError:
        return False
    lock.release()
    return True


# Splits

labelled = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=120)


@given(rows=labelled, seed=st.integers(0, 2**32), data=st.data())
def test_carving_keeps_duplicates_together_and_loses_nothing(rows, seed, data):
    labels, hashes = np.array(rows, dtype=np.uint8).T
    hashes = hashes.astype(np.uint64)
    pool = np.array(sorted(data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1))))
    size = data.draw(st.integers(0, len(pool)))
    train, val = carve(pool, size, labels, hashes, seed)
    assert np.array_equal(np.sort(np.concatenate([train, val])), pool)
    assert np.array_equal(train, np.sort(train))
    assert np.array_equal(val, np.sort(val))
    assert not set(hashes[train]) & set(hashes[val])
    assert len(val) <= size
    again = carve(pool, size, labels, hashes, seed)
    assert all(map(np.array_equal, again, (train, val)))


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=5).filter(any), seed=st.integers(0, 2**32), data=st.data()
)
def test_carving_distinct_examples_is_exact_and_stratified(counts, seed, data):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.uint8)
    size = data.draw(st.integers(0, len(labels)))
    _, val = carve(np.arange(len(labels)), size, labels, np.arange(len(labels), dtype=np.uint64), seed)
    assert len(val) == size
    found = np.bincount(labels[val], minlength=len(counts))
    assert (np.abs(found - np.array(counts) * size / len(labels)) < 1).all()


def test_carving_depends_on_the_seed():
    labels, hashes = np.zeros(100, dtype=np.uint8), np.arange(100, dtype=np.uint64)
    first, second = (carve(np.arange(100), 10, labels, hashes, seed)[1] for seed in (0, 1))
    assert first.tolist() != second.tolist()


def test_a_large_group_of_duplicates_does_not_spoil_the_size():
    hashes = np.array([7] * 15 + list(range(100, 185)), dtype=np.uint64)
    for seed in range(20):
        _, val = carve(np.arange(100), 10, np.zeros(100, dtype=np.uint8), hashes, seed)
        assert len(val) == 10
        assert 7 not in hashes[val]


def test_what_occurs_elsewhere_is_left_out():
    hashes = np.array([5, 6, 5, 7, 8, 6], dtype=np.uint64)
    assert without_content_of(np.array([0, 1, 2, 3]), np.array([4, 5]), hashes).tolist() == [0, 2, 3]


def test_equal_rows_have_equal_hashes_and_different_ones_do_not():
    rows = [b"a", b"b", b"a", b"", b"ab"]
    hashes = store.content_hashes(iter(rows))
    assert hashes.dtype == np.uint64
    assert [[a == b for b in hashes] for a in hashes] == [[a == b for b in rows] for a in rows]


# Documents


@given(
    rows=st.lists(st.binary(max_size=12), min_size=1, max_size=12),
    limit=st.integers(1, 14),
    end=st.none() | st.integers(1, 200),
    shift=st.integers(1, 3),
    cut=st.integers(1, 256) | st.integers(252, 256),
    data=st.data(),
)
def test_gathering_is_what_a_slow_loop_does(rows, limit, end, shift, cut, data):
    values = np.frombuffer(b"".join(rows), dtype=np.uint8)
    offsets = np.cumsum([0, *map(len, rows)])
    documents = Documents(values, offsets, limit, shift, cut, end)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=15))
    ids, mask = documents.gather(np.array(chosen))
    expected = []
    for row in chosen:
        kept = [value + shift if value < cut else UNKNOWN for value in rows[row][: limit - (end is not None)]]
        expected.append(kept if end is None else [*kept, end])
        assert documents.ids(row).tolist() == expected[-1]
    longest = max(map(len, expected))
    assert ids.shape == mask.shape == (len(chosen), longest)
    assert ids.tolist() == [row + [0] * (longest - len(row)) for row in expected]
    assert mask.tolist() == [[True] * len(row) + [False] * (longest - len(row)) for row in expected]
    assert ids.dtype == (torch.uint8 if cut + shift <= 256 else torch.int16)


def stored_texts(folder: Path, texts: list[str], counted: list[str]) -> tuple[PreparedSet, dict[str, int]]:
    counts = save_texts(folder, texts, counted)
    return PreparedSet(folder, None), counts


def read_back(data: PreparedSet, row: int, min_freq: int, max_vocab: int) -> str:
    known = known_characters(data.array("character_counts"), min_freq, max_vocab)
    ids, mask = Documents.of_words(data, "ranks", 10**6, known).gather(np.array([row]))
    assert mask.all()
    assert ids[0, -1] == END
    return read_characters(ids[0].numpy(), data.array("characters"))


@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=5), min_freq=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_texts_come_back_but_for_rare_characters(tmp_path_factory, texts, min_freq):
    data, counts = stored_texts(tmp_path_factory.mktemp("texts"), texts, texts)
    by_frequency = sorted(Counter("".join(texts)).items(), key=lambda item: (-item[1], item[0]))
    assert list(counts.items()) == by_frequency
    for row, text in enumerate(texts):
        assert Documents.of_bytes(data, "bytes", 10**6).row(row).tobytes().decode() == text
        known = {character for character, count in counts.items() if count >= min_freq}
        expected = "".join(character if character in known else "\ufffd" for character in text)
        assert read_back(data, row, min_freq, 258) == expected


def test_every_plane_of_unicode_is_kept(tmp_path):
    text = "".join(
        chr(min(plane * 0x10000 + 0xFFFD, CODE_POINTS - 1)) + chr(plane * 0x10000 + 0x41) for plane in range(17)
    )
    data, _ = stored_texts(tmp_path, [text], [text])
    assert read_back(data, 0, 1, 258) == text
    ids, _ = Documents.of_bytes(data, "bytes", 10**6).gather(np.array([0]))
    assert bytes((ids[0] - 1).tolist()) == text.encode()


def test_a_vocabulary_is_the_most_frequent_characters(tmp_path):
    many = "".join(chr(0x4E00 + place) * (400 - place) for place in range(300))
    data, counts = stored_texts(tmp_path, [many, "unseen"], [many])
    assert len(counts) == 300
    known = [known_characters(data.array("character_counts"), *limits) for limits in ((1, 258), (1, 20), (399, 258))]
    assert known == [255, 17, 2]
    assert (Documents.of_words(data, "ranks", 99, 255).row(1) == RARE).all()
    assert read_back(data, 1, 1, 258) == "\ufffd" * 6
    short = read_back(data, 0, 1, 258)
    assert short[:400] == chr(0x4E00) * 400
    assert short.count("\ufffd") == sum(400 - place for place in range(255, 300))


def test_an_array_written_piece_by_piece_is_a_plain_npy_file(tmp_path):
    array = store.create_array(tmp_path, "pieces", np.float32, (4, 2))
    array[:2], array[2:] = 1, 2
    assert np.load(io.BytesIO((tmp_path / "pieces.npy").read_bytes())).tolist() == [[1, 1]] * 2 + [[2, 2]] * 2
