"""Downloads that continue where they stopped, fit on the disk, and are what they should be."""

import http.client
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from email.message import Message
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from filelock import FileLock
from rich.filesize import decimal

from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import write_atomically
from lra_bench.data.members import CHUNK, digest_of
from lra_bench.data.progress import track_bytes

TIMEOUT = 60.0
"""Seconds without an answer after which a connection counts as broken."""
PAUSES = (1.0, 5.0)
"""Seconds before the second and the third attempt."""
BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""Answers of a server that may change on another attempt."""


def download(
    url: str, folder: Path, *, sha256: str | None = None, md5: str | None = None, show_progress: bool = True
) -> Path:
    """Fetch a file into a folder, under the name that it has in its address.

    What has arrived is kept beside as `<name>.part`, and a later call continues it if the server's file is still the
    same (RFC 9110, sections 13.1.5 and 14). A file that is there with the right checksum is not fetched again.
    Processes that want the same file wait for each other.

    Args:
        url: https, http or file.
        folder: is made where it does not exist.
        sha256: expected checksum, in hexadecimal.
        md5: the same; either, both or none may be known.
        show_progress: draw a bar where standard error is a terminal.

    Returns:
        Where the file is.

    Raises:
        LraBenchError: no network, a refusal of the server, too little space, or a wrong checksum; a file with a wrong
            checksum is not kept.
    """
    name = _file_name(url)
    target, part = folder / name, _Part(folder / f"{name}.part", folder / f"{name}.part.json")
    expected = {"sha256": sha256, "md5": md5}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{name}.lock"):
            if target.is_file() and not _wrong(target, expected, show_progress):
                return target
            _fetch_patiently(url, part, show_progress)
            if wrong := _wrong(part.path, expected, show_progress):
                part.discard()
                raise LraBenchError(f"{url} is not the expected file ({wrong}), and is not kept. {_BY_HAND}")
            part.path.replace(target)
            part.discard()
    except OSError as problem:
        raise LraBenchError(f"cannot write to {folder}: {problem.strerror or problem}") from problem
    return target


def require_free_space(folder: Path, n_bytes: int) -> None:
    """See that a folder's disk has room; the folder need not exist yet.

    Raises:
        LraBenchError: it has not.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < n_bytes:
        raise LraBenchError(
            f"{folder} needs {decimal(n_bytes)} and has {decimal(free)}: free some space, or use another disk"
        )


_BY_HAND = "Try again later, or fetch the file by other means and give it with --source PATH"


class _Interrupted(Exception):
    """A broken connection or a busy server; another attempt may go better."""


class _Changed(_Interrupted):
    """What is there belongs to another file than the server's."""


@dataclass(frozen=True)
class _Version:
    """What a server says of a file's content.

    Attributes:
        url: where it is.
        etag: its entity tag; None for none or a weak one, which does not identify bytes.
        modified: when it was changed last, in the server's words.
        size: bytes.
    """

    url: str
    etag: str | None
    modified: str | None
    size: int | None

    @classmethod
    def of(cls, url: str, headers: Message) -> "_Version":
        """From an answer's headers; of a partial answer, the size is that of the whole."""
        etag = headers["ETag"]
        size = (headers["Content-Range"] or "").rpartition("/")[2] or headers["Content-Length"] or ""
        return cls(
            url,
            None if etag is None or etag.startswith("W/") else etag,
            headers["Last-Modified"],
            int(size) if size.isdigit() else None,
        )


