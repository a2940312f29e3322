import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lra_bench.core.errors import LraBenchError
from lra_bench.tasks import image_files
from lra_bench.tasks.image_files import TEST, TRAIN, Pictures, read_cifar10, read_hub, to_grey, write_binary
from tests import official, real_data

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (13, 32, 32, 3), np.uint8)
LABELS = RNG.integers(0, 10, 13).astype(np.uint8)
PART = np.repeat(np.array([TRAIN, TEST], np.uint8), [10, 3])
TEST_BATCH = "cifar-10-batches-py/test_batch"


def same(pictures: Pictures) -> bool:
    assert pictures.pixels.dtype == pictures.labels.dtype == pictures.part.dtype == np.uint8
    theirs = (pictures.pixels, pictures.labels, pictures.part)
    return all(np.array_equal(a, b) for a, b in zip(theirs, (PIXELS, LABELS, PART), strict=True))


def python_files(python: int = 2) -> official.Files:
    return official.cifar_python(PIXELS, LABELS, PART, python)


def binary_files() -> official.Files:
    return official.cifar_binary(PIXELS, LABELS, PART)


FORMS = {"python 2": python_files(2), "python 3": python_files(3), "binary": binary_files()}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("packed", [True, False])
def test_every_version_gives_the_same_pictures(tmp_path, form, packed):
    files = FORMS[form]
    source = official.as_tar(tmp_path / "x.tar.gz", files) if packed else official.as_folder(tmp_path / "x", files)
    pictures = read_cifar10(source, show_progress=False)
    assert same(pictures)
    assert pictures.source == source.name
    assert pictures.notes == ["10 training and 3 test pictures; the official set has 50,000 and 10,000"]


def test_batches_may_lie_at_any_depth(tmp_path):
    official.as_folder(tmp_path, official.under("deep", FORMS["binary"]))
    assert same(read_cifar10(tmp_path, False))
    assert same(read_cifar10(tmp_path / "deep/cifar-10-batches-bin", False))


def test_the_imitation_of_python_2_is_a_pickle_that_python_2_could_write():
    batch = pickle.loads(FORMS["python 2"][TEST_BATCH], encoding="bytes")  # noqa: S301
    assert batch[b"labels"] == LABELS[10:].tolist()
    np.testing.assert_array_equal(batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), PIXELS[10:])


def test_what_is_written_can_be_read(tmp_path):
    write_binary(tmp_path / "cifar-10-batches-bin", PIXELS, LABELS, PART)
    assert same(read_cifar10(tmp_path, False))
    written = {path.name: path.read_bytes() for path in (tmp_path / "cifar-10-batches-bin").iterdir()}
    assert written.items() <= {name.rpartition("/")[2]: content for name, content in binary_files().items()}.items()


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_batch_is_named(tmp_path, form):
    files = {name: content for name, content in FORMS[form].items() if "batch_4" not in name}
    with pytest.raises(LraBenchError, match=r"lacks data_batch_4(\.bin)?: download it again"):
        read_cifar10(official.as_tar(tmp_path / "x.tar", files), False)


def test_one_copy_of_one_version_is_wanted(tmp_path):
    for files, complaint in (
        (FORMS["python 2"] | FORMS["binary"], "both versions"),
        (FORMS["binary"] | official.under("copy", FORMS["binary"]), "twice"),
        ({"readme.txt": b"hello"}, r"holds no batches of CIFAR-10 \(cifar-10-python"),
    ):
        with pytest.raises(LraBenchError, match=complaint):
            read_cifar10(official.as_tar(tmp_path / "x.tar", files), False)


def test_batches_must_fit_each_other(tmp_path):
    short = FORMS["binary"] | {"cifar-10-batches-bin/data_batch_2.bin": b""}
    odd = FORMS["binary"] | {"cifar-10-batches-bin/data_batch_2.bin": bytes(3074)}
    label = FORMS["binary"] | {"cifar-10-batches-bin/test_batch.bin": bytes([10]) + bytes(3072)}
    empty = official.cifar_binary(PIXELS, LABELS, np.zeros_like(PART))
    for files, complaint in (
        (short, "different sizes"),
        (odd, "not a multiple of 3073"),
        (label, "labels beyond 9"),
        (empty, "lacks the training or the test pictures"),
    ):
        with pytest.raises(LraBenchError, match=complaint):
            read_cifar10(official.as_tar(tmp_path / "x.tar", files), False)


