"""The sweeps that come with the package: each composes, says what it is for, runs, and is on the page."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lra_bench import sweep_cards
from lra_bench.building import build_net, build_task
from lra_bench.config.compose import compose_task
from lra_bench.config.files import first_comment
from lra_bench.core.record import Status
from lra_bench.data.prepared import Order, PreparedTask
from lra_bench.trials.plan import freeze, plan
from lra_bench.trials.sweepfile import Sweep, read_sweep, shipped_sweeps
from lra_bench.trials.worker import run_trial
from tests.conftest import TINY
from tests.official_sets import pictures, reviews

ROOT = Path(__file__).parent.parent
CELLS = {
    "lds_length": 6 * 6 * 4 * 3,
    "lds_lr_sensitivity": 5 * 11 * 5,
    "lra_lr_sensitivity": 9 * 8 * 3,
    "lra_lru_recipes": 6 * 5 * 3,
    "lra_recipes": 30 * 5,
    "lra_small_lru": 4 * 3,
    "lra_small_s4d": 4 * 3,
    "lra_small_stu": 2 * 4 * 3,
    "lra_small_stu_released": 4 * 3,
    "lra_small_stu_t": 4 * 3,
    "lra_small_text_lru": 4 * 3,
    "lra_small_text_s4d": 4 * 3,
    "lra_small_text_stu": 2 * 4 * 3,
    "lra_small_text_stu_released": 4 * 3,
    "lra_small_text_stu_t": 4 * 3,
    "lra_small_text_transformer": 4 * 3,
    "lra_small_transformer": 4 * 3,
    "paper_curves": 2 * 2 * 4 * 5,
    "paper_curves_tuned": 2 * 4 * 5,
    "paper_filters": 30 * 3 * 5,
    "paper_filters_exact": 30 * 2 * 5,
    "paper_lru_search": 480 * 3,
    "paper_signs": 2 * 2 * 11 * 5,
    "paper_stu_search": 2 * 2 * 7 * 3,
    "paper_tuned_lru": 11 * 5,
    "paper_tuned_stu": 11 * 5,
    "paper_rates": 3 * 2 * 11 * 5,
    "paper_rates_sgd": 3 * 2 * 13 * 5,
    "paper_systems_exact": 5 * 5,
    "paper_systems": 5 * 8 * 11 * 3,
    "quickstart": 3 * 9 * 3,
    "stu_ablations": 2 * 3 * 3 * 2 * 4 * 3,
    "stu_output_taps": 5 * 3 * 4 * 3,
}
FEWER_RATES = {
    "lra_recipes": 1,
    "paper_filters": 3,
    "paper_filters_exact": 1,
    "paper_systems_exact": 1,
}
"""Rates of sweeps with fewer than 4: recipes name their own, least squares has none, and some must be short."""
each = pytest.mark.parametrize("name", shipped_sweeps())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A small set of pictures, for `image` and `image_rgb`, and one of reviews, for `text`."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_BENCH_DATA_DIR", str(folder / "store"))
        for part in ("pictures", "reviews"):
            (folder / part).mkdir()
        cifar = pictures(folder / "pictures")
        for name, source in (("image", cifar), ("image_rgb", cifar), ("text", reviews(folder / "reviews"))):
            task = build_task(compose_task(name))
            assert isinstance(task, PreparedTask)
            task.prepare(Order(str(source)))
        yield


@each
def test_its_cells_are_as_many_as_its_axes_say(name):
    assert len(plan(read_sweep(name))) == CELLS[name]


@each
def test_it_is_a_sweep_for_wandb_too(name):
    content = OmegaConf.to_container(OmegaConf.load(shipped_sweeps()[name]), resolve=False)
    assert content["command"] == ["lra-bench", "train", "${args_no_hyphens}"]
    assert set(content) <= {"method", "metric", "parameters", "command", "run_cap"}
    higher = build_task(plan(read_sweep(name))[0].config).spec.higher_is_better
    assert content["metric"]["goal"] == ("maximize" if higher else "minimize")


@each
def test_it_says_what_it_is_for_what_it_costs_and_how_it_is_run(name):
    path = shipped_sweeps()[name]
    assert first_comment(path)[:1].strip()
    assert " ".join(sweep_cards.fact(path, "question")).endswith(("?", "."))
    assert "CPU" in " ".join(sweep_cards.fact(path, "cost"))
    for line in sweep_cards.fact(path, "run"):
        program, command, action, sweep, *overrides = shlex.split(line)
        assert (program, command, action, sweep) == ("lra-bench", "sweep", "run", name)
        assert len(plan(read_sweep(name), overrides)) == CELLS[name]


@each
def test_each_model_has_at_least_three_seeds_and_a_choice_of_rates(name):
    cells = plan(read_sweep(name))
    for model in {cell.config.model.name for cell in cells}:
        own = [cell.config for cell in cells if cell.config.model.name == model]
        assert len({config.seed for config in own}) >= 3
        assert len({config.optim.lr for config in own}) >= FEWER_RATES.get(name, 4)


def test_the_uniform_sweep_has_one_network_for_all_models_on_every_task():
    for task in ("image", "listops", "text", "retrieval", "pathfinder", "pathx"):
        configs = [cell.config for cell in plan(read_sweep("lra_lr_sensitivity"), [f"task={task}"])]
        assert {config.track for config in configs} == {"uniform"}
        assert len({repr((c.backbone, replace(c.optim, lr=1.0), c.train, c.task)) for c in configs}) == 1


def test_recipes_that_name_their_rate_and_those_of_lru_are_all_there_are():
    from lra_bench.config.files import shipped_configs

    swept = {cell.config.recipe for name in ("lra_recipes", "lra_lru_recipes") for cell in plan(read_sweep(name))}
    assert swept == {recipe for recipe in shipped_configs("recipe") if not recipe.startswith("lds/")}


@pytest.mark.parametrize("task", ["image", "listops", "text"])
def test_small_networks_are_of_one_size(task):
    sizes = {}
    for name in shipped_sweeps():
        if name.startswith("lra_small_"):
            for line in sweep_cards.fact(shipped_sweeps()[name], "run"):
                config = plan(read_sweep(name), shlex.split(line)[4:])[0].config
                if config.task.name == task:
                    net = build_net(config, build_task(config).spec)
                    sizes[name] = sum(parameter.numel() for parameter in net.parameters())
    assert len(sizes) == 6
    assert max(sizes.values()) <= 1.1 * min(sizes.values()), sizes


SMALL = (
    *("backbone.d_model=8", "backbone.depth=1", "optim.warmup_steps=1"),
    *("train.global_batch_size=2", "train.max_steps=2", "train.val_every=2"),
)
"""Overrides that make a trial on 1,000 steps take a moment."""


@each
@pytest.mark.usefixtures("prepared", "folder")
def test_one_cell_runs(name):
    sweep = read_sweep(name)
    words = SMALL if name.startswith("lra") else TINY
    (cell,) = plan(Sweep(name, sweep.cells[:1]), words)
    freeze(cell)
    record = run_trial(cell.folder)
    assert record.status in (Status.OK, Status.CHANCE), record.message


def test_the_page_is_up_to_date():
    """`python -m lra_bench.sweep_cards .` writes it."""
    text = (ROOT / "docs" / "sweeps.md").read_text()
    assert text == sweep_cards.page()
    assert all(f"| [{name}](#{name}) | {count} |" in text for name, count in CELLS.items())


def test_axes_are_the_parameters_that_differ():
    found = sweep_cards.axes(read_sweep("quickstart"))
    assert found == {"model": 3, "optim.lr": 9, "seed": 3}
