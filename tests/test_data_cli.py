"""`lra-bench data` as a person uses it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lra_bench.cli.showing import contact_sheet
from lra_bench.config.compose import compose_task
from lra_bench.core.errors import ConfigError
from lra_bench.data.export import new_folder
from lra_bench.tasks import TABLE
from tests import official, toy_shards

REGISTERED = {
    "toy": "tests.toy_prepared:Toy",
    "toy_pictures": "tests.toy_prepared:ToyPictures",
    "toy_tokens": "tests.toy_tasks:Toy",
    "toy_pairs": "tests.toy_tasks:TokensPair",
    "toy_numbers": "tests.toy_tasks:Continuous",
    "toy_regression": "tests.toy_tasks:Regression",
}
COMMANDS = ("prepare", "status", "verify", "bundle", "unbundle", "export", "show")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """The store, an empty folder; toys are known by name."""
    monkeypatch.setenv("LRA_BENCH_DATA_DIR", str(tmp_path / "store"))
    for name, path in REGISTERED.items():
        monkeypatch.setitem(TABLE, name, path)
    return tmp_path / "store"


@pytest.fixture
def toy(cli) -> None:
    """The tiny toy, prepared."""
    cli("data", "prepare", "toy", "--size", "tiny", "--jobs", "1")


def toy_rows(shards: int = 4) -> np.ndarray:
    return np.concatenate([toy_shards.draw(0, number)["rows"] for number in range(shards)])


def widest(output: str) -> int:
    return max(map(len, output.splitlines()))


# The config of a task


def test_a_task_is_composed_without_a_model():
    config = compose_task("lds", ["task.seq_len=7", "seed=3", "protocol=legacy"])
    assert (config.task.name, config.task.seq_len, config.data_seed, config.protocol) == ("lds", 7, 3, "legacy")
    assert compose_task("lds", ["model=stu"]).model.name == "stu"
    assert compose_task("lds", ["recipe=lds/stu"]).model.name == "stu"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task.seq_lenn=7"], "Did you mean: 'seq_len'"),
        (["protocol=dirty"], "protocol"),
        (["task=lds_large"], "the task is lds; leave out task=lds_large"),
        (["seq_len"], "is not of the form key=value"),
    ],
)
def test_a_mistake_in_the_words_is_one_error(words, message):
    with pytest.raises(ConfigError, match=message):
        compose_task("lds", words)


# prepare


def test_preparing_says_what_was_found(cli, place):
    output = cli("data", "prepare", "toy", "--size", "tiny", "protocol=legacy", "--jobs", "1").output
    assert output.startswith("toy is prepared.\n")
    said = dict(line.split("  ", 1) for line in output.splitlines() if "  " in line)
    said = {name: value.strip() for name, value in said.items()}
    assert said["source"] == "toy generator"
    assert said["examples, clean"] == "train 10, val 5, test 5"
    assert said["examples, legacy"] == "train 10, val 5, test 5"
    assert said["rows"] == "20"
    assert said["[labels]"].startswith("zero ")
    assert said["skipped, rows of zeros"] == "1,234"
    assert said["note"] == "this is a toy"
    assert "majority 0." in said["test accuracy of trivial predictors, legacy"]
    assert float(said["seconds"]) >= 0
    assert said["size"] == "0.0 MB"
    words = "protocol=legacy task.size=tiny"
    assert output.splitlines()[-2:] == [
        f"next: lra-bench data show toy {words}",
        f"next: lra-bench train task=toy model=stu {words}",
    ]
    assert widest(output) <= 100
    assert len(list(place.glob("toy/generated-tiny-*/manifest.json"))) == 1


def test_without_scikit_learn_preparing_says_which_floor_is_missing(cli, monkeypatch):
    command = ("data", "prepare", "toy", "--size", "tiny", "--jobs", "1")
    with monkeypatch.context() as patched:
        patched.setattr("lra_bench.data.floors.find_spec", lambda name: None)
        without = " ".join(cli(*command).output.split())
    assert "bag_of_tokens" not in without
    assert "pip install -c constraints.txt -e '.[floors]'" in without
    afterwards = cli(*command).output
    assert "bag_of_tokens 0." in afterwards
    assert "[floors]" not in afterwards


def test_preparing_twice_prepares_once(cli, toy, place):
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.suffix != ".lock"}
    output = cli("data", "prepare", "toy", "task.size=tiny").output
    assert output.startswith("toy is prepared already.\n")
    assert "seconds" not in output
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.suffix != ".lock"} == before


def test_damaged_data_are_prepared_again(cli, toy, place):
    (path,) = place.rglob("pixels.npy")
    os.truncate(path, 100)
    assert "toy is prepared.\n" in cli("data", "prepare", "toy", "--size", "tiny", "--jobs", "1").output
    assert np.array_equal(np.load(path), toy_rows())


def test_official_data_are_read_from_their_source(cli, folder, place):
    np.save("rows.npy", toy_rows()[::-1])
    output = cli("data", "prepare", "toy", "task.origin=official", "--source", "rows.npy").output
    assert "rows.npy" in output
    (path,) = place.glob("toy/official-*/pixels.npy")
    assert np.array_equal(np.load(path), toy_rows()[::-1])


def test_a_task_without_prepared_data_has_nothing_to_prepare(cli, place):
    output = cli("data", "prepare", "lds").output
    assert "lds is generated while training; there is nothing to prepare." in output
    assert "next: lra-bench train task=lds" in output
    assert not place.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["toy", "--source", "here.tar"], "is generated; to read files instead, add task.origin=official"),
        (["toy", "task.origin=official"], "give it with --source PATH"),
        (["toy", "task.origin=official", "--size", "tiny"], "task.size must be full"),
        (["toy", "task.sizes=tiny"], "Did you mean: 'size'"),
        (["toy", "--size", "huge"], "Invalid value for '--size'"),
        (["toy", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["text", "--size", "tiny"], "text comes in one size; leave out --size"),
        (["txet"], "Did you mean 'text'"),
        (["text", "--source", "nowhere.tar"], "nowhere.tar does not exist"),
    ],
)
def test_a_mistake_is_one_line_and_prepares_nothing(cli, place, words, message):
    output = cli("data", "prepare", *words, expect=2).output
    assert message in output
    assert len([line for line in output.splitlines() if "rror:" in line]) == 1
    assert list(place.rglob("manifest.json")) == []


# status


def test_status_knows_what_is_there(cli, toy, place):
    output = cli("data", "status", "toy", "lds", "text").output
    assert widest(output) <= 100
    lines = [line.split() for line in output.splitlines()]
    assert ["lds", "generated", "while", "training"] in lines
    assert "missing" in next(line for line in lines if line[:1] == ["toy"])
    assert ["lra-bench", "data", "prepare", "toy"] in lines
    (tiny,) = place.glob("toy/generated-tiny-*")
    assert "ready" in next(line for line in lines if line[:1] == [f"toy/{tiny.name}"])
    assert "size tiny, data_seed 0" in output
    assert str(place) in output


def test_status_says_what_is_wrong(cli, toy, place):
    cli("data", "prepare", "toy", "--jobs", "1")
    (full,) = place.glob("toy/generated-full-*")
    os.truncate(full / "pixels.npy", 100)
    (tiny,) = place.glob("toy/generated-tiny-*")
    (tiny / "manifest.json").unlink()
    found = json.loads(cli("data", "status", "toy", "--json").output)
    assert found["store"] == str(place)
    (state,), (other,) = found["tasks"], found["others"]
    assert (state["task"], state["state"], state["folder"]) == ("toy", "wrong", f"toy/{full.name}")
    assert "pixels.npy has 100 bytes" in state["why"]
    assert state["command"] == "lra-bench data prepare toy"
    assert (other["folder"], other["state"], other["options"]) == (f"toy/{tiny.name}", "wrong", {})
    assert "manifest.json cannot be read" in other["why"]
    cli("data", "prepare", "toy", "--jobs", "1")
    (state,) = json.loads(cli("data", "status", "toy", "--json").output)["tasks"]
    assert (state["state"], state["why"], state["command"]) == ("ready", "", "")
    assert state["bytes"] == sum(path.stat().st_size for path in full.iterdir())


def test_status_of_everything_fits_a_hundred_columns(cli, toy):
    output = cli("data", "status").output
    assert widest(output) <= 100
    for word in ("lds_noisy", "text", "Other sets in the store:", "lra-bench data prepare text"):
        assert word in output


def test_status_of_some_tasks_leaves_out_sets_of_others(cli, toy):
    assert json.loads(cli("data", "status", "text", "lds", "--json").output)["others"] == []
    assert "Did you mean 'text'" in cli("data", "status", "texd", expect=2).output


# verify, bundle, unbundle


def test_verify_looks_at_everything_before_it_complains(cli, toy, place):
    cli("data", "prepare", "toy", "--size", "tiny", "data_seed=1", "--jobs", "1")
    assert "2 checked, none wrong" in cli("data", "verify").output
    first, second = sorted(place.glob("toy/generated-tiny-*"))
    content = bytearray((first / "pixels.npy").read_bytes())
    content[-1] ^= 1
    (first / "pixels.npy").write_bytes(content)
    output = cli("data", "verify", "toy", expect=2).output
    assert f"WRONG  toy/{first.name}: {first}/pixels.npy differs" in output.replace("\n", " ")
    assert f"ok     toy/{second.name}" in output
    assert output.splitlines()[-1].startswith("error: 1 of 2 sets are wrong")


def test_verify_needs_something_to_look_at(cli, toy):
    assert "text is not prepared. Run: lra-bench data prepare text" in cli("data", "verify", "text", expect=2).output
    assert "lds is generated while training" in cli("data", "verify", "lds", expect=2).output


def test_sets_travel_in_a_bundle(cli, toy, place, folder):
    output = cli("data", "bundle", "all.tar", "toy").output
    assert "next, on the other machine: lra-bench data unbundle all.tar" in output
    (name,) = (path.name for path in place.glob("toy/generated-*"))
    shutil.rmtree(place)
    assert f"toy/{name}: added" in cli("data", "unbundle", "all.tar").output
    assert "1 checked, none wrong" in cli("data", "verify").output
    assert f"toy/{name}: ready already" in cli("data", "unbundle", "all.tar").output
    assert "prepared already" in cli("data", "prepare", "toy", "--size", "tiny").output


def test_mistakes_with_bundles_are_one_line(cli, folder):
    assert "no prepared set to bundle" in cli("data", "bundle", "all.tar", expect=2).output
    assert "text is not prepared" in cli("data", "bundle", "all.tar", "text", expect=2).output
    assert "there is no file all.tar" in cli("data", "unbundle", "all.tar", expect=2).output
    assert list(folder.iterdir()) == []


# export


def test_the_official_files_can_be_prepared_again(cli, toy):
    assert "Wrote out" in cli("data", "export", "toy", "task.size=tiny", "--to", "out").output
    assert np.array_equal(np.load("out/rows.npy"), toy_rows())


def test_arrays_are_what_the_sources_give(cli, toy):
    output = cli("data", "export", "toy", "task.size=tiny", "--to", "deep/out", "--format", "arrays").output
    assert "train: 10 examples" in output
    said = json.loads(Path("deep/out/spec.json").read_text())
    assert said["examples"] == {"train": 10, "val": 5, "test": 5}
    assert (said["task"]["name"], said["protocol"], said["data_seed"]) == ("toy", "clean", 0)
    part = np.arange(20) % 4 // 2 * (1 + np.arange(20) % 2)
    for number, split in enumerate(("train", "val", "test")):
        expected = toy_rows()[part == number]
        assert np.array_equal(np.load(f"deep/out/{split}/x.npy"), expected.astype(int) + 1)
        assert np.array_equal(np.load(f"deep/out/{split}/y.npy"), expected[:, 0] > 125)
        assert set(np.load(f"deep/out/{split}/lengths.npy")) == {16}
    assert {path.name for path in Path("deep/out").iterdir()} == {"train", "val", "test", "spec.json"}


def test_an_endless_stream_is_exported_from_its_beginning(cli):
    output = cli("data", "export", "lds", "task.seq_len=8", "data_seed=0", "--to", "out", "--format", "arrays").output
    assert "train: 1,000 examples" in output
    x, y = np.load("out/train/x.npy"), np.load("out/train/y.npy")
    assert x.shape == y.shape == (1000, 8, 3)
    assert x.dtype == np.float32
    assert len(np.unique(x[:, 0, 0])) == 1000
    assert sorted(path.name for path in Path("out/val").iterdir()) == ["x.npy", "y.npy"]


@pytest.mark.parametrize(
    ("kind", "names"), [("toy_tokens", ()), ("toy_pairs", ("lengths2", "x2")), ("toy_regression", ("y_mask",))]
)
def test_arrays_of_every_kind_of_task_are_padded_to_one_length(cli, kind, names):
    cli("data", "export", kind, "task.seq_len=20", "--to", "out", "--format", "arrays")
    arrays = {path.stem: np.load(path) for path in Path("out/train").iterdir()}
    assert set(arrays) == {"x", "y", "lengths", *names}
    assert arrays["x"].shape[:2] == (40, 20)
    assert arrays["lengths"].min() >= 1
    assert arrays["y"].shape[:1] == (40,)
    if kind == "toy_regression":
        assert arrays["y"].shape[:2] == (40, 20)
        assert np.array_equal(arrays["y_mask"].sum(1), arrays["lengths"])


def test_an_export_spoils_nothing(cli, toy, folder):
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("keep")
    words = ("data", "export", "toy", "task.size=tiny", "--to")
    assert "out is not an empty folder; choose a new one" in cli(*words, "out", expect=2).output
    assert "is not an empty folder" in cli(*words, "out/mine.txt", expect=2).output
    assert (folder / "out" / "mine.txt").read_text() == "keep"
    assert (
        "lds has no official files; add --format arrays" in cli("data", "export", "lds", "--to", "x", expect=2).output
    )
    assert "is not prepared" in cli("data", "export", "toy", "--to", "x", expect=2).output
    assert not (folder / "x").exists()


def test_an_export_that_fails_leaves_an_empty_folder(folder):
    def write() -> None:
        with new_folder(folder / "out") as part:
            (part / "half").touch()
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write()
    assert list((folder / "out").iterdir()) == []


# show


def test_tokens_are_shown_as_words(cli, toy, folder):
    output = cli("data", "show", "toy", "task.size=tiny", "--split", "val", "--number", "2").output
    part = np.arange(20) % 4 // 2 * (1 + np.arange(20) % 2)
    rows = toy_rows()[part == 1]
    assert "2 of 5 examples, val split" in output
    assert widest(output) <= 100
    words = " ".join(output.split())
    for index in (0, 2):
        text = " ".join(f"w{value}" for value in rows[index])
        assert f"example {index}, label {int(rows[index][0] > 125)} 16 steps: {text}" in words
    assert list(folder.glob("*.png")) == []


def test_more_examples_than_there_are_are_all(cli, toy):
    output = cli("data", "show", "toy", "task.size=tiny", "--split", "test", "--number", "50").output
    assert "5 of 5 examples" in output
    assert output.count("example ") == 5


def test_long_texts_are_cut_and_padding_is_not_shown(cli):
    output = cli("data", "show", "toy_tokens", "task.seq_len=4000", "--number", "3").output
    assert widest(output) <= 100
    assert len(output.splitlines()) <= 1 + 3 * 4
    assert " ..." in output
    short = cli("data", "show", "toy_pairs", "task.seq_len=9", "--number", "40").output
    for line in short.splitlines():
        if "steps: " in line:
            count, _, ids = line.strip().partition(" steps: ")
            assert len(ids.split()) == int(count)
            assert "0" not in ids.split()
    assert short.count("steps: ") == 80


def test_pictures_are_shown_on_one_sheet(cli, toy, folder):
    output = cli("data", "show", "toy_pictures", "task.size=tiny", "--number", "3").output
    assert "Wrote toy_pictures.png: 4 x 4 pictures" in output
    part = np.arange(20) % 4 // 2 * (1 + np.arange(20) % 2)
    rows = toy_rows()[part == 0][[0, 3, 6]]
    labels = [str(int(row[0] > 125)) for row in rows]
    assert f"row 1, labels: {' '.join(labels[:2])}\nrow 2, labels: {labels[2]}\n" in output
    sheet = np.array(Image.open("toy_pictures.png"))
    assert sheet.shape == (96 + 2 + 96, 96 + 2 + 96)
    corners = [(0, 0), (0, 98), (98, 0)]
    for row, (top, left) in zip(rows, corners, strict=True):
        assert np.array_equal(sheet[top : top + 96 : 24, left : left + 96 : 24], row.reshape(4, 4))
    assert (sheet[98:, 98:] == 255).all()


@pytest.mark.parametrize("shape", [(1, 200, 100), (5, 32, 32, 3), (9, 128, 128)])
def test_a_sheet_holds_every_picture(shape):
    pictures = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    sheet = contact_sheet(pictures)
    columns = {1: 1, 5: 3, 9: 3}[shape[0]]
    factor = max(1, 96 // shape[1])
    for place, picture in enumerate(pictures):
        top = place // columns * (factor * shape[1] + 2)
        left = place % columns * (factor * shape[2] + 2)
        found = sheet[top : top + factor * shape[1] : factor, left : left + factor * shape[2] : factor]
        assert np.array_equal(found, picture)


@pytest.mark.parametrize("task", ["lds", "selective_copying", "toy_numbers"])
def test_sequences_of_numbers_are_drawn(cli, folder, task):
    output = cli("data", "show", task, "--number", "1", "--out", "drawn.png").output
    assert "Wrote drawn.png" in output
    assert len(np.unique(np.array(Image.open("drawn.png").convert("RGB")).reshape(-1, 3), axis=0)) > 10
    assert ("targets: " in output) == (task == "selective_copying")
    assert [path.name for path in folder.iterdir()] == ["drawn.png"]


def test_showing_what_is_not_there_names_the_command(cli):
    output = cli("data", "show", "toy", "task.size=small", expect=2).output
    assert "Run: lra-bench data prepare toy --size small" in output


# A real task


REVIEWS = [
    (
        part,
        label,
        9 if label == "pos" else 2,
        f"{'Lovely' if label == 'pos' else 'Awful'} caf\u00e9 \x1b[31m number {n} {part}",
    )
    for part in ("train", "test")
    for label in ("pos", "neg")
    for n in range(15)
]


def test_reviews_are_prepared_shown_and_exported(cli, folder, place):
    official.as_folder(folder, official.imdb(REVIEWS))
    assert "train 27, val 3, test 30" in cli("data", "prepare", "text", "--source", "aclImdb").output
    output = cli("data", "show", "text", "task.min_freq=1", "--number", "4").output
    assert "Lovely caf\u00e9" in output
    assert "\x1b" not in output
    assert "Lovely caf\u00e9" in cli("data", "show", "text", "task.level=byte", "--number", "4").output
    cli("data", "export", "text", "--to", "out")
    (before,) = place.glob("text/*/manifest.json")
    arrays = json.loads(before.read_text())["arrays"]
    shutil.rmtree(place)
    cli("data", "prepare", "text", "--source", "out/aclImdb")
    assert json.loads(before.read_text())["arrays"] == arrays


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(cli, command):
    output = cli("data", command, "--help").output
    assert "Examples:" in output
    assert widest(output) <= 100


def test_help_loads_nothing_heavy(folder):
    code = (
        "import sys; from lra_bench.cli.main import main; main(['data', 'show', '--help'], standalone_mode=False);"
        "print(*{'torch', 'numpy', 'matplotlib', 'PIL', 'omegaconf'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_looking_at_data_needs_no_trainer(folder):
    code = (
        "import sys; from lra_bench.cli.main import main; main(['data', 'status'], standalone_mode=False);"
        "print(*{'lightning', 'matplotlib', 'sklearn', 'datasets'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
