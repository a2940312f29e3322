"""The page and the table of models are those of the code as it stands; `make docs` writes them."""

from pathlib import Path

import pytest

from lra_bench import cards
from lra_bench.core.registry import MODELS

ROOT = Path(__file__).parent.parent


def test_the_page_is_up_to_date():
    assert (ROOT / "docs/models.md").read_text() == cards.page()


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
    assert "--long is for models" in cli("list", "tasks", "--long", expect=2).output
