"""Planning: many configs at once equal one at a time, sweep files as W&B has them, and what `sweep plan` says."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from lra_bench.config import composer as composing
from lra_bench.config.compose import compose, load_frozen, to_yaml
from lra_bench.config.composer import Composer
from lra_bench.config.files import read_yaml, write_yaml
from lra_bench.config.identity import TrialIds
from lra_bench.config.words import read_value, split_word, write_value
from lra_bench.core.errors import ConfigError
from lra_bench.core.registry import MODELS, TASKS
from lra_bench.core.settings import NOT_RESULT_RELEVANT
from lra_bench.trials.plan import plan
from lra_bench.trials.sweepfile import Sweep, read_sweep
from tests.test_imports import loaded_by

LARGE = """# five thousand cells
method: grid
parameters:
  task: {value: lds}
  model: {values: [stu, stu_ar, lru, s4d, s5]}
  optim.lr: {values: [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]}
  train.max_steps: {values: [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]}
  seed: {values: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}
"""
SETTINGS = settings(deadline=None, derandomize=True)

KEYS = [
    *("optim.lr", "optim.grad_clip", "optim.name", "optim.schedule", "train.max_steps", "train.threads"),
    *("train.compile", "train.precision", "seed", "data_seed", "study", "out_dir", "protocol", "recipe"),
    *("task.seq_len", "task.delays", "task.pairs", "model.d_state", "model.window", "tracking.project"),
    *("optim", "optim.", "optim[lr]", "model.name", "task", "lr", "optim.lrr", "train.threads.x", "task.name"),
]
TEXTS = [
    *("0", "1", "2", "-3", "007", "+5", "0x10", "1_000", "1e3", "0.5", "1.", ".5", "-0.0", "1e-400", ".inf", "nan"),
    *("null", "None", "~", "", " ", "yes", "Off", "true", "'3'", '"adam"', "adam", "cosine", "none", "a b", "a: b"),
    *("[1, 2]", " [4]", "[1, x]", "[]", "{lr: 0.5}", "{name: stu}", "${seed}", "${optim.lr}", "${nowhere}", "???"),
    *(
        "lds",
        "stu",
        "lds/stu",
        "[",
        "- 1",
        "#",
        "é",
        "a=b",
        "\\${seed}",
        "legacy",
        "64-true",
        "3.0",
        "12345678901234567890",
    ),
]
BASES = [
    ("task=lds", "model=stu"),
    ("task=lds_noisy", "model=transformer"),
    ("recipe=lds/stu",),
    ("task=copying", "model=s4d"),
    ("task=associative_recall", "model.name=mamba"),
    ("model=stu",),
]
WORD = st.builds(lambda key, text: f"{key}={text}", st.sampled_from(KEYS), st.sampled_from(TEXTS))
CELL = st.tuples(st.sampled_from(BASES), st.lists(WORD, max_size=3)).map(lambda parts: (*parts[0], *parts[1]))


def outcome(function, words):
    """What comes of words: every value with its type, or the error."""
    try:
        return repr(function(words))
    except Exception as error:
        return type(error), str(error)


@given(st.lists(CELL, min_size=1, max_size=3))
@settings(SETTINGS, max_examples=60)
def test_many_configs_at_once_are_those_that_are_composed_one_by_one(cells):
    composer = Composer()
    for words in cells:
        assert outcome(composer.compose, words) == outcome(lambda w: compose(w).config, words)


@pytest.mark.parametrize(
    "words",
    [
        ["task=lds", "model=stu", "seed=3"],
        ["task=lds", "model=stu", "seed=3", "data_seed=1"],
        ["task=copying", "model=s4d", "task.delays=[2, 5]", "optim.lr=0.5"],
        ["recipe=lds/stu", "optim.lr=0.5", "seed=7"],
        ["task=lds", "model=stu", "train.threads=null", "optim.grad_clip=None"],
    ],
)
def test_ordinary_words_need_no_merge_of_their_own(monkeypatch, words):
    monkeypatch.setattr(composing, "compose", None)
    assert repr(Composer().compose(words)) == repr(compose(words).config)


def test_words_of_one_key_keep_their_order():
    composer = Composer()
    for words in (
        ["optim.lr=1", "optim={lr: 2}"],
        ["optim={lr: 2}", "optim.lr=1"],
        ["optim.lr=1", "optim.lr=2"],
        ["seed=1", "seed=${train.max_steps}", "train.max_steps=5"],
    ):
        full = ["task=lds", "model=stu", *words]
        assert repr(composer.compose(full)) == repr(compose(full).config)


def test_a_large_sweep_merges_once_per_model(folder, monkeypatch):
    Path("large.yaml").write_text(LARGE)
    merges = []
    real = composing.merged
    monkeypatch.setattr(composing, "merged", lambda words: merges.append(words) or real(words))
    monkeypatch.setattr(composing, "compose", None)
    cells = plan(read_sweep("large.yaml"), ["task.seq_len=64", "task.val_size=8"])
    assert len(cells) == len({cell.folder for cell in cells}) == 5000
    assert len(merges) == 5
    for cell in cells[::713]:
        assert repr(cell.config) == repr(compose(cell.words).config)
        assert cell.folder.name == plain_id(cell.config, 1)


def test_sections_are_shared(folder):
    Path("large.yaml").write_text(LARGE)
    cells = plan(read_sweep("large.yaml"))
    assert len({id(cell.config.task) for cell in cells}) == 5
    assert len({id(cell.config.optim) for cell in cells}) == 50


def plain_id(config, version: int) -> str:
    """The id as it is defined, of the whole config at once."""
    content = {"task_version": version, **config.to_dict()}
    for key in NOT_RESULT_RELEVANT:
        section, _, name = key.rpartition(".")
        del (content[section] if section else content)[name]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def test_ids_are_those_of_the_whole_config():
    ids = TrialIds()
    for task in ("lds", "copying", "text", "pathx"):
        for words in (["model=stu"], ["model=mamba", "optim.lr=1e-5", "seed=3"], ["model=lru", "study=é"]):
            config = compose([f"task={task}", *words]).config
            assert ids.of(config, 7) == plain_id(config, 7)


@pytest.mark.parametrize(
    ("task", "model"),
    [*((task, "stu") for task in TASKS.entries()), *(("copying", model) for model in MODELS.entries())],
)
def test_yaml_is_what_omegaconf_writes(task, model):
    config = compose([f"task={task}", f"model={model}", "optim.lr=1e-5", "study=1e3", "out_dir=yes"]).config
    assert to_yaml(config) == OmegaConf.to_yaml(OmegaConf.create(config.to_dict()))


SCALAR = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False))
AWKWARD = st.sampled_from(
    ["yes", "NO", "1e-3", "1_0", "0x1F", ".nan", "~", "null", "", " a", "a: b", "#", "[1", "1:30"]
)
TEXT = st.one_of(AWKWARD, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$?\\"), max_size=12))


@given(st.dictionaries(st.sampled_from("abc"), st.one_of(SCALAR, TEXT, st.lists(TEXT, max_size=3)), min_size=1))
@settings(SETTINGS, max_examples=150)
def test_yaml_comes_back_the_same(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("yaml") / "values.yaml"
    path.write_text(write_yaml(values), encoding="utf-8", newline="")
    assert repr(OmegaConf.to_container(read_yaml(path))) == repr(values)


def test_a_frozen_config_keeps_awkward_values(tmp_path):
    words = ["task=copying", "model=stu", "study=1e-3", "out_dir=yes", "tracking.project=null x", "task.delays=[2, 5]"]
    config = dataclasses.replace(compose(words).config, study="1e-3", out_dir="yes")
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert repr(load_frozen(path)) == repr(config)


VALUE = st.recursive(
    st.one_of(SCALAR, TEXT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)


@given(VALUE)
@settings(SETTINGS, max_examples=150)
def test_values_come_through_the_command_line(value):
    key, text = split_word(f"key={write_value(value)}")
    read = read_value(text)
    assert key == "key"
    assert repr(OmegaConf.to_container(read) if OmegaConf.is_config(read) else read) == repr(value)


@given(st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{0,3})?(e[-+]?[0-9]{1,3})?", fullmatch=True))
@settings(SETTINGS, max_examples=150)
def test_numbers_are_read_as_yaml_reads_them(text):
    assert repr(read_value(text)) == repr(OmegaConf.from_dotlist([f"value={text}"]).value)


def test_words_read_as_they_are_in_the_file(folder):
    Path("kinds.yaml").write_text(
        """
