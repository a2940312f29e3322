"""Recipes are checked against the dataclasses even where their task, or their model, is not registered."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from lra_bench.config.compose import compose
from lra_bench.config.files import SHIPPED, read_yaml, shipped_configs
from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.registry import MODELS, TASKS
from lra_bench.core.settings import BackboneConfig, OptimConfig, TrainConfig

RECIPES = shipped_configs("recipe")
SECTIONS = {"model", "backbone", "optim", "train"}
STEPS = re.compile(r"  max_steps: (\d+)  # (\d+) epochs \* ceil\((\d+) / (\d+)\) = \2 \* (\d+)$", re.M)

each_recipe = pytest.mark.parametrize("recipe", sorted(RECIPES))


def is_registered(recipe: str) -> bool:
    task, _, model = recipe.partition("/")
    return task in TASKS.entries() and model in MODELS.entries()


@dataclass
class Settings:
    """What a recipe sets, without task and model."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def text_of(recipe: str) -> str:
    return Path(SHIPPED, "recipe", f"{recipe}.yaml").read_text(encoding="utf-8")


def values_of(recipe: str) -> Any:
    return read_yaml(Path(SHIPPED, "recipe", f"{recipe}.yaml"))


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def check_settings(recipe: str) -> None:
    """Merge the recipe onto the dataclasses, which check keys, types and ranges."""
    values = OmegaConf.to_container(values_of(recipe))
    model = values.pop("model", {})
    OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Settings), values))
    name = recipe.partition("/")[2]
    if name in MODELS.entries():
        schema = OmegaConf.structured(MODELS.load(name, SequenceMixer).Config)
        OmegaConf.to_object(OmegaConf.merge(schema, model))


@each_recipe
def test_names_its_source_and_status(recipe):
    assert re.fullmatch(r"\S.{8,}; status: (verified|inferred)", RECIPES[recipe])
    assert len(RECIPES[recipe]) <= 100


@each_recipe
def test_says_where_each_value_is_from(recipe):
    rows = [line for line in text_of(recipe).splitlines() if line and not line.startswith("#")]
    bare = [row for row in rows if not re.fullmatch(r"\w+:|  \w+: \S+  # \S.+", row)]
    assert not bare
    assert all(len(row) <= 120 for row in text_of(recipe).splitlines())


@each_recipe
def test_marks_what_is_inferred(recipe):
    inferred = [line for line in text_of(recipe).splitlines()[1:] if re.search(r"#.*\binferred:", line)]
    assert bool(inferred) == RECIPES[recipe].endswith("status: inferred")


@each_recipe
def test_fits_the_schema(recipe):
    assert set(values_of(recipe)) <= SECTIONS
    check_settings(recipe)


@pytest.mark.parametrize("recipe", sorted(filter(is_registered, RECIPES)))
def test_composes_where_task_and_model_are_registered(recipe):
    task, _, model = recipe.partition("/")
    composed = compose([f"recipe={recipe}"])
    config = composed.config.to_dict()
    assert (config["track"], config["task"]["name"], config["model"]["name"]) == ("recipe", task, model)
    for key, value in leaves(OmegaConf.to_container(values_of(recipe))).items():
        assert composed.sources[key] == f"configs/recipe/{recipe}.yaml"
        assert leaves(config)[key] == value


@each_recipe
def test_steps_follow_from_epochs(recipe):
    for steps, epochs, examples, batch, each in STEPS.findall(text_of(recipe)):
        assert int(batch) == values_of(recipe).train.global_batch_size
        assert int(each) == -(-int(examples) // int(batch))
        assert int(steps) == int(epochs) * int(each) == values_of(recipe).train.max_steps


@each_recipe
def test_a_schedule_fits_into_the_training(recipe):
    values = values_of(recipe)
    optim = values.get("optim", {})
    if optim.get("schedule") == "cosine":
        assert optim.warmup_steps < values.train.max_steps


@each_recipe
def test_a_ratio_of_rates_is_the_one_in_its_comment(recipe):
    rows = re.findall(r"lr_scale: (\S+)  # ([\d.]+)\b.* beside ([\d.]+), ", text_of(recipe))
    for ratio, slow, main in rows:
        assert float(ratio) == pytest.approx(float(slow) / float(main), rel=1e-5)
        assert float(main) == values_of(recipe).optim.lr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("optim:\n  lrr: 1\n", "lrr"),
        ("optim:\n  schedule: plateau\n", "plateau"),
        ("backbone:\n  dropout: 1.5\n", "backbone.dropout"),
        ("model:\n  num_filterz: 3\n", "num_filterz"),
        ("model:\n  num_filters: 0\n", "model.num_filters"),
    ],
)
def test_a_wrong_recipe_is_found(line, message, tmp_path, monkeypatch):
    (tmp_path / "recipe/nowhere").mkdir(parents=True)
    (tmp_path / "recipe/nowhere/stu.yaml").write_text(line)
    monkeypatch.setattr("tests.test_recipes.SHIPPED", tmp_path)
    with pytest.raises(Exception, match=message):
        check_settings("nowhere/stu")
