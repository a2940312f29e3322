import hashlib
import os
import re
import sys
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lra_bench.core.errors import LraBenchError
from lra_bench.data import download as module
from lra_bench.data.download import download, require_free_space
from lra_bench.data.hub import hub_rows

CONTENT = os.urandom(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
REVISION = "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"


@dataclass
class Shelf:
    """What the server serves, and how well.

    Attributes:
        content: of the one file.
        headers: sent with it, such as its ETag.
        breaks: answers that end after a third of their bytes, from now on.
        refuses: status of all answers, instead of the file.
        careless: answer a range request without looking at If-Range.
        shift: bytes that are skipped at the start of a range.
        ranges: Range header of each request so far.
        conditions: If-Range header of each.
    """

    url: str = ""
    content: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"1"'})
    breaks: int = 0
    refuses: int | None = None
    careless: bool = False
    shift: int = 0
    ranges: list[str | None] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        asked, condition = request.headers["Range"], request.headers["If-Range"]
        self.ranges.append(asked)
        self.conditions.append(condition)
        if self.refuses is not None:
            request.send_error(self.refuses)
            return
        strong = [value for value in self.headers.values() if not value.startswith("W/")]
        same = condition is None or condition in strong or self.careless
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) + self.shift if asked and same else 0
        if start >= len(self.content):
            request.send_error(416)
            return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        for name, value in self.headers.items():
            request.send_header(name, value)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        self.breaks, broken = max(0, self.breaks - 1), self.breaks > 0
        request.wfile.write(body[: len(body) // 3] if broken else body)


@pytest.fixture
def shelf(monkeypatch):
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))
    served = Shelf()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            served.answer(self)

        def log_message(self, *words):
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        served.url = f"http://127.0.0.1:{server.server_port}/set/x.tar.gz?v=1"
        yield served
        server.shutdown()
        thread.join()


def visible(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_file_comes_whole_and_alone(shelf, tmp_path):
    path = download(shelf.url, tmp_path / "new" / "folder", sha256=SHA256.upper(), md5=MD5)
    assert path == tmp_path / "new/folder/x.tar.gz"
    assert path.read_bytes() == CONTENT
    assert visible(path.parent) == ["x.tar.gz"]


def test_a_file_that_is_there_is_not_fetched_again(shelf, tmp_path):
    path = download(shelf.url, tmp_path, md5=MD5)
    assert download(shelf.url, tmp_path, md5=MD5) == path
    assert download(shelf.url, tmp_path) == path
    assert len(shelf.ranges) == 1
    path.write_bytes(b"damaged")
    assert download(shelf.url, tmp_path, md5=MD5).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "headers", [{"ETag": '"1"'}, {"ETag": 'W/"1"', "Last-Modified": "Sat, 04 Jun 2009 00:00:00 GMT"}, {}]
)
def test_a_broken_connection_is_continued(shelf, tmp_path, headers):
    shelf.headers, shelf.breaks = headers, 2
    assert download(shelf.url, tmp_path, sha256=SHA256).read_bytes() == CONTENT
    assert shelf.ranges == [None, "bytes=100000-", "bytes=166666-"]
    strongest = list(headers.values())[-1] if headers else None
    assert shelf.conditions == [None, strongest, strongest]


def test_a_later_call_goes_on_where_an_earlier_one_stopped(shelf, tmp_path):
    shelf.breaks = 3
    with pytest.raises(LraBenchError, match=r"211,110 of 300,000 bytes.*--source PATH"):
        download(shelf.url, tmp_path, sha256=SHA256)
    assert visible(tmp_path) == ["x.tar.gz.part", "x.tar.gz.part.json"]
    assert download(shelf.url, tmp_path, sha256=SHA256).read_bytes() == CONTENT
    assert shelf.ranges[-1] == "bytes=211110-"
    assert visible(tmp_path) == ["x.tar.gz"]


@pytest.mark.parametrize("careless", [False, True])
@pytest.mark.parametrize("size", [300_000, 400_000, 1000])
def test_a_changed_file_is_fetched_from_its_start(shelf, tmp_path, careless, size):
    shelf.breaks = 3
    with pytest.raises(LraBenchError):
        download(shelf.url, tmp_path)
    shelf.content, shelf.headers, shelf.careless = os.urandom(size), {"ETag": '"2"'}, careless
    assert download(shelf.url, tmp_path).read_bytes() == shelf.content


def test_the_wrong_part_of_a_file_is_not_taken(shelf, tmp_path):
    shelf.breaks, shelf.shift = 1, 10
    assert download(shelf.url, tmp_path).read_bytes() == CONTENT
    assert shelf.ranges == [None, "bytes=100000-", None]


@pytest.mark.parametrize("doubt", ["another address", "too long", "no note", "a damaged note"])
def test_a_part_of_something_else_is_not_continued(shelf, tmp_path, doubt):
    shelf.breaks = 3
    with pytest.raises(LraBenchError):
        download(shelf.url, tmp_path)
    part, note = tmp_path / "x.tar.gz.part", tmp_path / "x.tar.gz.part.json"
    if doubt == "too long":
        part.write_bytes(bytes(300_001))
    elif doubt == "no note":
        note.unlink()
    elif doubt == "a damaged note":
        note.write_text('{"url": 1}')
    url = shelf.url + ("2" if doubt == "another address" else "")
    assert download(url, tmp_path).read_bytes() == CONTENT
    assert shelf.ranges[3:] == [None]


