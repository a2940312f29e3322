"""Prepared sets in one file, to carry to a machine without a network.

A bundle is a plain tar of `<dataset>/<variant>/manifest.json` and `<dataset>/<variant>/*.npy`. Equal sets give equal
bytes. Nothing in a bundle is trusted: a set gets its name in the store only when all bundled sets are as their
manifests say.
"""

import hashlib
import re
import tarfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lra_bench.core.errors import LraBenchError
from lra_bench.core.files import replacing
from lra_bench.data.download import require_free_space
from lra_bench.data.manifest import FILE, Manifest
from lra_bench.data.progress import track_bytes
from lra_bench.data.store import (
    State,
    complete,
    exclusive,
    folder_of,
    open_folder,
    open_set,
    state_of,
    unfinished,
    verify,
)

CHUNK = 1 << 20
"""Bytes read at a time."""

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
"""What follows the last file of a tar; a tar that was cut lacks it."""

NAME = re.compile(r"(?P<set>\w+/[\w-]+)/(?P<file>manifest\.json|\w+\.npy)", re.ASCII)
LARGEST_MANIFEST = 1 << 24


def bundle(file: Path, folders: Sequence[Path], show_progress: bool = False) -> None:
    """Write sets into a bundle, each checked against its manifest first.

    Args:
        file: the bundle, replaced if it is there; must end in .tar.
        folders: of the sets.
        show_progress: draw a bar where standard error is a terminal.

    Raises:
        LraBenchError: a wrong name, no such folder, no sets, one that is not as its manifest says, or too little space.
    """
    if file.suffix != ".tar":
        raise LraBenchError(f"{file} must end in .tar, such as lra-data.tar")
    if not file.parent.is_dir():
        raise LraBenchError(f"there is no folder {file.parent}")
    if not folders:
        raise LraBenchError("there is no prepared set to bundle; `lra-bench data status` shows how to prepare one")
    for folder in folders:
        verify(folder)
    total = sum(path.stat().st_size for folder in folders for path in _files(folder))
    require_free_space(file.parent, total)
    with (
        track_bytes(f"Writing {file.name}", total, show_progress) as advance,
        replacing(file) as temporary,
        tarfile.open(temporary, "w") as archive,
    ):
        for folder in sorted(folders):
            for path in _files(folder):
                member = tarfile.TarInfo(f"{folder.parent.name}/{folder.name}/{path.name}")
                member.size = path.stat().st_size
                with path.open("rb") as content:
                    archive.addfile(member, content)
                advance(member.size)


def unbundle(file: Path, show_progress: bool = False) -> dict[str, str]:
    """Put the sets of a bundle into the store. Those that are ready there stay as they are.

    Args:
        file: the bundle.
        show_progress: draw a bar where standard error is a terminal.

    Returns:
        "<dataset>/<variant>" -> what was done with it.

    Raises:
        LraBenchError: the file is no bundle, or is damaged or cut, or the disk is too small; no set is added then.
    """
    if not file.is_file():
        raise LraBenchError(f"there is no file {file}")
    with file.open("rb") as content, ExitStack() as cleanup:
        packed = _packed_sets(content, file)
        total = sum(each.manifest.size for each in packed)
        advance = cleanup.enter_context(track_bytes(f"Reading {file.name}", total, show_progress))
        outcomes, parts = {}, {}
        for each in packed:
            folder = folder_of(each.manifest.key())
            cleanup.enter_context(exclusive(folder))
            if state_of(each.manifest.key())[0] is State.READY:
                outcomes[each.name] = _kept(each.manifest)
                continue
            require_free_space(folder, each.manifest.size)
            parts[each.name] = unfinished(folder)
            cleanup.callback(_discard, folder)
            each.unpack(content, parts[each.name], advance)
        for each in packed:
            if each.name in parts:
                complete(parts[each.name], folder_of(each.manifest.key()), each.manifest)
                outcomes[each.name] = "added"
    return outcomes


