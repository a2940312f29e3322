"""What a model is, how large, and whose numbers it equals: read off its class, never written by hand.

`python -m lra_bench.cards FOLDER` writes the page, that of the tasks, and the small table that `lra-bench list models`
reads.
"""

import inspect
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from lra_bench import task_cards
from lra_bench.config.compose import compose
from lra_bench.config.files import shipped_configs
from lra_bench.core.files import write_atomically
from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.registry import MODELS
from lra_bench.core.specs import MixerContext

WIDTH = 64
LENGTH = 1024
"""Channels and steps at which models are sized."""


@dataclass(frozen=True)
class Card:
    """A model's vital facts.

    Attributes:
        parameters: of one mixer with its preset's settings, at `WIDTH` channels.
        state_size: real numbers it carries per sequence after `LENGTH` steps.
        step: whether it can run one step at a time.
    """

    parameters: int
    state_size: int
    step: bool


def card_of(name: str) -> Card:
    """Build one mixer of a model and measure it."""
    cls = MODELS.load(name, SequenceMixer)
    mixer = cls(compose(["task=lds", f"model={name}"]).config.model, MixerContext(WIDTH, WIDTH, LENGTH))
    return Card(
        parameters=sum(p.numel() for p in mixer.parameters()),
        state_size=mixer.state_size(LENGTH),
        step=cls.has_step(),
    )


def description(name: str) -> str:
    """The docstring of a model's class: equation, paper, upstream file, differences."""
    return inspect.getdoc(MODELS.load(name, SequenceMixer)) or "No description."


def page() -> str:
    """All shipped models as Markdown."""
    described = shipped_configs("model")
    parts = [f"# Models\n\nSizes are those of one mixer at {WIDTH} channels and {LENGTH} steps."]
    for name in sorted(described):
        card = card_of(name)
        parts.append(
            f"## {name}\n\n{described[name]}\n\n"
            f"- parameters: {card.parameters:,}\n- state: {card.state_size:,} numbers\n"
            f"- step mode: {'yes' if card.step else 'no'}\n\n```text\n{description(name)}\n```"
        )
    return "\n\n".join(parts) + "\n"


def table() -> str:
    """The cards of all shipped models as JSON."""
    return json.dumps({name: asdict(card_of(name)) for name in sorted(shipped_configs("model"))}, indent=1) + "\n"


def main(root: Path) -> None:
    """Write all into a checkout."""
    write_atomically(root / "docs" / "models.md", page())
    write_atomically(root / "docs" / "tasks.md", task_cards.page())
    write_atomically(root / "configs" / "model_cards.json", table())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
