"""What every prepared task keeps, whatever it is; a new one is tested by a line in `official_sets`."""

import dataclasses
import re
import socket
import typing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from lra_bench.building import build_task
from lra_bench.config.compose import compose, compose_task
from lra_bench.config.files import shipped_configs
from lra_bench.core.errors import LraBenchError
from lra_bench.core.registry import TASKS
from lra_bench.core.specs import InputKind, OutputKind
from lra_bench.data.prepared import Order, PreparedTask
from lra_bench.data.store import State, state_of
from lra_bench.trials.grouping import grouped
from lra_bench.trials.plan import cell_of
from tests import official
from tests.official_sets import CASES, Case, pictures
from tests.test_stacked import EXACT, compared

each = pytest.mark.parametrize("case", CASES, ids=str)
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Each case's source is made, and its set prepared, once."""
    made: dict[Case, tuple[Path, Path]] = {}

    def place(case: Case) -> Path:
        if case not in made:
            folder = tmp_path_factory.mktemp("case")
            (folder / "source").mkdir()
            made[case] = (folder / "store", case.source(folder / "source") if case.source else folder)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LRA_BENCH_DATA_DIR", str(folder / "store"))
                task_of(case).prepare(Order(str(made[case][1]) if case.source else None))
        return made[case][0]

    return place


def task_of(case: Case, *words: str) -> PreparedTask:
    task = build_task(compose_task(case.task, [*case.words, *words]))
    assert isinstance(task, PreparedTask)
    return task


@pytest.fixture
def task(case, places, monkeypatch) -> PreparedTask:
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(places(case)))
    return task_of(case)


def test_every_prepared_task_is_here():
    prepared = {name for name in TASKS.entries() if isinstance(build_task(compose_task(name)), PreparedTask)}
    assert prepared == {case.task for case in CASES}


@each
def test_clean_splits_share_no_content(task):
    hashes = {split: set(task.data.hashes[task.rows(split)].tolist()) for split in SPLITS}
    assert all(hashes.values())
    assert not hashes["train"] & hashes["val"]
    assert not hashes["train"] & hashes["test"]
    assert not hashes["val"] & hashes["test"]


@each
@pytest.mark.parametrize("protocol", ["clean", "legacy"])
def test_splits_do_not_repeat_a_row(task, case, protocol):
    task = task_of(case, f"protocol={protocol}")
    for split in SPLITS:
        rows = task.rows(split)
        assert len(np.unique(rows)) == len(rows) == task.source(split).size


@each
def test_batches_are_as_the_spec_promises(task):
    spec = task.spec
    for split in SPLITS:
        for batch in task.eval_loader(split):
            batch = task.decode(batch)
            assert batch.y.dtype == torch.int64
            assert batch.y.min() >= 0
            assert batch.y.max() < spec.output_size
            documents = [(batch.x, batch.mask)] + [(batch.x2, batch.mask2)] * (spec.output is OutputKind.CLASSIFY_PAIR)
            for x, mask in documents:
                assert x.shape[1] <= spec.seq_len
                if spec.input is InputKind.TOKENS:
                    assert x.dtype == torch.int64
                    assert x.min() >= 0
                    assert x.max() < spec.input_size
                else:
                    assert x.dtype == torch.float32
                    assert x.shape[2] == spec.input_size
                    assert x.isfinite().all()
                if mask is not None:
                    assert mask.any(dim=1).all()
                    assert (x[~mask] == spec.pad_id).all()
                    assert (mask.int().diff(dim=1) <= 0).all()


@each
def test_a_device_that_keeps_the_data_gives_the_same_batches(task, case):
    kept = task_of(case, "train.data_on_device=true", "train.global_batch_size=3", "train.eval_batch_size=3")
    read = task_of(case, "train.data_on_device=false", "train.global_batch_size=3", "train.eval_batch_size=3")
    assert kept.source("test").stored_bytes > 0
    pairs = [(task.eval_loader("test"), task.train_loader(1)) for task in (kept, read)]
    for ours, theirs in zip(*pairs, strict=True):
        for found, expected in zip(islice(ours, 4), islice(theirs, 4), strict=True):
            for part, same in zip(found, expected, strict=True):
                assert (part is None) == (same is None)
                assert part is None or (part.dtype == same.dtype and torch.equal(part, same))


@each
def test_a_batch_is_its_examples(task):
    source = task.source("test")
    whole = source.__getitems__(list(range(source.size)))
    for index in (source.size - 1, 0):
        single = source[index]
        length = single.x.shape[1]
        assert torch.equal(whole.x[index, :length], single.x[0])
        assert whole.y[index] == single.y[0]


@each
def test_the_fingerprint_tells_every_setting(task, case):
    found = {task.fingerprint()}
    for words in [["protocol=legacy"], ["data_seed=1"], *other_settings(task)]:
        other = task_of(case, *words)
        if other.key() != task.key():
            assert other.key().variant != task.key().variant
        else:
            assert other.fingerprint() not in found, words
            found.add(other.fingerprint())


def other_settings(task: PreparedTask) -> list[list[str]]:
    """For each setting of the task, an override that changes it alone."""
    hints = typing.get_type_hints(type(task.cfg))
    found = []
    for field in dataclasses.fields(task.cfg):
        value = getattr(task.cfg, field.name)
        if field.name in ("name", "origin"):
            continue
        if typing.get_origin(hints[field.name]) is typing.Literal:
            others = [choice for choice in typing.get_args(hints[field.name]) if choice != value]
            if field.name == "size" and task.origin == "official":
                continue
            other = others[0]
        else:
            other = (
                (not value)
                if isinstance(value, bool)
                else value - 1
                if field.name in ("max_length", "seq_len")
                else value + 1
            )
        found.append([f"task.{field.name}={str(other).lower() if isinstance(other, bool) else other}"])
    return found


