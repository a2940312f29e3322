"""The pages of models and tasks are those of the code as it stands; `make docs` writes them."""

import json
from pathlib import Path

import pytest

from lra_bench import cards, task_cards
from lra_bench.core.registry import MODELS, TASKS

ROOT = Path(__file__).parent.parent


def test_the_page_is_up_to_date():
    assert (ROOT / "docs/models.md").read_text() == cards.page()


def test_the_page_of_the_tasks_is_up_to_date():
    assert (ROOT / "docs/tasks.md").read_text() == task_cards.page()


@pytest.mark.parametrize("name", sorted(TASKS.entries()))
def test_every_task_says_what_it_is(name):
    facts = dict(task_cards.facts(name))
    assert {"input", "output", "splits", "metric", "baselines", "source", "licence"} == set(facts)
    assert len(task_cards.description(name).splitlines()) >= 2


def test_floors_are_those_of_tasks_there_are_and_beat_nothing_by_much():
    floors = json.loads((ROOT / "configs" / task_cards.FLOORS).read_text())
    assert {"listops", "text", "image", "pathfinder", "lds"} <= set(floors) <= set(TASKS.entries())
    assert floors["listops"]["baselines"]["majority"]["accuracy"] == pytest.approx(0.17, abs=0.02)
    assert 0.34 < floors["listops"]["baselines"]["first_token"]["accuracy"] < 0.39
    assert floors["text"]["baselines"]["majority"]["accuracy"] == 0.5
    assert {entry["origin"] for entry in floors.values()} == {"official", "generated"}


def test_measuring_keeps_what_is_known_of_tasks_without_data(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / task_cards.FLOORS).write_text('{"text": {"origin": "official", "baselines": {}}}')
    task_cards.main(tmp_path)
    found = json.loads((tmp_path / "configs" / task_cards.FLOORS).read_text())
    assert found["text"] == {"origin": "official", "baselines": {}}
    assert "zero_predictor" in found["lds"]["baselines"]


def test_the_table_is_up_to_date():
    assert (ROOT / "configs/model_cards.json").read_text() == cards.table()


@pytest.mark.parametrize("name", sorted(MODELS.entries()))
def test_every_model_says_what_it_is(name):
    text = cards.description(name)
    assert "Paper" in text
    assert " = " in text, "no equation"


def test_the_long_list_shows_every_card(cli):
    output = cli("list", "models", "--long").output
    for name in MODELS.entries():
        assert f"{name} (" in output
    output = cli("list", "tasks", "--long").output
    for name in TASKS.entries():
        assert f"{name} (" in output
    assert "--long is for models and tasks" in cli("list", "recipes", "--long", expect=2).output
