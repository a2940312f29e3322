from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from lra_bench.building import build_task
from lra_bench.config.compose import compose_task
from lra_bench.core.errors import ConfigError, LraBenchError
from lra_bench.data.prepared import Order
from tests import official, real_data

PIXELS = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
PIXELS[55] = PIXELS[4]
LABELS = (np.arange(70) % 10).astype(np.uint8)
PART = np.repeat(np.array([0, 2], np.uint8), (50, 20))
GREY = np.stack([np.asarray(Pillow.fromarray(picture).convert("L")) for picture in PIXELS]).reshape(70, 1024)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "store"))


def task(name: str, *words: str):
    return build_task(compose_task(name, words))


def prepared(name: str, source: Path, *words: str):
    made = task(name, *words)
    made.prepare(Order(str(source)))
    return made


@pytest.fixture
def source(tmp_path) -> Path:
    return official.as_tar(tmp_path / "binary.tar.gz", official.cifar_binary(PIXELS, LABELS, PART))


def test_every_official_form_gives_the_same_grey_set(tmp_path, source, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = {
        "image": [row.tobytes() for row in GREY],
        "label": LABELS.tolist(),
        "split": ["train" if part == 0 else "test" for part in PART],
        "idx": [*range(50), *range(20)],
    }
    parquet.write_table(pytest.importorskip("pyarrow").table(table), tmp_path / "grey.parquet")
    sources = [
        source,
        official.as_tar(tmp_path / "python.tar.gz", official.cifar_python(PIXELS, LABELS, PART)),
        tmp_path / "grey.parquet",
    ]
    found = set()
    for number, path in enumerate(sources):
        monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / str(number)))
        made = prepared("image", path)
        assert np.array_equal(made.data.array("pixels"), GREY)
        found.add(made.data.manifest.content)
    assert len(found) == 1


def test_training_pixels_are_scaled_to_mean_0_and_deviation_1(source):
    for name, pixels in (("image", GREY[..., None]), ("image_rgb", PIXELS.reshape(70, 1024, 3))):
        made = prepared(name, source)
        whole = made.source("train").__getitems__(list(range(made.source("train").size)))
        x = made.decode(whole).x
        assert x.mean((0, 1)).numpy() == pytest.approx(np.zeros(x.shape[2]), abs=1e-4)
        assert x.std((0, 1)).numpy() == pytest.approx(np.ones(x.shape[2]), abs=1e-3)
        shift, scale = made.scaling
        assert np.allclose(x.numpy() * scale + shift, pixels[made.rows("train")], atol=1e-3)


def test_tokens_are_grey_levels(source):
    made = prepared("image", source, "task.inputs=tokens")
    batch = made.decode(made.source("test").__getitems__([0, 19]))
    assert torch.equal(batch.x, torch.from_numpy(GREY[[50, 69]].astype(np.int64)))
    assert batch.y.tolist() == [0, 9]
    assert made.spec.input_size == 256


def test_smaller_pictures_are_means_over_squares(source):
    made = prepared("image", source, "task.side=8")
    assert made.spec.seq_len == 64
    train = made.source("train")
    batch = train.__getitems__(list(range(train.size)))
    squares = GREY[made.rows("train")].reshape(-1, 8, 4, 8, 4).astype(float).mean((2, 4)).reshape(-1, 64)
    assert np.abs(batch.x.numpy() - squares).max() <= 0.5
    x = made.decode(batch).x
    assert x.mean() == pytest.approx(0, abs=1e-4)
    assert x.std() == pytest.approx(1, abs=1e-3)
    with pytest.raises(ConfigError, match=r"task\.side.*12"):
        task("image", "task.side=12")


def test_clean_keeps_duplicates_of_test_pictures_out_of_training(source):
    made = prepared("image", source)
    assert made.rows("test").tolist() == list(range(50, 70))
    used = set(made.rows("train")) | set(made.rows("val"))
    assert used == set(range(50)) - {4}
    assert len(made.rows("val")) == 5


def test_legacy_is_the_split_of_torch_at_seed_42(source):
    made = prepared("image", source, "protocol=legacy")
    train, val = torch.utils.data.random_split(range(50), [45, 5], torch.Generator().manual_seed(42))
    assert made.rows("train").tolist() == list(train)
    assert made.rows("val").tolist() == list(val)


def test_colour_needs_colour(tmp_path):
    files = official.cifar_binary(PIXELS, LABELS, PART)
    grey = prepared("image", official.as_folder(tmp_path / "f", files))
    grey.export(tmp_path)
    assert np.array_equal(prepared("image_rgb", tmp_path / "cifar-10-batches-bin").data.array("pixels")[..., 0], GREY)
    parquet = pytest.importorskip("pyarrow.parquet")
    table = {"image": [row.tobytes() for row in GREY], "label": LABELS, "split": ["train"] * 50 + ["test"] * 20}
    parquet.write_table(pytest.importorskip("pyarrow").table(table), tmp_path / "grey.parquet")
    with pytest.raises(LraBenchError, match="needs CIFAR-10 in colour"):
        task("image_rgb").make(tmp_path, Order(str(tmp_path / "grey.parquet")))


def test_the_real_pictures_have_the_known_mean_and_deviation():
    made = prepared("image", real_data.pictures())
    facts = made.data.manifest.facts
    assert facts["training pixels, mean"] == 122.62
    assert facts["training pixels, standard deviation"] == 60.99
    assert [len(made.rows(split)) for split in ("train", "val", "test")] == [45_000, 5_000, 10_000]


@pytest.mark.parametrize("archive", [official.cifar_python, official.cifar_binary])
def test_the_real_pictures_in_official_archives_give_the_same_set(archive, tmp_path, monkeypatch):
    first = prepared("image", real_data.pictures())
    grey = first.data.array("pixels").reshape(-1, 32, 32, 1)
    files = archive(np.repeat(grey, 3, axis=-1), first.data.labels, first.data.part)
    source = official.as_tar(tmp_path / "cifar.tar.gz", files)
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "other"))
    assert prepared("image", source).data.manifest.content == first.data.manifest.content