def test_a_part_that_is_whole_needs_no_network(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_wrong", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        download(shelf.url, tmp_path, sha256=SHA256)
    monkeypatch.undo()
    assert download(shelf.url, tmp_path, sha256=SHA256).read_bytes() == CONTENT
    assert len(shelf.ranges) == 1


def test_a_wrong_checksum_keeps_nothing(shelf, tmp_path):
    for wrong in ({"sha256": "0" * 64}, {"md5": "0" * 32}, {"sha256": SHA256, "md5": "0" * 32}):
        with pytest.raises(LraBenchError, match=r"is not the expected file \(its (sha256|md5) is"):
            download(shelf.url, tmp_path, **wrong)
        assert visible(tmp_path) == []


def test_too_little_space_is_told_before_anything_is_written(shelf, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage(299_999))
    with pytest.raises(LraBenchError, match="free some space"):
        download(shelf.url, tmp_path)
    assert not (tmp_path / "x.tar.gz.part").exists()
    with pytest.raises(LraBenchError, match=r"needs 300\.0 kB and has 300\.0 kB"):
        require_free_space(tmp_path / "not" / "yet", 300_000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage(300_000))
    require_free_space(tmp_path / "not" / "yet", 300_000)
    assert download(shelf.url, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (403, 1), (503, 3), (429, 3)])
def test_a_refusal_is_one_clear_error(shelf, tmp_path, status, attempts):
    shelf.refuses = status
    with pytest.raises(LraBenchError, match=rf"the server answers {status} .*--source PATH"):
        download(shelf.url, tmp_path)
    assert len(shelf.ranges) == attempts


def test_no_network_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSES", ())
    with pytest.raises(LraBenchError, match=r"refused.*--source PATH"):
        download("http://127.0.0.1:9/x.tar.gz", tmp_path)


@pytest.mark.parametrize("url", ["ftp://host/x.tar", "x.tar", "https://host/", "https://host/a/..", "http://h/a%5Cb"])
def test_only_addresses_of_files_are_taken(tmp_path, url):
    with pytest.raises(LraBenchError, match="not the address of a file"):
        download(url, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_local_file_has_an_address_too(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSES", ())
    (tmp_path / "a b.tar").write_bytes(CONTENT)
    url = (tmp_path / "a b.tar").as_uri()
    assert download(url, tmp_path / "copy", sha256=SHA256).read_bytes() == CONTENT
    with pytest.raises(LraBenchError, match="No such file"):
        download(url + "x", tmp_path / "copy")


def test_a_folder_that_cannot_be_written_is_one_clear_error(shelf, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LraBenchError, match="cannot write to"):
        download(shelf.url, tmp_path / "file")


def test_two_at_once_fetch_one_file(shelf, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: download(shelf.url, tmp_path, sha256=SHA256), range(2)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(shelf.ranges) == 1


@pytest.mark.parametrize(("repository", "revision"), [("imdb", REVISION), ("a/b", "main"), ("../a/b", REVISION)])
def test_the_hub_is_read_at_a_pinned_place(repository, revision):
    with pytest.raises(LraBenchError, match="pin both"):
        hub_rows(repository, revision, "train", ["text"])


def test_a_folder_is_not_taken_for_the_hub(folder):
    (folder / "stanfordnlp/imdb").mkdir(parents=True)
    with pytest.raises(LraBenchError, match="work in another folder"):
        hub_rows("stanfordnlp/imdb", REVISION, "train", ["text"])


def test_the_hub_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(LraBenchError, match=r"lra-bench\[hub\].*--source PATH"):
        hub_rows("stanfordnlp/imdb", REVISION, "train", ["text"])


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """`datasets` with a local folder in place of the hub; gives that folder and what was asked for."""
    datasets = pytest.importorskip("datasets")
    real, asked = datasets.load_dataset, []

    def load(repository, *, revision, split):
        asked.append((repository, revision, split))
        return real(str(tmp_path / "hub"), split=split, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    datasets.disable_progress_bars()
    (tmp_path / "hub").mkdir()
    yield tmp_path / "hub", asked
    datasets.enable_progress_bars()


def test_rows_of_the_hub_come_in_its_order(hub):
    import pyarrow
    import pyarrow.parquet

    folder, asked = hub
    table = {"text": ["b", "ä", "c"], "label": [1, 0, 1], "more": [0, 0, 0]}
    pyarrow.parquet.write_table(pyarrow.table(table), folder / "train-00000-of-00001.parquet")
    rows = list(hub_rows("stanfordnlp/imdb", REVISION, "train", ("text", "label")))
    assert rows == [{"text": "b", "label": 1}, {"text": "ä", "label": 0}, {"text": "c", "label": 1}]
    assert asked == [("stanfordnlp/imdb", REVISION, "train")]
    with pytest.raises(LraBenchError, match="cannot read stanfordnlp/imdb"):
        hub_rows("stanfordnlp/imdb", REVISION, "train", ["words"])


def test_an_unreachable_hub_is_one_clear_error(hub):
    with pytest.raises(LraBenchError, match=r"cannot read stanfordnlp/imdb.*--source PATH") as caught:
        hub_rows("stanfordnlp/imdb", REVISION, "train", ["text"])
    assert "\n" not in str(caught.value)