@each
def test_the_origin_is_in_fingerprint_and_content(task, case):
    generated = case.source is None
    assert task.origin == ("generated" if generated else "official")
    assert task.fingerprint().startswith(task.origin)
    assert (task.content is None) == generated


@each
def test_floors_are_measured_once(task):
    floors = task.baselines()
    assert {"majority", "first_token"} <= set(floors)
    assert all(0 <= metrics["accuracy"] <= 1 for metrics in floors.values())
    labels = [task.data.labels[task.rows(split)] for split in ("train", "test")]
    most = np.bincount(labels[0]).argmax()
    assert floors["majority"]["accuracy"] == (labels[1] == most).mean()
    assert (task.data.folder / f"floors-{task.fingerprint()}.json").is_file()


@each
def test_the_official_files_give_the_same_set(task, case, tmp_path, monkeypatch):
    task.export(tmp_path)
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "store"))
    words = case.words if case.source else ("task.origin=official",)
    again = build_task(compose_task(case.task, words))
    assert isinstance(again, PreparedTask)
    again.prepare(Order(str(tmp_path)))
    for name in task.data.manifest.arrays:
        if name != "part":
            assert np.array_equal(task.data.array(name), again.data.array(name)), name


@each
def test_what_is_missing_names_the_command(case, tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path))
    task = task_of(case)
    with pytest.raises(LraBenchError, match=f"is not prepared .*Run: lra-bench data prepare {case.task}"):
        task.require_data()


TINY = ("backbone.d_model=4", "backbone.depth=1", "train.max_steps=2", "train.val_every=2", "train.global_batch_size=2")
RECIPES = [
    pytest.param(case, recipe, marks=[pytest.mark.slow] if case.task == "pathx" else [], id=recipe)
    for case in {
        case.task: case for case in CASES if not case.words or case.words == ("task.origin=official",)
    }.values()
    for recipe in sorted(shipped_configs("recipe"))
    if recipe.partition("/")[0] == case.task
]


@pytest.mark.parametrize(("case", "recipe"), RECIPES)
def test_every_recipe_trains(task, case, recipe, cli):
    heads = ["model.heads=2", "model.d_head=2"] if recipe.endswith("transformer") else []
    blocks = ["model.d_state=8", "model.blocks=1"] if recipe.endswith("s5") else []
    rate = ["optim.lr=0.001"] if recipe.endswith("lru") else []
    cli("train", f"recipe={recipe}", *case.words, *TINY, *heads, *blocks, *rate, "optim.warmup_steps=1")
    (record,) = Path("runs/train").glob("*/record.json")
    assert '"track": "recipe"' in record.read_text()


@pytest.mark.parametrize("attack", ["../../x", "/x", "link"])
@pytest.mark.parametrize("case", [case for case in CASES if case.source and case.source is not pictures], ids=str)
def test_a_hostile_archive_is_one_error_and_changes_nothing(case, attack, tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "in" / "store"))
    folder = case.source(tmp_path / "source")
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    name = next(name for name in files if not re.search("README|vocab|unsup", name))
    extra = []
    if attack == "link":
        del files[name]
        extra = [official.link(name, "/etc/hostname")]
    else:
        files[attack] = b"harm"
    (tmp_path / "in").mkdir()
    archive = official.as_tar(tmp_path / "in" / "archive.tar.gz", files, extra)
    with pytest.raises(LraBenchError, match=r"archive\.tar\.gz"):
        task_of(case).prepare(Order(str(archive)))
    assert not list(tmp_path.rglob("x"))
    assert state_of(task_of(case).key())[0] is State.MISSING


@pytest.fixture
def no_network(monkeypatch):
    """Any attempt to reach anything fails the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("a prepared task needs no network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@each
@pytest.mark.usefixtures("no_network")
def test_a_model_trains_on_it_without_a_network(task, case, cli):
    cli("train", f"task={case.task}", "model=s4d", "model.d_state=4", *case.words, *TINY)
    (record,) = Path("runs/train").glob("*/record.json")
    assert f'"fingerprint": "{task.fingerprint()}"' in record.read_text()


ON_ONE_CORE = ("train.accelerator=cpu", "train.threads=1")


@pytest.mark.parametrize(
    "case", {case.task: case for case in CASES if case.task not in ("pathx", "path256")}.values(), ids=str
)
@pytest.mark.usefixtures("task")
def test_trials_on_it_may_share_a_program(case, tmp_path):
    """In the network that the task's defaults make, which reads both ways."""
    words = (f"task={case.task}", *case.words, *TINY, "optim.warmup_steps=1", *ON_ONE_CORE)
    cells = [cell_of(compose([*words, EXACT, "model=lru", f"seed={seed}"]).config) for seed in (0, 1)]
    assert len(grouped(cells, 1, 1e10, "on").programs) == 1
    ways = (("optim.lr=0.01", "seed=0"), ("optim.lr=0.003", "seed=1"))
    compared(tmp_path, EXACT, "model=lru", cells=ways, task=words, rel=1e-9)
