from pathlib import Path

import numpy as np
import pytest
import torch

from lra_bench.building import build_task
from lra_bench.config.compose import compose_task
from lra_bench.core.errors import LraBenchError
from lra_bench.data.prepared import Order
from lra_bench.data.store import SHARDS
from lra_bench.tasks import pathfinder
from lra_bench.tasks.pathfinder_drawing import LRA
from lra_bench.tasks.pathfinder_snakes import draw_samples
from tests import official

OFFICIAL = "task.origin=official"
IMAGES = np.random.default_rng(0).integers(0, 256, (50, 32, 32), dtype=np.uint8)
LABELS = [index * 7 % 3 % 2 for index in range(50)]
INSIDE = "pathfinder32/curv_contour_length_14"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "store"))


def task(*words: str, name: str = "pathfinder"):
    return build_task(compose_task(name, words))


def prepared(source: Path, *words: str):
    made = task(OFFICIAL, *words)
    made.prepare(Order(str(source)))
    return made


def files() -> dict[str, bytes]:
    """Batches 0..11, so that their order by number is not that by name."""
    return official.pathfinder(IMAGES, LABELS, batch_size=4)


def folder_of(path: Path, content: dict[str, bytes]) -> Path:
    return official.as_folder(path, official.under(INSIDE, content))


def test_images_come_in_the_order_of_the_metadata(tmp_path):
    made = prepared(folder_of(tmp_path / "f", files()))
    assert np.array_equal(made.data.array("pixels"), IMAGES.reshape(50, -1))
    assert made.data.labels.tolist() == LABELS
    assert made.data.manifest.facts["images"] == 50


def test_folder_inside_of_it_and_release_give_the_same_set(tmp_path, monkeypatch):
    backwards = dict(reversed(official.lra_release({}, {}, files()).items()))
    sources = [
        folder_of(tmp_path / "f", files()),
        tmp_path / "f" / INSIDE,
        tmp_path / "f" / "pathfinder32",
        official.as_tar(tmp_path / "lra_release.gz", backwards),
    ]
    found = set()
    for number, source in enumerate(sources):
        monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / str(number)))
        found.add(prepared(source).data.manifest.content)
    assert len(found) == 1


def test_splits_are_those_of_s4_or_of_the_order(tmp_path):
    source = folder_of(tmp_path / "f", files())
    s4 = prepared(source)
    parts = torch.utils.data.random_split(range(50), [40, 5, 5], torch.Generator().manual_seed(42))
    assert [s4.rows(split).tolist() for split in ("train", "val", "test")] == [list(part) for part in parts]
    original = task(OFFICIAL, "task.split=original")
    assert [original.rows(split).tolist() for split in ("train", "val", "test")] == [
        list(range(40)),
        list(range(40, 45)),
        list(range(45, 50)),
    ]


def test_easier_sets_and_other_resolutions_are_not_read(tmp_path):
    content = official.under(INSIDE, files())
    content |= official.under("pathfinder32/curv_baseline", official.pathfinder(IMAGES[:4], LABELS[:4], 4))
    content |= official.under("pathfinder64/curv_contour_length_14", official.pathfinder(IMAGES[:4], LABELS[:4], 4))
    made = prepared(official.as_tar(tmp_path / "x.tar", official.under("lra_release/lra_release", content)))
    assert len(made.data.labels) == 50


def test_empty_images_are_left_out_and_counted(tmp_path):
    made = prepared(folder_of(tmp_path / "f", files() | {"imgs/0/sample_2.png": b""}))
    assert len(made.data.labels) == 49
    assert made.data.manifest.skipped == {"empty image files": 1}
    assert np.array_equal(made.data.array("pixels")[2], IMAGES[3].reshape(-1))


def large() -> bytes:
    return official.pathfinder(np.zeros((1, 64, 64), np.uint8), [0], 1)["imgs/0/sample_0.png"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imgs/3/sample_1.png": b"not a picture"}, r"imgs/3/sample_1\.png is damaged"),
        ({"imgs/3/sample_1.png": files()["imgs/3/sample_1.png"][:-40]}, r"imgs/3/sample_1\.png is damaged"),
        ({"imgs/3/sample_1.png": large()}, "64 x 64 pixels, not 32 x 32"),
        ({"imgs/3/sample_1.png": None}, r"lists imgs/3/sample_1\.png and 0 others, but does not hold them"),
        ({"metadata/2.npy": b"imgs/2 sample_0.png 0 7 1.0 14 4 2 0.5 1 1\n"}, r"2\.npy, line 1: expected 11 columns"),
        ({"metadata/2.npy": b"imgs/2 sample_0.png 0\n"}, r"2\.npy, line 1: expected 11 columns"),
        ({"metadata/2.npy": b"\x93NUMPY\x01\x00"}, r"2\.npy, line 1: expected 11 columns"),
        (dict.fromkeys(files()), "does not hold pathfinder32/curv_contour_length_14"),
    ],
)
def test_what_is_not_the_official_set_is_refused(tmp_path, changes, message):
    content = {name: data for name, data in (files() | changes).items() if data is not None}
    with pytest.raises(LraBenchError, match=message):
        prepared(folder_of(tmp_path / "f", content or {"README": b""}))


def test_drawn_images_are_those_of_the_generator_whatever_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(pathfinder, "SHARD", 70)
    contents = []
    for jobs in (1, 2):
        monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / str(jobs)))
        made = task("task.size=tiny")
        made.prepare(Order(None, jobs))
        contents.append(made.data.manifest.content)
    assert contents[0] == contents[1]
    (sample,) = draw_samples([0, made.VERSION, 32], LRA[32], 199, 1)
    assert np.array_equal(made.data.array("pixels")[199], sample.pixels.reshape(-1))
    assert made.data.labels[199] == sample.label
    assert made.rows("test").tolist() == list(range(150, 200))


def test_an_interrupted_drawing_goes_on(tmp_path, monkeypatch):
    made = task("task.size=tiny")
    monkeypatch.setattr(pathfinder, "SHARD", 50)
    calls = []
    real = pathfinder._shard

    def interrupted(seed, side, size, total, number):
        calls.append(number)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(seed, side, size, total, number)

    monkeypatch.setattr(pathfinder, "_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.prepare(Order())
    (part,) = (tmp_path / "store").glob("pathfinder/.*.part")
    assert len(list((part / SHARDS).iterdir())) == 2
    made.prepare(Order())
    assert calls == [0, 1, 2, 2, 3]
    assert not part.exists()


def test_pixels_are_centred_or_not():
    made = task("task.size=tiny")
    made.prepare(Order())
    source = made.source("test")
    raw = source.__getitems__([0, 1])
    assert torch.allclose(made.decode(raw).x[..., 0], raw.x / 127.5 - 1, atol=1e-6)
    assert torch.allclose(task("task.size=tiny", "task.center=false").decode(raw).x[..., 0], raw.x / 255, atol=1e-6)
    assert torch.equal(task("task.size=tiny", "task.inputs=tokens").decode(raw).x, raw.x.long())


@pytest.mark.parametrize(("name", "side"), [("pathfinder", 32), ("pathx", 128), ("path256", 256)])
def test_tasks_differ_in_resolution(name, side):
    made = task(name=name)
    assert made.spec.seq_len == side**2
    assert made.image_shape == (side, side)
    assert made.sizes == (160_000, 20_000, 20_000)