def refusal_of(tmp_path, batch: bytes) -> str:
    """What is said of an archive whose test batch is that."""
    with pytest.raises(LraBenchError) as caught:
        read_cifar10(official.as_tar(tmp_path / "x.tar", FORMS["python 2"] | {TEST_BATCH: batch}), False)
    message = str(caught.value)
    assert "\n" not in message
    assert f"{tmp_path / 'x.tar'}: test_batch " in message
    return message


def test_a_payload_is_refused_and_not_executed(tmp_path):
    made = tmp_path / "made"
    batch = official.hostile_batch(made)
    assert f"asks for {os.system.__module__}.system" in refusal_of(tmp_path, batch)
    assert not made.exists()
    pickle.loads(batch)  # noqa: S301
    assert made.exists()  # so the payload works where it is let


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "builtins getattr",
        "numpy load",
        "numpy.core.multiarray scalar",
        "numpy ndarray.tofile",
        "os open",
    ],
)
def test_nothing_but_arrays_may_be_asked_for(tmp_path, name):
    module, _, function = name.partition(" ")
    assert "which CIFAR-10 does not need" in refusal_of(tmp_path, f"\x80\x02c{module}\n{function}\n.".encode("latin1"))
    by_stack = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(function)])
    assert "which CIFAR-10 does not need" in refusal_of(tmp_path, by_stack + function.encode() + b"\x93.")


@pytest.mark.parametrize("code", [b"]r\xff\xff\xff\x7f.", b"]p2147483647\n.", b"\x96\x03\0\0\0\0\0\0\0abc."])
def test_a_pickle_may_not_reserve_memory_out_of_proportion(tmp_path, code):
    assert "in a way that CIFAR-10 does not" in refusal_of(tmp_path, b"\x80\x02" + code)


def test_arrays_must_be_of_bytes(tmp_path):
    good = np.zeros((2, 3072), np.uint8)
    for data, labels, complaint in (
        (good.astype("f4"), [0, 1], "an array of 'f4'"),
        (np.array([[object]]), [0, 1], "asks for builtins.object|array of 'O8'"),
        (good, [0], r"1 labels for pixels \(2, 3072\)"),
        (good[:, :5], [0, 1], r"2 labels for pixels \(2, 5\)"),
        (good[0], 7, "labels that are not from 0 to 9"),
        (good, [0, 10], "labels that are not from 0 to 9"),
        (good, [0.0, 1.0], "labels that are not from 0 to 9"),
        (good, good, "not a batch|labels that are not"),
        (b"bytes", [0, 1], "is not a batch of CIFAR-10"),
    ):
        batch = pickle.dumps({b"data": data, b"labels": labels}, protocol=2)
        assert re.search(complaint, refusal_of(tmp_path, batch))


def test_an_array_in_columns_is_turned(tmp_path):
    rows = [*np.array_split(np.arange(10), 5), np.arange(10, 13)]
    files = dict(FORMS["python 3"])
    planar = PIXELS[rows[-1]].transpose(0, 3, 1, 2).reshape(3, -1)
    files[TEST_BATCH] = pickle.dumps({b"data": np.asfortranarray(planar), b"labels": LABELS[10:].tolist()}, protocol=2)
    assert same(read_cifar10(official.as_tar(tmp_path / "x.tar", files), False))


def test_damage_is_never_anything_but_an_error(tmp_path):
    """Every truncation, and a bit in every few bytes of the pickle's own code."""
    batch = FORMS["python 2"][TEST_BATCH]
    path = official.as_folder(tmp_path, {"batch": batch}) / "batch"
    for size in (0, 1, 40, 200, len(batch) // 2, len(batch) - 1):
        refusal_of(tmp_path, official.truncated(path, size).read_bytes())
    for position in range(0, 250, 5):
        content = official.flipped(path, position).read_bytes()
        archive = official.as_tar(tmp_path / "x.tar", FORMS["python 2"] | {TEST_BATCH: content})
        try:
            read_cifar10(archive, False)
        except LraBenchError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_a_batch_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "LARGEST_BATCH", 5000)
    with pytest.raises(LraBenchError, match="too large for a batch"):
        read_cifar10(official.as_tar(tmp_path / "x.tar", FORMS["binary"]), False)