@dataclass(frozen=True)
class _Part:
    """An unfinished file, and beside it the version that it is a part of."""

    path: Path
    note: Path

    def resumable(self, url: str) -> tuple[int, _Version | None]:
        """Bytes that are there, and of what; 0 and None where one cannot go on."""
        try:
            known = _Version(**json.loads(self.note.read_text(encoding="utf-8")))
            have = self.path.stat().st_size
        except (FileNotFoundError, ValueError, TypeError):
            return 0, None
        if known.url != url or known.size is None or have > known.size:
            return 0, None
        return have, known

    def discard(self) -> None:
        """Remove both files."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _fetch_patiently(url: str, part: _Part, show_progress: bool) -> None:
    for pause in (*PAUSES, None):
        try:
            _fetch(url, part, show_progress)
        except _Interrupted as problem:
            if isinstance(problem, _Changed):
                part.discard()
            if pause is None:
                raise LraBenchError(f"cannot download {url} ({problem}). {_BY_HAND}") from problem
            time.sleep(pause)
        else:
            return


def _fetch(url: str, part: _Part, show_progress: bool) -> None:
    """Bring the part to its full size.

    Raises:
        _Interrupted: it did not get that far.
    """
    have, known = part.resumable(url)
    if known is not None and have == known.size:
        return
    with _answer(url, have, known) as answer:
        version, range_ = _Version.of(url, answer.headers), answer.headers["Content-Range"]
        if range_ is None:
            have = 0
            part.discard()
            write_atomically(part.note, json.dumps(asdict(version)))
        elif version != known or not range_.startswith(f"bytes {have}-"):
            raise _Changed("the file on the server has changed")
        require_free_space(part.path.parent, (version.size or have) - have)
        _append(answer, part.path, version.size, show_progress)


@contextmanager
def _answer(url: str, have: int, known: _Version | None) -> Iterator[Any]:
    """The server's answer to a request for the whole file, or for the rest of a known version."""
    request = Request(url, headers={"User-Agent": "lra-bench"})  # noqa: S310  # the scheme was checked
    if known is not None and have > 0:
        request.add_header("Range", f"bytes={have}-")
        if validator := known.etag or known.modified:
            request.add_header("If-Range", validator)
    try:
        with _network():
            answer = urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except HTTPError as problem:
        with problem:
            said = f"the server answers {problem.code} {problem.reason}"
            if problem.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise _Changed(said) from problem
            if problem.code in BUSY:
                raise _Interrupted(said) from problem
            raise LraBenchError(f"cannot download {url}: {said}. {_BY_HAND}") from problem
    with answer:
        yield answer


def _append(answer: Any, path: Path, size: int | None, show_progress: bool) -> None:
    """Write an answer's bytes at the end of a file, which must then have the right size."""
    with path.open("ab") as file:
        name = path.name.removesuffix(".part")
        with track_bytes(f"Downloading {name}", size, show_progress, done=file.tell()) as advance:
            while chunk := _read(answer):
                file.write(chunk)
                advance(len(chunk))
        file.flush()
        os.fsync(file.fileno())
        if size is not None and file.tell() < size:
            raise _Interrupted(f"the connection broke after {file.tell():,} of {size:,} bytes")


def _read(answer: Any) -> bytes:
    with _network():
        chunk: bytes = answer.read1(CHUNK) if hasattr(answer, "read1") else answer.read(CHUNK)
        return chunk


@contextmanager
def _network() -> Iterator[None]:
    """Tells what goes wrong on the way from what goes wrong on our disk."""
    try:
        yield
    except HTTPError:
        raise
    except (OSError, http.client.HTTPException) as problem:
        raise _Interrupted(str(getattr(problem, "reason", problem)) or type(problem).__name__) from problem


def _wrong(path: Path, expected: dict[str, str | None], show_progress: bool) -> str:
    """What is wrong with a file's content; nothing where nothing is known to be."""
    for algorithm, value in expected.items():
        if value is not None and (found := digest_of(path, algorithm, show_progress)) != value.lower():
            return f"its {algorithm} is {found}, not {value}"
    return ""


def _file_name(url: str) -> str:
    parts = urlsplit(url)
    name = PurePosixPath(unquote(parts.path)).name
    if parts.scheme not in {"https", "http", "file"} or name in {"", ".."} or "\\" in name:
        raise LraBenchError(f"{url!r} is not the address of a file: give one that begins with https, http or file")
    return name
