import hashlib
import io
import os
import sys
import tarfile
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from lra_bench.core.errors import LraBenchError
from lra_bench.data.members import CHUNK, read_members, sha256_of
from lra_bench.data.progress import track, track_bytes
from tests import official

FILES = {"set/b.txt": b"second", "set/a.txt": b"first" * 500, "set/deep/c.txt": b"", "set/skip.bin": b"no"}
TEXTS = {name: content for name, content in FILES.items() if name.endswith(".txt")}
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".gz", ".tar.xz", ".tar.bz2", ".tar.zst")


def read(source, wanted=lambda name: name.endswith(".txt")):
    return [(name, file.read()) for name, file in read_members(source, wanted, show_progress=False)]


def archive(path, files=FILES, extra=()):
    if path.suffix == ".zst":
        pytest.importorskip("zstandard")
    return official.as_tar(path, files, extra)


def test_a_folder_is_read_in_order_of_name(tmp_path):
    assert read(official.as_folder(tmp_path, FILES)) == sorted(TEXTS.items())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_is_read_in_its_own_order(tmp_path, suffix):
    assert read(archive(tmp_path / f"x{suffix}")) == list(TEXTS.items())


def test_content_tells_the_form_and_not_the_name(tmp_path):
    misnamed = archive(tmp_path / "x.tar.gz").rename(tmp_path / "x.parquet")
    assert read(misnamed) == list(TEXTS.items())


def test_a_leading_dot_is_dropped(tmp_path):
    assert read(archive(tmp_path / "x.tar", {"./set//./a.txt": b"1"})) == [("set/a.txt", b"1")]


def test_files_may_be_left_unread_and_close_behind(tmp_path):
    kept = []
    for name, file in read_members(archive(tmp_path / "x.tar.gz"), lambda name: True, False):
        kept.append((name, file.read(3), file))
    assert [(name, start) for name, start, _ in kept] == [(name, content[:3]) for name, content in FILES.items()]
    with pytest.raises(ValueError, match="closed"):
        kept[0][2].read()


def test_the_official_release_is_a_gzipped_tar(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 32, 32), np.uint8)
    release = official.lra_release(
        official.listops({"val": [("( ( [MAX 4 ) ] )", 4)]}),
        official.aan({"eval": [(1, "P1", "P2", b"a\nb\xe9", b"it's")]}),
        official.pathfinder(images, [1, 0, 1], batch_size=2),
    )
    found = dict(read(official.as_tar(tmp_path / "lra_release.gz", release), lambda name: True))
    root = "lra_release/lra_release"
    assert found[f"{root}/listops-1000/basic_val.tsv"] == b"Source\tTarget\r\n( ( [MAX 4 ) ] )\t4\r\n"
    row = found[f"{root}/tsv_data/new_aan_pairs.eval.tsv"].decode().rstrip("\n").split("\t")
    assert row == ["1.0", "P1", "P2", r"b'a\nb\xe9'", 'b"it\'s"']
    hard = f"{root}/pathfinder32/curv_contour_length_14"
    assert found[f"{hard}/metadata/1.npy"].split()[:4] == [b"imgs/1", b"sample_0.png", b"0", b"1"]
    with Image.open(io.BytesIO(found[f"{hard}/imgs/1/sample_0.png"])) as image:
        np.testing.assert_array_equal(np.asarray(image), images[2])


