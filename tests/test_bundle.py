"""Bundles: what goes in comes out, and nothing that is damaged or hostile gets into the store."""

import io
import json
import os
import shutil
import struct
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lra_bench.core.errors import LraBenchError
from lra_bench.data import store
from lra_bench.data.bundle import bundle, unbundle
from lra_bench.data.manifest import FILE, Description, SetKey
from lra_bench.data.store import State, build_set, exclusive, folder_of, open_set, state_of
from tests.test_store import TIMEOUT, processes

KEYS = [SetKey("one", 1, "official", {}), SetKey("two", 3, "generated", {"size": "tiny", "data_seed": 4})]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """The store, an empty folder."""
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "store"))
    return tmp_path / "store"


def rows(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 30), dtype=np.uint8)


def make(folder: Path, seed: int = 0) -> Description:
    store.save_array(folder, "rows", rows(seed))
    store.save_array(folder, "labels", np.arange(20, dtype=np.uint8))
    return Description(source="nowhere")


@pytest.fixture
def packed(tmp_path, place) -> Path:
    """A bundle of two sets, and an empty store."""
    for key in KEYS:
        build_set(key, "none", make)
    bundle(tmp_path / "all.tar", list(store.stored_sets()))
    shutil.rmtree(place)
    return tmp_path / "all.tar"


def names() -> list[str]:
    return [f"{key.dataset}/{key.variant}" for key in KEYS]


def nothing_is_ready() -> bool:
    return list(store.stored_sets()) == [] and all(state_of(key)[0] is State.MISSING for key in KEYS)


def test_sets_come_out_as_they_went_in(packed, place, tmp_path):
    assert unbundle(packed) == dict.fromkeys(names(), "added")
    for key in KEYS:
        assert open_set(key).labels.tolist() == list(range(20))
        store.verify(folder_of(key))
    assert list(place.rglob("*.part")) == []
    bundle(tmp_path / "again.tar", list(store.stored_sets())[::-1])
    assert (tmp_path / "again.tar").read_bytes() == packed.read_bytes()


def test_a_bundle_is_a_plain_tar_that_others_can_read(packed):
    with tarfile.open(packed, "r:") as archive:
        assert archive.getnames() == [f"{name}/{file}" for name in names() for file in (FILE, "labels.npy", "rows.npy")]
        assert {(member.mtime, member.uid, member.uname) for member in archive} == {(0, 0, "")}


def test_floors_beside_the_data_stay_at_home(packed):
    unbundle(packed)
    (folder_of(KEYS[0]) / "floors-0.json").write_text("{}")
    bundle(packed, list(store.stored_sets()))
    assert b"floors-0" not in packed.read_bytes()


def test_sets_that_are_ready_stay(packed, place):
    build_set(KEYS[0], "none", lambda folder: make(folder, seed=9))
    build_set(KEYS[1], "none", make)
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*.npy")}
    assert list(unbundle(packed).values()) == [
        "ready already, with other data than in the bundle; kept",
        "ready already",
    ]
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*.npy")} == before


def test_a_wrong_set_is_replaced(packed):
    build_set(KEYS[0], "none", make)
    os.truncate(folder_of(KEYS[0]) / "rows.npy", 10)
    assert unbundle(packed) == dict.fromkeys(names(), "added")
    store.verify(folder_of(KEYS[0]))


def test_shards_of_an_interrupted_generator_survive_a_bad_bundle(packed, place):
    shard = place / KEYS[0].dataset / f".{KEYS[0].variant}.part" / store.SHARDS / "0.npz"
    shard.parent.mkdir(parents=True)
    shard.touch()
    content = bytearray(packed.read_bytes())
    content[content.index(b"\x93NUMPY") + 130] ^= 1
    packed.write_bytes(content)
    with pytest.raises(LraBenchError, match="is damaged"):
        unbundle(packed)
    assert [path.name for path in shard.parent.parent.rglob("*")] == [store.SHARDS, "0.npz"]


def test_processes_that_unbundle_at_once_add_each_set_once(packed, place):
    queue = processes.Queue()
    workers = [processes.Process(target=unbundle_elsewhere, args=(place, packed, queue)) for _ in range(2)]
    with exclusive(folder_of(KEYS[0])):
        for worker in workers:
            worker.start()
    outcomes = [queue.get(timeout=TIMEOUT) for _ in workers]
    for worker in workers:
        worker.join(TIMEOUT)
    for name in names():
        assert sorted(outcome[name] for outcome in outcomes) == ["added", "ready already"]
    for key in KEYS:
        store.verify(folder_of(key))


def unbundle_elsewhere(place: Path, packed: Path, queue) -> None:
    os.environ["LRA_BENCH_DATA_DIR"] = str(place)
    queue.put(unbundle(packed))


# What is refused


