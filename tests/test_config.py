import dataclasses
from pathlib import Path

import pytest

from lra_bench.config.compose import compose, load_frozen, to_yaml
from lra_bench.config.files import SHIPPED, shipped_configs
from lra_bench.config.identity import trial_id
from lra_bench.core.errors import ConfigError
from lra_bench.core.registry import MODELS, TASKS

BASE = ["task=lds", "model=stu"]


@pytest.mark.parametrize("task", sorted(TASKS.entries()))
@pytest.mark.parametrize("model", sorted(MODELS.entries()))
def test_every_model_composes_with_every_task(task, model):
    config = compose([f"task={task}", f"model={model}"]).config
    assert (config.task.name, config.model.name) == (task, model)


@pytest.mark.parametrize("kind", ["task", "model", "recipe"])
def test_every_config_file_begins_with_a_description(kind):
    for name, description in shipped_configs(kind).items():
        assert 10 < len(description) <= 100, name


def test_every_registered_name_has_a_file():
    assert set(shipped_configs("model")) == set(MODELS.entries())
    assert set(shipped_configs("task")) == set(TASKS.entries())


def test_later_layers_win(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("task: lds\nmodel:\n  name: stu\n  num_filters: 7\noptim:\n  lr: 0.5\n  beta1: 0.8\n")
    composed = compose(["optim.lr=0.25"], file)
    assert composed.config.model.num_filters == 7
    assert composed.config.optim.lr == 0.25
    assert composed.sources["optim.lr"] == "command line"
    assert composed.sources["optim.beta1"] == str(file)
    assert composed.sources["optim.name"] == "configs/task/lds.yaml"
    assert composed.sources["optim.schedule"] == "configs/base.yaml"
    assert composed.sources["optim.beta2"] == "default"


def test_a_preset_extends_another():
    config = compose(["task=lds_noisy", "model=stu"]).config
    assert config.backbone.depth == 1
    assert config.task.process_noise > 0


def test_seeds_draw_systems_of_their_own_unless_told_otherwise():
    assert compose([*BASE, "seed=3"]).config.data_seed == 3
    assert compose([*BASE, "seed=3", "data_seed=0"]).config.data_seed == 0


def test_a_frozen_config_comes_back_the_same(tmp_path):
    config = compose([*BASE, "optim.lr=1e-5", "train.time_limit=3.5", "backbone.depth=2"]).config
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(config))
    assert load_frozen(path) == config


def test_the_config_cannot_be_changed():
    config = compose(BASE).config
    for node, key in ((config, "seed"), (config.optim, "lr"), (config.model, "num_filters")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(node, key, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optim.lrr=1"], "optim.lrr.*Did you mean: 'lr'"),
        (["optimm.lr=1"], "Did you mean: 'optim'"),
        (["model.num_filterz=3"], "Did you mean: 'num_filters'"),
        (["task.seq_lenn=3"], "Did you mean: 'seq_len'"),
        (["optim.lr=abc"], "optim.lr: .*abc"),
        (["optim.lr=-1"], "optim.lr must be positive, got -1"),
        (["optim.lr=nan"], "optim.lr must be positive"),
        (["task.seq_len=-1"], "task.seq_len must be at least 1, got -1"),
        (["task.seq_len=2.5"], "task.seq_len"),
        (["task=copying", "task.delays=[a]"], "task.delays: .*elements of the wrong type"),
        (["task.spectrum=rael"], "task.spectrum.*real_marginal"),
        (["task.spectrum=complex_disc"], "task.symmetric must be false"),
        (["task.spectrum=complex_disc", "task.symmetric=false", "task.d_state=3"], "d_state must be even"),
        (["model.num_filters=0"], "model.num_filters"),
        (["train.precision=32"], "train.precision"),
        (["backbone.dropout=1"], "backbone.dropout"),
        (["study=a/b"], "study must be a plain folder name"),
        (["seed=-1"], "seed must be zero or more"),
        (["model=stuu"], "Did you mean 'stu'"),
        (["task=ldss"], "Did you mean 'lds'"),
        (["recipe=lds/none"], "no recipe 'lds/none'"),
        (["recipe=lds/stu", "model=lru"], "does not fit the recipe"),
        (["lr"], "not of the form key=value"),
        (["--lr=3"], "not of the form key=value"),
        (["optim={a"], "command line"),
    ],
)
def test_a_mistake_gets_one_clear_line(words, message):
    with pytest.raises(ConfigError, match=message) as caught:
        compose([*BASE, *words])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        ("a: [1, 2", "cannot read"),
        ("- 1\n- 2\n", "must hold `key: value` pairs"),
        ("optim:\n  lrr: 1\n", "Did you mean: 'lr'"),
        ("seed: ${nowhere}\n", "nowhere"),
    ],
)
def test_a_bad_config_file_is_named(tmp_path, content, message):
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        compose(BASE, file)


def test_without_a_task_or_model_the_command_to_list_them_is_named():
    with pytest.raises(ConfigError, match="lra-bench list tasks"):
        compose(["model=stu"])
    with pytest.raises(ConfigError, match="lra-bench list models"):
        compose(["task=lds"])


def test_the_id_depends_on_results_alone():
    reference = trial_id(compose(BASE).config, 1)
    for words in (
        ["train.threads=2"],
        ["study=other"],
        ["out_dir=x"],
        ["tracking.wandb=offline"],
        ["train.time_limit=5"],
    ):
        assert trial_id(compose([*BASE, *words]).config, 1) == reference
    for words in (
        ["optim.lr=0.5"],
        ["seed=1"],
        ["data_seed=9"],
        ["model.num_filters=3"],
        ["task.delay=1"],
        ["train.max_steps=7"],
    ):
        assert trial_id(compose([*BASE, *words]).config, 1) != reference
    assert trial_id(compose(BASE).config, 2) != reference


def test_shipped_configs_are_in_the_package():
    assert Path(SHIPPED, "base.yaml").is_file()
