"""Small files in the official formats, and hostile or damaged ones. Every maker gives {name: content}."""

import gzip
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

Files = dict[str, bytes]


def as_folder(folder: Path, files: Files) -> Path:
    """Write files into a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def as_tar(path: Path, files: Files, extra: Sequence[tarfile.TarInfo] = ()) -> Path:
    """Write a tar, compressed as its suffix says (`.gz` alone too); `extra` are headers without content."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
        for header in extra:
            archive.addfile(header)
    path.write_bytes(compressed(plain.getvalue(), path.suffix))
    return path


def compressed(content: bytes, suffix: str) -> bytes:
    """The content as a file of that suffix holds it."""
    if suffix in (".gz", ".tgz"):
        return gzip.compress(content, 1, mtime=0)
    if suffix == ".xz":
        import lzma

        return lzma.compress(content, preset=0)
    if suffix == ".bz2":
        import bz2

        return bz2.compress(content)
    if suffix == ".zst":
        import zstandard

        return zstandard.ZstdCompressor(write_checksum=True).compress(content)
    return content


def under(prefix: str, files: Files) -> Files:
    """The same files in a folder."""
    return {f"{prefix}/{name}": content for name, content in files.items()}


def imdb(reviews: Sequence[tuple[str, str, int, str]]) -> Files:
    """From (part, label, rating, text): aclImdb/{train,test}/{pos,neg}/<id>_<rating>.txt, and what else lies there."""
    files = {"aclImdb/README": b"about", "aclImdb/imdb.vocab": b"the\nand\n", "aclImdb/train/unsup/0_0.txt": b"unrated"}
    for number, (part, label, rating, text) in enumerate(reviews):
        files[f"aclImdb/{part}/{label}/{number}_{rating}.txt"] = text.encode()
    return files


def cifar_binary(pixels: np.ndarray, labels: np.ndarray, part: np.ndarray) -> Files:
    """From pixels (N, 32, 32, 3) in the official order, part 0 train and 2 test."""
    files = {"batches.meta.txt": b"airplane\nautomobile\n", "readme.html": b"<html></html>"}
    for name, planar, few in _batches(pixels, labels, part):
        files[f"{name}.bin"] = np.concatenate([few[:, None], planar], axis=1).tobytes()
    return under("cifar-10-batches-bin", files)


def cifar_python(pixels: np.ndarray, labels: np.ndarray, part: np.ndarray, python: int = 2) -> Files:
    """The same as pickles, in the archive's odd order: as Python 2 wrote the official ones, or as Python 3 would."""
    files = {}
    for name, planar, few in _batches(pixels, labels, part):
        if python == 2:
            files[name] = _python2_pickle(name, planar, few.tolist())
        else:
            files[name] = pickle.dumps({b"labels": few.tolist(), b"data": planar, b"filenames": [b"a"]}, protocol=2)
    files["batches.meta"] = pickle.dumps({"label_names": ["airplane"]}, protocol=2)
    names = "data_batch_4 test_batch data_batch_3 batches.meta data_batch_2 data_batch_5 data_batch_1"
    return under("cifar-10-batches-py", {name: files[name] for name in names.split()})


def _batches(pixels, labels, part):
    rows = [*np.array_split(np.flatnonzero(part == 0), 5), np.flatnonzero(part == 2)]
    for name, some in zip((*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"), rows, strict=True):
        yield name, np.ascontiguousarray(pixels[some].transpose(0, 3, 1, 2).reshape(len(some), 3072)), labels[some]


def _python2_pickle(name: str, planar: np.ndarray, labels: list[int]) -> bytes:
    """Protocol 2 with Python 2's byte strings and the old place of numpy's functions, opcode by opcode."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    shape = number(planar.shape[0]) + number(planar.shape[1]) + b"\x86"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    kind = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    content = b"T" + struct.pack("<i", planar.size) + planar.tobytes()
    array = empty + b"(" + number(1) + shape + kind + b"\x89" + content + b"tb"
    listed = b"](" + b"".join(map(number, labels)) + b"e"
    items = text(b"batch_label") + text(name.encode()) + text(b"labels") + listed + text(b"data") + array
    return b"\x80\x02}(" + items + text(b"filenames") + b"](" + text(b"a.png") + b"eu."


def listops(splits: Mapping[str, Sequence[tuple[str, int]]]) -> Files:
    """From {train, val, test: (source, target) rows}: basic_<split>.tsv, rows ending in CR LF."""
    return {
        f"basic_{split}.tsv": "".join(f"{a}\t{b}\r\n" for a, b in (("Source", "Target"), *rows)).encode()
        for split, rows in splits.items()
    }


def aan(splits: Mapping[str, Sequence[tuple[int, str, str, bytes, bytes]]]) -> Files:
    """From {train, eval, test: (label, id1, id2, text1, text2)}: no header, float labels, texts as printed bytes."""
    return {
        f"new_aan_pairs.{split}.tsv": "".join(
            f"{float(label)}\t{first}\t{second}\t{one!r}\t{two!r}\n" for label, first, second, one, two in rows
        ).encode()
        for split, rows in splits.items()
    }


def pathfinder(images: np.ndarray, labels: Sequence[int], batch_size: int) -> Files:
    """From images (N, R, R) uint8: imgs/<batch>/sample_<i>.png, and metadata/<batch>.npy, which is text."""
    files: Files = {}
    for batch, start in enumerate(range(0, len(images), batch_size)):
        lines = []
        for i, (image, label) in enumerate(
            zip(images[start : start + batch_size], labels[start : start + batch_size], strict=True)
        ):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            files[f"imgs/{batch}/sample_{i}.png"] = file.getvalue()
            lines.append(f"imgs/{batch} sample_{i}.png {i} {label} 1.0 14 4 2 0.5 1 1\n")
        files[f"metadata/{batch}.npy"] = "".join(lines).encode()
    return files


def lra_release(listops_files: Files, aan_files: Files, pathfinder_files: Files) -> Files:
    """What lra_release.gz holds: both tsv tasks and the hard 32-pixel Pathfinder, in a folder in a folder."""
    files = under("listops-1000", listops_files) | under("tsv_data", aan_files)
    files |= under("pathfinder32/curv_contour_length_14", pathfinder_files)
    return under("lra_release/lra_release", files)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """Header of a link, device or FIFO, for `as_tar`."""
    header = tarfile.TarInfo(name)
    header.type = kind
    header.linkname = target
    return header


class Payload:
    """Pickles to something that makes a file when it is unpickled by `pickle`."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self):
        return os.system, (f"touch '{self.made}'",)


def hostile_batch(made: Path) -> bytes:
    """A CIFAR-10 batch that makes a file when it is unpickled by `pickle`."""
    return pickle.dumps({b"data": Payload(made), b"labels": [0]}, protocol=2)


def truncated(path: Path, size: int) -> Path:
    """A copy cut to its first bytes; a negative size cuts so many off the end."""
    copy = path.with_name(f"truncated-{path.name}")
    copy.write_bytes(path.read_bytes()[:size])
    return copy


def flipped(path: Path, position: int) -> Path:
    """A copy with one bit changed in the byte at a position."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    copy = path.with_name(f"flipped-{path.name}")
    copy.write_bytes(content)
    return copy