@given(place=st.integers(0, 10**9), flip=st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_a_flipped_byte_is_refused_or_harmless(place, flip):
    content = bytearray(small()[0])
    content[place % len(content)] ^= flip
    refused_or_right(bytes(content))


@given(length=st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_a_file_that_was_cut_is_refused(length):
    content, data_end = small()
    refused_or_right(content[: length % (data_end + 1024)], refused=True)


def refused_or_right(content: bytes, refused: bool = False) -> None:
    """Unbundling raises one clear error and adds nothing, or the sets are what they were."""
    with scratch_store() as folder:
        (folder / "bad.tar").write_bytes(content)
        try:
            outcome = unbundle(folder / "bad.tar")
        except LraBenchError as error:
            assert "bad.tar" in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            assert nothing_is_ready()
            assert list((folder / "store").rglob("*.part")) == []
        else:
            assert not refused
            assert outcome == dict.fromkeys(names(), "added")
            for key in KEYS:
                store.verify(folder_of(key))
                assert np.array_equal(open_set(key).array("rows"), rows())


class scratch_store:  # noqa: N801
    """A new folder with an empty store in it."""

    def __enter__(self) -> Path:
        self.patch = pytest.MonkeyPatch()
        self.folder = tempfile.TemporaryDirectory()
        self.patch.setenv("LRA_BENCH_DATA_DIR", str(Path(self.folder.name) / "store"))
        return Path(self.folder.name)

    def __exit__(self, *_) -> None:
        self.patch.undo()
        self.folder.cleanup()


@cache
def small() -> tuple[bytes, int]:
    """Bytes of a bundle, and where its last array ends."""
    with scratch_store() as folder:
        for key in KEYS:
            build_set(key, "none", make)
        bundle(folder / "small.tar", list(store.stored_sets()))
        with tarfile.open(folder / "small.tar") as archive:
            last = archive.getmembers()[-1]
        return (folder / "small.tar").read_bytes(), last.offset_data + -(-last.size // 512) * 512


def entries(packed: Path) -> dict[str, bytes]:
    with tarfile.open(packed, "r:") as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def repack(path: Path, files: dict[str, bytes], extra: tuple[tarfile.TarInfo, ...] = ()) -> None:
    with tarfile.open(path, "w") as archive:
        for member in extra:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


HOSTILE = {
    "upwards": tarfile.TarInfo("../escaped/x-1/rows.npy"),
    "upwards inside": tarfile.TarInfo("one/../rows.npy"),
    "absolute": tarfile.TarInfo("/tmp/escaped/x/rows.npy"),  # noqa: S108
    "dot": tarfile.TarInfo("./one/official/rows.npy"),
    "deep": tarfile.TarInfo("one/official/more/rows.npy"),
    "shallow": tarfile.TarInfo("one/rows.npy"),
    "hidden": tarfile.TarInfo("one/.official/rows.npy"),
    "other kind": tarfile.TarInfo("one/official/rows.py"),
    "line break": tarfile.TarInfo("one/official/rows.npy\n"),
    "backslash": tarfile.TarInfo("one\\official/x/rows.npy"),
    "symbolic link": special("one/official/rows.npy", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": special("one/official/rows.npy", tarfile.LNKTYPE, "one/official/labels.npy"),
    "folder": special("one/official", tarfile.DIRTYPE),
    "device": special("one/official/rows.npy", tarfile.CHRTYPE),
    "pipe": special("one/official/rows.npy", tarfile.FIFOTYPE),
    "continuous file": special("one/official/rows.npy", tarfile.CONTTYPE),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_whatever_is_no_array_is_refused(packed, tmp_path, kind):
    repack(packed, entries(packed), extra=(HOSTILE[kind],))
    with pytest.raises(LraBenchError, match=r"is refused: it holds .*, and a bundle holds arrays alone"):
        unbundle(packed)
    assert nothing_is_ready()
    assert not (tmp_path / "escaped").exists()
    assert not Path("/tmp/escaped").exists()  # noqa: S108


def test_a_size_below_zero_is_refused(packed):
    content = bytearray(packed.read_bytes())
    content[124:136] = b"\xff" + struct.pack(">q", -1024).rjust(11, b"\xff")
    content[148:156] = b" " * 8
    content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
    packed.write_bytes(content)
    with pytest.raises(LraBenchError, match=r"all\.tar"):
        unbundle(packed)
    assert nothing_is_ready()


def edited(key: SetKey, edit) -> dict[str, bytes]:
    """The entries of the small bundle, the manifest of one set changed."""
    with scratch_store() as folder:
        (folder / "small.tar").write_bytes(small()[0])
        files = entries(folder / "small.tar")
    name = f"{key.dataset}/{key.variant}/{FILE}"
    manifest = json.loads(files[name])
    edit(manifest)
    return {**files, name: json.dumps(manifest).encode()}


def without(*endings: str):
    return lambda: {name: content for name, content in entries_of_small().items() if not name.endswith(endings)}


def entries_of_small() -> dict[str, bytes]:
    return edited(KEYS[0], lambda manifest: None)


def renamed_set() -> dict[str, bytes]:
    return {name.replace(KEYS[0].variant, "official-0123abcd"): value for name, value in entries_of_small().items()}


def extra_array() -> dict[str, bytes]:
    return {**entries_of_small(), f"one/{KEYS[0].variant}/extra.npy": b"1"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (without("rows.npy"), "are not those of its manifest"),
        (without(FILE), "has no manifest"),
        (extra_array, "are not those of its manifest"),
        (renamed_set, "holds the manifest of another set"),
        (lambda: edited(KEYS[0], lambda m: m.update(dataset="two")), "holds the manifest of another set"),
        (lambda: edited(KEYS[0], lambda m: m.update(dataset="../..")), "holds the manifest of another set"),
        (lambda: edited(KEYS[1], lambda m: m["options"].update(size="full")), "holds the manifest of another set"),
        (lambda: edited(KEYS[0], lambda m: m["arrays"]["rows"].update(size=5)), "are not those of its manifest"),
        (lambda: edited(KEYS[0], lambda m: m["arrays"]["rows"].update(sha256="0" * 64)), "rows.npy differs"),
        (lambda: edited(KEYS[1], lambda m: m["arrays"]["rows"].update(sha256="0" * 64)), "rows.npy differs"),
        (lambda: edited(KEYS[0], lambda m: m.update(colour="red")), "is not a manifest: colour"),
        (lambda: {**entries_of_small(), f"one/{KEYS[0].variant}/{FILE}": b"\xff{"}, "is not a manifest"),
        (dict, "holds no prepared sets"),
    ],
)
def test_sets_that_are_not_as_their_manifests_say_are_refused(tmp_path, place, files, message):
    repack(tmp_path / "bad.tar", files())
    with pytest.raises(LraBenchError, match=message) as raised:
        unbundle(tmp_path / "bad.tar")
    assert "bad.tar" in str(raised.value)
    assert nothing_is_ready()
    assert list(place.rglob("*.npy")) == []


def test_a_file_that_stands_twice_is_refused(packed):
    name = f"one/{KEYS[0].variant}/rows.npy"
    repack(packed, entries(packed), extra=(tarfile.TarInfo(name),))
    with pytest.raises(LraBenchError, match=r"rows\.npy twice"):
        unbundle(packed)


def test_the_order_of_files_does_not_matter(packed):
    repack(packed, dict(reversed(entries(packed).items())))
    assert unbundle(packed) == dict.fromkeys(names(), "added")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b\x08\0" + bytes(600), os.urandom(4096), bytes(512)])
def test_a_foreign_file_is_refused(tmp_path, content):
    (tmp_path / "foreign.tar").write_bytes(content)
    with pytest.raises(LraBenchError, match=r"foreign\.tar"):
        unbundle(tmp_path / "foreign.tar")
    assert nothing_is_ready()


def test_a_disk_without_room_is_one_error(packed, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(LraBenchError, match="free some space"):
        unbundle(packed)
    assert nothing_is_ready()


def test_a_missing_file_is_one_error(tmp_path):
    with pytest.raises(LraBenchError, match="there is no file"):
        unbundle(tmp_path / "none.tar")


# Writing


def test_a_damaged_set_is_not_bundled(packed, tmp_path):
    unbundle(packed)
    path = folder_of(KEYS[1]) / "rows.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(LraBenchError, match=r"rows\.npy differs"):
        bundle(tmp_path / "new.tar", list(store.stored_sets()))
    assert not (tmp_path / "new.tar").exists()


@pytest.mark.parametrize(
    ("name", "message"), [("text", "must end in .tar"), ("no/such/folder/x.tar", "there is no folder")]
)
def test_a_bundle_has_a_name_and_a_place(packed, tmp_path, name, message):
    unbundle(packed)
    with pytest.raises(LraBenchError, match=message):
        bundle(tmp_path / name, list(store.stored_sets()))


def test_nothing_cannot_be_bundled(tmp_path):
    with pytest.raises(LraBenchError, match="no prepared set to bundle"):
        bundle(tmp_path / "new.tar", [])


def test_a_full_disk_leaves_the_old_bundle(packed, monkeypatch):
    unbundle(packed)
    before = packed.read_bytes()
    monkeypatch.setattr(tarfile.TarFile, "addfile", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        bundle(packed, list(store.stored_sets()))
    assert packed.read_bytes() == before
    assert {path.name for path in packed.parent.iterdir()} == {"store", "all.tar"}