method: grid
parameters:
  optim.grad_clip: {value: null}
  train.compile: {values: [true]}
  optim.lr: {value: 1e-5}
  task.delays: {value: [2, 5]}
  optim: {value: {beta1: 0.5}}
  study: {value: "1e3"}
  tracking.project: {value: two words}
"""
    )
    assert read_sweep("kinds.yaml").cells == (
        (
            "optim.grad_clip=null",
            "train.compile=true",
            "optim.lr=1e-05",
            "task.delays=[2, 5]",
            "optim={beta1: 0.5}",
            "study='1e3'",
            "tracking.project=two words",
        ),
    )
    config = compose(["task=copying", "model=stu", *read_sweep("kinds.yaml").cells[0]]).config
    assert (config.optim.grad_clip, config.train.compile, config.optim.lr) == (None, True, 1e-5)
    assert (config.task.delays, config.optim.beta1, config.study) == ((2, 5), 0.5, "1e3")


def test_a_recipe_chooses_task_and_model():
    cells = plan(Sweep("r", (("recipe=lds/stu",), ("recipe=listops/s4d",))))
    assert [(c.config.task.name, c.config.model.name, c.config.track) for c in cells] == [
        ("lds", "stu", "recipe"),
        ("listops", "s4d", "recipe"),
    ]


def sweep(text: str) -> Sweep:
    Path("mine.yaml").write_text(text)
    return read_sweep("mine.yaml")


def test_what_only_concerns_wandb_is_passed_over(folder):
    read = sweep(
        """