def test_grey_is_pillows():
    rgb = np.concatenate(
        [RNG.integers(0, 256, (200_000, 3), np.uint8), np.array([[0, 0, 0], [255, 255, 255]], np.uint8)]
    )
    theirs = np.asarray(Image.fromarray(rgb[None]).convert("L"))[0]
    ours = to_grey(rgb)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, theirs)
    grey = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_grey(np.stack([grey] * 3, axis=-1)), grey)


def parquet(path: Path, **changes) -> Path:
    """A parquet of the pictures, in an order of its own, with columns replaced or left out (None)."""
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    order = np.random.default_rng(1).permutation(len(PART))
    columns = {
        "image": [PIXELS[i].tobytes() for i in order],
        "label": LABELS[order].tolist(),
        "split": ["train" if PART[i] == TRAIN else "test" for i in order],
        "idx": [int(i) if i < 10 else int(i) - 10 for i in order],
    }
    columns = {name: values for name, values in (columns | changes).items() if values is not None}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_a_parquet_comes_in_official_order(tmp_path):
    pictures = read_cifar10(parquet(tmp_path / "colour.bin"), False)
    assert same(pictures)
    inexact = read_cifar10(parquet(tmp_path / "x.parquet", exact=[False] * 13), False)
    assert inexact.notes[0] == "13 pictures are not bit-exact (10 train, 3 test)"


def test_a_parquet_may_be_grey_and_unnumbered(tmp_path):
    grey = to_grey(PIXELS)
    split = ["test"] * 3 + ["train"] * 10
    changes = {"image": [image.tobytes() for image in grey], "idx": None, "split": split, "label": [0] * 13}
    pictures = read_cifar10(parquet(tmp_path / "x.parquet", **changes), False)
    np.testing.assert_array_equal(pictures.pixels[..., 0], np.concatenate([grey[3:], grey[:3]]))


def test_a_wrong_parquet_is_one_clear_error(tmp_path):
    for changes, complaint in (
        ({"split": None}, "lacks the columns split"),
        ({"image": [b"short"] * 13}, "no parquet of pixels"),
        ({"image": [None] * 13}, "no parquet of pixels"),
        ({"image": [bytes(1024)] * 12 + [bytes(3072)]}, "no parquet of pixels"),
        ({"split": ["validation"] * 13}, "no parquet of pixels"),
        ({"label": [10] * 13}, "labels that are not from 0 to 9"),
        ({"label": [None] * 13}, "labels that are not from 0 to 9"),
        ({"split": ["train"] * 13}, "lacks the training or the test pictures"),
    ):
        with pytest.raises(LraBenchError, match=complaint):
            read_cifar10(parquet(tmp_path / "x.parquet", **changes), False)
    with pytest.raises(LraBenchError, match="damaged or incomplete"):
        read_cifar10(official.truncated(parquet(tmp_path / "x.parquet"), -20), False)


def test_the_hubs_order_is_undone(monkeypatch):
    """The hub has the training batches as they lie in the archive."""
    order = [2 * (batch - 1) + i for batch in (4, 3, 2, 5, 1) for i in range(2)]
    rows = {"train": order, "test": range(10, 13)}

    def hub_rows(repository, revision, split, columns):
        assert (repository, columns) == ("uoft-cs/cifar10", ("img", "label"))
        return iter([{"img": Image.fromarray(PIXELS[i]), "label": int(LABELS[i])} for i in rows[split]])

    monkeypatch.setattr(image_files, "hub_rows", hub_rows)
    pictures = read_hub(show_progress=False)
    assert same(pictures)
    assert "0b2714987fa478483af9968de7c934580d0bb9a2" in pictures.source
    rows["train"] = range(9)
    with pytest.raises(LraBenchError, match="five equal batches"):
        read_hub(show_progress=False)


def test_the_real_grey_pictures():
    pytest.importorskip("pyarrow")
    pictures = read_cifar10(real_data.pictures(), False)
    train = pictures.pixels[pictures.part == TRAIN]
    assert pictures.pixels.shape == (60_000, 32, 32, 1)
    assert round(train.mean(), 2) == 122.62
    assert round(train.std(), 2) == 60.99
    assert pictures.notes == ["104 pictures are not bit-exact (81 train, 23 test)"]
    assert pictures.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert np.bincount(pictures.labels[pictures.part == TEST]).tolist() == [1000] * 10