@dataclass(frozen=True)
class _PackedSet:
    """A set in a bundle.

    Attributes:
        name: "<dataset>/<variant>".
        manifest: its own.
        places: array name -> where in the file its bytes begin.
        bundle: the file, for messages.
    """

    name: str
    manifest: Manifest
    places: dict[str, int]
    bundle: Path

    def unpack(self, content: BinaryIO, folder: Path, advance: Callable[[int], None]) -> None:
        """Write the arrays into a folder.

        Raises:
            LraBenchError: one differs from what the manifest says.
        """
        for name, array in self.manifest.arrays.items():
            content.seek(self.places[name])
            digest, left = hashlib.sha256(), array.size
            with (folder / f"{name}.npy").open("wb") as out:
                while chunk := content.read(min(CHUNK, left)):
                    digest.update(chunk)
                    out.write(chunk)
                    advance(len(chunk))
                    left -= len(chunk)
            if digest.hexdigest() != array.sha256:
                raise LraBenchError(f"{self.bundle} is damaged: {self.name}/{name}.npy differs from what was bundled")


def _files(folder: Path) -> list[Path]:
    """Manifest and arrays of a set, in order of name but for the manifest."""
    return [folder / FILE, *(folder / f"{name}.npy" for name in sorted(open_folder(folder).manifest.arrays))]


def _packed_sets(content: BinaryIO, file: Path) -> list[_PackedSet]:
    """The sets of a bundle, in order of name; no array is read.

    Raises:
        LraBenchError: there is anything else in the file, something is missing, or sizes do not fit the manifests.
    """
    found: dict[str, dict[str, tarfile.TarInfo]] = {}
    end = 0
    for member in _members(content, file):
        match = NAME.fullmatch(member.name)
        plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse() and member.size >= 0
        if match is None or not plain:
            raise LraBenchError(f"{file} is refused: it holds {member.name!r}, and a bundle holds arrays alone")
        if found.setdefault(match["set"], {}).setdefault(match["file"], member) is not member:
            raise LraBenchError(f"{file} is refused: it holds {member.name} twice")
        end = member.offset_data + -(-member.size // BLOCK) * BLOCK
    content.seek(end)
    if content.read(len(END)) != END:
        raise LraBenchError(f"{file} is damaged or cut; copy it again")
    if not found:
        raise LraBenchError(f"{file} holds no prepared sets")
    return [_packed_set(name, found[name], content, file) for name in sorted(found)]


def _members(content: BinaryIO, file: Path) -> list[tarfile.TarInfo]:
    """What a tar holds, up to the first thing that makes no sense."""
    members = []
    try:
        with tarfile.open(fileobj=content, mode="r:") as archive:
            for member in archive:
                members.append(member)
                if member.size < 0:
                    break
    except Exception as error:  # damaged headers make tarfile raise errors of many kinds
        raise LraBenchError(f"{file} is not a bundle, or is damaged or cut ({error}); copy it again") from error
    return members


def _packed_set(name: str, files: dict[str, tarfile.TarInfo], content: BinaryIO, file: Path) -> _PackedSet:
    """One set, its names and sizes compared with its manifest."""
    member = files.pop(FILE, None)
    if member is None or member.size > LARGEST_MANIFEST:
        raise LraBenchError(f"{file} is refused: {name} has no manifest, or far too large a one")
    content.seek(member.offset_data)
    manifest = Manifest.parse(content.read(member.size), f"{file}: {name}/{FILE}")
    if f"{manifest.dataset}/{manifest.key().variant}" != name:
        raise LraBenchError(f"{file} is refused: {name} holds the manifest of another set")
    sizes = {f"{array}.npy": stored.size for array, stored in manifest.arrays.items()}
    if sizes != {array: member.size for array, member in files.items()}:
        raise LraBenchError(f"{file} is damaged or cut: the files of {name} are not those of its manifest")
    return _PackedSet(name, manifest, {array: files[f"{array}.npy"].offset_data for array in manifest.arrays}, file)


def _kept(manifest: Manifest) -> str:
    """What became of a bundled set that is ready in the store."""
    same = open_set(manifest.key()).manifest.content == manifest.content
    return "ready already" if same else "ready already, with other data than in the bundle; kept"


def _discard(folder: Path) -> None:
    """Remove what an unpacking left that did not succeed, but for shards of a generator."""
    part = folder.with_name(f".{folder.name}.part")
    if part.is_dir():
        unfinished(folder)
        with suppress(OSError):
            part.rmdir()