program: train.py
command: [lra-bench, train, "${args_no_hyphens}"]
name: another
description: what it is
project: lra
entity: us
metric: {name: val/nmse, goal: minimize}
method: grid
run_cap: 3
parameters: {seed: {distribution: categorical, values: [0, 1]}, data_seed: {values: [0, 1]}}
"""
    )
    assert read.name == "mine"
    assert read.cells == (("seed=0", "data_seed=0"), ("seed=0", "data_seed=1"), ("seed=1", "data_seed=0"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: bayes\nparameters: {seed: {min: 0, max: 9}}", "'bayes' does not run locally.*`wandb sweep`"),
        ("method: Grid\nparameters: {seed: {value: 0}}", "'Grid' does not run locally"),
        ("parameters: {seed: {value: 0}}", "method 'None' does not run locally"),
        ("method: grid\nearly_terminate: {type: hyperband}\nparameters: {seed: {value: 0}}", "works with W&B alone"),
        ("method: grid\ncount: 5\nparameters: {seed: {value: 0}}", "'count' is an option of `wandb agent`.*run_cap"),
        ("methd: grid\nparameters: {seed: {value: 0}}", "no key 'methd'; did you mean 'method'"),
        ("method: grid\nparamters: {seed: {value: 0}}", "no key 'paramters'; did you mean 'parameters'"),
        ("method: grid\nzzz: 1\nparameters: {seed: {value: 0}}", "no key 'zzz'; known: command, description"),
        ("method: grid\nparameters: {}", "has no 'parameters'"),
        ("method: grid\nparameters: [seed]", "has no 'parameters'"),
        ("method: grid\nparameters: {seed: 3}", r"parameter 'seed' needs a mapping; write seed: \{value: 3\}"),
        ("method: grid\nparameters: {seed: [0, 1]}", r"write seed: \{values: \[0, 1\]\}"),
        ("method: grid\nparameters: {seed: }", r"write seed: \{value: null\}"),
        ("method: grid\nparameters: {seed: {value: 0, values: [1]}}", "both 'value' and 'values'"),
        ("method: grid\nparameters: {seed: {vals: [1]}}", "parameter 'seed' has no 'vals'; did you mean 'values'"),
        ("method: grid\nparameters: {optim: {parameters: {lr: 3}}}", r"'optim.lr' needs a mapping"),
        (
            "method: grid\nparameters: {optim: {parameters: {lr: {value: 3}}, value: 1}}",
            "'optim' has parameters of",
        ),
        ("method: grid\nrun_cap: many\nparameters: {seed: {value: 0}}", "run_cap to be a number of cells.*many"),
        (
            "method: grid\nparameters: {seed: {distribution: uniform, min: 0, max: 1}}",
            "need method random",
        ),
    ],
)
def test_a_file_that_does_not_run_locally_gets_one_clear_line(folder, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        sweep(text)
    assert str(caught.value).startswith("mine.yaml: ")
    assert "\n" not in str(caught.value)


def test_two_cells_of_one_trial_are_both_named():
    words = ("task=lds", "model=stu")
    with pytest.raises(ConfigError, match=r"task=lds model=stu and task=lds model=stu train\.threads=2; they"):
        plan(Sweep("s", (words, (*words, "train.threads=2"))))
    with pytest.raises(ConfigError, match="task=lds model=stu seed=1 and the same words"):
        plan(Sweep("s", (words, words)), ["seed=1"])


def test_the_plan_counts_steps_and_devices(cli):
    sweep("method: grid\nparameters: {task: {value: lds}, model: {values: [stu, lru]}, seed: {values: [0, 1, 2]}}")
    words = ("train.max_steps=500", "train.global_batch_size=4", "train.devices=2")
    lines = cli("sweep", "plan", "mine.yaml", *words, "--shard", "1/2").output.splitlines()
    assert lines[0].split() == ["task", "model", "cells", "rates", "seeds", "devices", "per", "trial", "steps"]
    assert lines[1].split() == ["lds", "stu", "2", "1", "2", "2", "1,000"]
    assert lines[2].split() == ["lds", "lru", "1", "1", "1", "2", "500"]
    assert lines[3:] == [
        "3 cells, all different, in runs/mine",
        "1,500 steps, 6,000 examples",
        f"next: lra-bench sweep run mine.yaml {' '.join(words)} --shard 1/2",
    ]


def test_the_plan_as_json_is_enough_to_run_each_cell(cli):
    sweep("method: grid\nparameters: {task: {value: lds}, model: {value: stu}, seed: {values: [0, 1]}}")
    listed = json.loads(cli("sweep", "plan", "mine.yaml", "optim.lr=0.5", "--json").output)
    assert [cell["words"][-2:] for cell in listed] == [["seed=0", "optim.lr=0.5"], ["seed=1", "optim.lr=0.5"]]
    for cell in listed:
        config = compose(cell["words"]).config
        assert cell["id"] == plain_id(config, 1)
        assert cell["folder"] == f"runs/mine/{cell['id']}"


def test_planning_loads_no_trainer_and_no_compiler():
    code = "from lra_bench.cli.main import main; main(['sweep', 'status', 'quickstart'], standalone_mode=False)"
    assert loaded_by(code, {"lightning", "sympy", "matplotlib", "wandb"}) == set()
