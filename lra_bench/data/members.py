"""One pass over the files of a folder or a tar archive. An archive is never unpacked, and nothing in it is trusted."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO, Protocol, Self

from lra_bench.core.errors import LraBenchError
from lra_bench.data.progress import track, track_bytes

CHUNK = 1 << 20
"""Bytes read at a time."""


def read_members(source: Path, wanted: Callable[[str], bool], show_progress: bool) -> Iterator[tuple[str, BinaryIO]]:
    """Read the wanted files of a folder, in order of name, or of a tar archive, in the archive's order.

    An archive is told by its content, whatever it is called: plain tar, or one compressed by gzip, xz, bzip2 or zstd.
    It is read as a stream, so memory does not depend on its size. That it is whole is known only when the iterator is
    exhausted, since checksums stand at the end of a compressed file: keep nothing before that.

    Args:
        source: a folder or an archive.
        wanted: is asked with each file's name, relative to the source, with forward slashes and no leading ./.
        show_progress: draw a bar where standard error is a terminal.

    Yields:
        The name and a readable binary file, which is closed when the next one is asked for.

    Raises:
        LraBenchError: the source is missing, is no archive, or is damaged; an archive has a name that is absolute or
            leads upwards, or a wanted member that is no plain file; a folder has a link that leads out of it.
    """
    if source.is_dir():
        return _folder_members(source, wanted, show_progress)
    if source.is_file() and os.access(source, os.R_OK):
        return _tar_members(source, wanted, show_progress)
    raise LraBenchError(f"{source} does not exist or may not be read: give a folder or a tar archive")


def sha256_of(path: Path, show_progress: bool = False) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return digest_of(path, "sha256", show_progress)


def digest_of(path: Path, algorithm: str, show_progress: bool = False) -> str:
    """Checksum of a file, in hexadecimal, by an algorithm that `hashlib` knows."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file, track_bytes(f"Checking {path.name}", path.stat().st_size, show_progress) as advance:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def _folder_members(folder: Path, wanted: Callable[[str], bool], show_progress: bool) -> Iterator[tuple[str, BinaryIO]]:
    root = folder.resolve()
    names = sorted(_names(root, wanted))
    for name in track(names, f"Reading {folder.name}", len(names), "files", show_progress):
        try:
            file = (root / name).open("rb")
        except OSError as problem:
            raise LraBenchError(f"cannot read {root / name}: {problem.strerror}") from problem
        with file:
            yield name, file


def _names(root: Path, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Names of the wanted files, relative to `root`, which is resolved."""

    def refuse(problem: OSError) -> None:
        raise LraBenchError(f"cannot read {problem.filename}: {problem.strerror}") from problem

    for parent, folders, files in os.walk(root, onerror=refuse):
        for path in (Path(parent, folder) for folder in folders):
            if path.is_symlink():
                raise LraBenchError(f"{path} is a link to a folder: replace it by that folder, or give that folder")
        for path in (Path(parent, file) for file in files):
            name = path.relative_to(root).as_posix()
            if wanted(name):
                _require_plain(path, root)
                yield name


def _require_plain(path: Path, root: Path) -> None:
    if path.is_symlink() and not (path.exists() and path.resolve().is_relative_to(root)):
        raise LraBenchError(f"{path} is a link that leads out of {root}: replace it by the file")
    if not stat.S_ISREG(path.stat().st_mode):
        raise LraBenchError(f"{path} is not a plain file: remove it")


def _tar_members(path: Path, wanted: Callable[[str], bool], show_progress: bool) -> Iterator[tuple[str, BinaryIO]]:
    with (
        path.open("rb") as file,
        track_bytes(f"Reading {path.name}", path.stat().st_size, show_progress) as advance,
        _decompressed(file, advance, path) as stream,
        _opened(stream, path) as archive,
    ):
        while (member := _next(archive, path)) is not None:
            name = _safe_name(member.name, path)
            if member.isdir() or not wanted(name):
                continue
            content = archive.extractfile(member) if member.isreg() and not member.issparse() else None
            if content is None:
                raise LraBenchError(f"{path}: {name} is a link or a device, not a plain file: refused")
            with content, io.BufferedReader(_Guarded(content, path)) as guarded:
                yield name, guarded
        while stream.read(CHUNK):  # to the compressed file's own checksum
            pass


def _decompressed(file: BinaryIO, advance: Callable[[int], None], path: Path) -> io.BufferedReader:
    """The archive's tar stream; damage that the decompressor finds is one clear error."""
    start = file.read(max(map(len, DECOMPRESSORS)))
    file.seek(0)
    counted = io.BufferedReader(_Counted(file, advance), CHUNK)
    opener = next((opener for magic, opener in DECOMPRESSORS.items() if start.startswith(magic)), None)
    return io.BufferedReader(_Guarded(counted if opener is None else opener(counted), path), CHUNK)


def _zstd(file: BinaryIO) -> "_Readable":
    try:
        import zstandard
    except ImportError as problem:
        raise LraBenchError("an archive compressed by zstd needs one more package: pip install zstandard") from problem
    return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)


def _opened(stream: BinaryIO, path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictHeader)
    except tarfile.TarError as problem:
        raise LraBenchError(f"{path} is neither a folder nor an intact tar archive ({problem})") from problem


def _next(archive: tarfile.TarFile, path: Path) -> tarfile.TarInfo | None:
    with _damage(path):
        member = archive.next()
        archive.members = []  # type: ignore[attr-defined]  # it would keep every header: gigabytes for a million files
        return member


def _safe_name(name: str, path: Path) -> str:
    """The name without leading ./; refused where it could point out of a folder on any platform."""
    windows = PureWindowsPath(name)
    if windows.anchor or ".." in windows.parts:
        raise LraBenchError(f"{path}: the name {name!r} is absolute or leads upwards: refused")
    return PurePosixPath(name).as_posix()


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Makes one clear error of whatever a library finds wrong in a file's bytes."""
    try:
        yield
    except LraBenchError:
        raise
    except Exception as problem:
        raise LraBenchError(f"{path} is damaged or incomplete ({problem}): download it again") from problem


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _StrictHeader(tarfile.TarInfo):
    """A header that must be right: `TarFile` would take a damaged or missing one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as problem:
            if buf == bytes(tarfile.BLOCKSIZE):  # zeros end an archive
                raise
            raise tarfile.ReadError(str(problem)) from problem
        if not header.isreg() and header.size > CHUNK:  # a name or an attribute, which would be read into memory
            raise tarfile.ReadError("oversized header")
        return header


class _Counted(io.RawIOBase):
    """Reports how many bytes are read from a file."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], None]) -> None:
        self.file = file
        self.advance = advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        self.advance(len(data))
        return len(data)


class _Guarded(io.RawIOBase):
    """A file whose damage, found while it is read, is one clear error."""

    def __init__(self, file: _Readable, path: Path) -> None:
        self.file = file
        self.path = path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        with _damage(self.path):
            data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


DECOMPRESSORS: dict[bytes, Callable[[BinaryIO], _Readable]] = {
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"BZh": bz2.BZ2File,
    b"\x28\xb5\x2f\xfd": _zstd,
}
"""What opens a compressed file, by the bytes that such a file starts with."""
