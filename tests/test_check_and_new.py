"""`lra-bench check model` and `lra-bench new model`."""

import sys

import pytest

from lra_bench.core.registry import MODELS
from lra_bench.testing.heavy import heavy_checks

BROKEN = {
    "LeaksTheFuture": "causality",
    "IgnoresTheMask": "padding invariance",
    "HasAComplexParameter": "real parameters and buffers",
    "HasADeadParameter": "a gradient for every parameter",
    "GivesTheWrongShape": "output shape and dtype",
    "BadHint": "optimizer hints name parameters",
}


@pytest.fixture
def light(monkeypatch):
    """Leaves out what takes seconds."""
    monkeypatch.setattr("lra_bench.testing.heavy.heavy_checks", lambda name: ())


@pytest.mark.parametrize(("name", "broken"), BROKEN.items())
def test_a_broken_mixer_is_refused_with_the_property_it_breaks(cli, light, name, broken):
    output = cli("check", "model", f"tests.strangers:{name}", expect=1).output
    assert any(line.startswith(f"FAILED  {broken}: ") for line in output.splitlines()), output
    assert "do not hold" in output.splitlines()[-1]


def test_every_property_gets_a_line(cli, light):
    lines = cli("check", "model", "stu").output.splitlines()
    assert lines[-1] == "stu: keeps the contract"
    assert "-       step equals forward (has no step mode)" in lines
    assert sum(line.startswith("ok") for line in lines) >= 12


def test_a_model_compiles_and_its_gradients_do_not_depend_on_the_number_of_processes():
    from lra_bench.testing.heavy import case_of

    for check in heavy_checks("lru"):
        assert check.run(case_of("lru")) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS.entries()))
def test_every_model_keeps_the_whole_contract(cli, name):
    assert "keeps the contract" in cli("check", "model", name).output


def test_a_process_that_dies_is_reported(cli):
    from lra_bench.testing.heavy import case_of

    _, data_parallel = heavy_checks("tests.strangers:Exits")
    with pytest.raises(AssertionError, match=r"data-parallel gradients: .*exit codes"):
        data_parallel.run(case_of("tests.strangers:Ramp"))


def test_a_new_model_keeps_the_contract_and_trains(cli, folder, monkeypatch, light):
    assert "lra-bench check model my_mixer" in cli("new", "model", "my_mixer").output
    monkeypatch.chdir(folder / "my_mixer")
    names = {path.name for path in (folder / "my_mixer").iterdir()}
    assert names == {"pyproject.toml", "my_mixer.py", "my_mixer.yaml", "test_my_mixer.py"}
    assert "keeps the contract" in cli("check", "model", "my_mixer:MyMixer").output
    sys.modules.pop("my_mixer")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my-mixer", "cannot name a module"),
        ("MyMixer", "small letters"),
        ("class", "cannot name a module"),
        ("../up", "cannot name a module"),
        ("stu", "there is a model 'stu' already"),
        ("taken", "exists already"),
    ],
)
def test_a_bad_name_is_refused_and_nothing_is_written(cli, folder, name, message):
    (folder / "taken").mkdir()
    assert message in cli("new", "model", name, expect=2).output
    assert [path.name for path in folder.iterdir()] == ["taken"]