@pytest.mark.parametrize("name", ["../../x.txt", "/x.txt", "set/../../x", "..\\x.txt", "C:\\x.txt", "C:x.txt", ".."])
def test_names_that_leave_the_archive_are_refused(tmp_path, name):
    (tmp_path / "a/b").mkdir(parents=True)
    path = archive(tmp_path / "a/b/x.tar.gz", FILES | {name: b"evil"})
    with pytest.raises(LraBenchError, match="absolute or leads upwards"):
        read(path, lambda name: False)
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_are_refused_where_wanted(tmp_path, kind):
    path = archive(tmp_path / "x.tar", extra=[official.link("set/evil.txt", "/etc/passwd", kind)])
    with pytest.raises(LraBenchError, match=r"set/evil\.txt is a link or a device"):
        read(path)
    assert read(path, lambda name: name == "set/b.txt") == [("set/b.txt", b"second")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_archive_is_one_clear_error(tmp_path, suffix):
    path = archive(tmp_path / f"x{suffix}")
    size = path.stat().st_size
    outcomes = [outcome_of(official.truncated(path, cut)) for cut in range(0, size, size // 50)]
    assert set(outcomes) <= {"error", "whole"}
    assert outcomes.count("error") > 0.5 * len(outcomes)  # the end of the plain one is padding


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_cut_between_members_is_an_error(tmp_path, suffix):
    whole = archive(tmp_path / "whole.tar").read_bytes()
    path = tmp_path / f"x{suffix}"
    if suffix == ".tar.zst":
        pytest.importorskip("zstandard")
    path.write_bytes(official.compressed(whole[:1024], path.suffix))  # the header and the content of the first file
    with pytest.raises(LraBenchError, match="download it again"):
        read(path)


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_a_changed_bit_is_one_clear_error(tmp_path, suffix):
    path = archive(tmp_path / f"x{suffix}")
    size = path.stat().st_size
    outcomes = [outcome_of(official.flipped(path, position)) for position in range(0, size, size // 50)]
    assert set(outcomes) <= {"error", "whole"}
    assert outcomes.count("error") > 0.8 * len(outcomes)  # the time in a gzip header may be any


def test_a_changed_bit_in_a_plain_header_is_one_clear_error(tmp_path):
    path = archive(tmp_path / "x.tar", {"a.txt": b"1", "b.txt": b"2"})
    for position in range(1024, 1024 + 512, 7):
        assert outcome_of(official.flipped(path, position), {"a.txt": b"1", "b.txt": b"2"}) == "error"


def outcome_of(path, texts=TEXTS) -> str:
    """Error, or whole; never a part, never another exception."""
    try:
        found = read(path)
    except LraBenchError as error:
        return "error" if str(path) in str(error) and "\n" not in str(error) else f"unclear: {error}"
    return "whole" if found == list(texts.items()) else "wrong"


def test_the_checksum_at_the_very_end_counts(tmp_path):
    padded = archive(tmp_path / "x.tar").read_bytes() + bytes(4 * CHUNK)
    (tmp_path / "x.tar.gz").write_bytes(official.compressed(padded, ".gz"))
    assert outcome_of(tmp_path / "x.tar.gz") == "whole"
    assert outcome_of(official.flipped(tmp_path / "x.tar.gz", -5)) == "error"


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path):
    long_name = tarfile.TarInfo("x" * CHUNK)  # GNU tar writes a long name as a member of its own
    path = archive(tmp_path / "x.tar.gz", extra=[long_name])
    with pytest.raises(LraBenchError, match="oversized header"):
        read(path)


def test_a_missing_source_is_told_at_once(tmp_path):
    with pytest.raises(LraBenchError, match="does not exist or may not be read"):
        read_members(tmp_path / "no.tar", lambda name: True, False)


@pytest.mark.parametrize("content", [b"", b"Source\tTarget\r\n", b"PK\x03\x04" + bytes(2000), os.urandom(5000)])
def test_what_is_no_archive_is_said_to_be_none(tmp_path, content):
    (tmp_path / "x.tsv").write_bytes(content)
    with pytest.raises(LraBenchError, match="neither a folder nor an intact tar"):
        read(tmp_path / "x.tsv")


def test_zstd_names_its_package(tmp_path, monkeypatch):
    (tmp_path / "x.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(LraBenchError, match="pip install zstandard"):
        read(tmp_path / "x.tar.zst")


def test_links_may_stay_in_a_folder_but_not_leave_it(tmp_path):
    (tmp_path / "secret.txt").write_bytes(b"secret")
    folder = official.as_folder(tmp_path / "data", FILES)
    (folder / "set/inside.txt").symlink_to(folder / "set/b.txt")
    assert ("set/inside.txt", b"second") in read(folder)
    for target in (tmp_path / "secret.txt", tmp_path / "nothing.txt"):
        (folder / "set/outside.txt").symlink_to(target)
        with pytest.raises(LraBenchError, match=r"outside\.txt is a link that leads out"):
            read(folder)
        assert len(read(folder, lambda name: name == "set/b.txt")) == 1
        (folder / "set/outside.txt").unlink()
    (folder / "folder").symlink_to(folder / "set")
    with pytest.raises(LraBenchError, match="link to a folder"):
        read(folder)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    official.as_folder(tmp_path, FILES)
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(LraBenchError, match="deep: Permission denied"):
        read(tmp_path)


def test_a_pipe_in_a_folder_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(LraBenchError, match="not a plain file"):
        read(tmp_path)


def test_memory_does_not_depend_on_a_members_size(tmp_path):
    path = official.as_tar(tmp_path / "x.tar.gz", {"big.txt": bytes(40 * CHUNK)})
    tracemalloc.start()
    size = 0
    for _, file in read_members(path, lambda name: True, False):
        while chunk := file.read(CHUNK):
            size += len(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 40 * CHUNK
    assert peak < 16 * CHUNK


def test_checksums_are_hashlibs(tmp_path):
    content = os.urandom(CHUNK + 1)
    (tmp_path / "x").write_bytes(content)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(content).hexdigest()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bars_are_drawn_on_a_terminal_only(tmp_path, monkeypatch):
    def work():
        assert list(track(range(3), "Counting", 3, "sheep")) == [0, 1, 2]
        with track_bytes("Fetching", 100, done=40) as advance:
            advance(60)
        assert len(list(read_members(path, lambda name: True, True))) == 4

    path = archive(tmp_path / "x.tar.gz")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    work()
    assert sys.stderr.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", Terminal())
    work()
    drawn = sys.stderr.getvalue()
    assert "3/3 sheep" in drawn
    assert "100/100 bytes" in drawn
    assert "Reading x.tar.gz" in drawn
