"""Which tasks belong together, and which settings make a task the one that everybody means by its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Suite(StrEnum):
    """What a leaderboard is about; the value is its title."""

    LRA = "Long Range Arena"
    LRA_OTHER = "LRA tasks with other settings"
    LDS = "Linear dynamical systems"
    OTHER = "Other tasks"


BINARY = ("text", "retrieval", "pathfinder", "pathx")
"""Tasks of two balanced classes, so that a model that learns nothing is right half of the time."""


@dataclass(frozen=True)
class Convention:
    """A way to average over LRA's tasks.

    Attributes:
        name: short.
        header: its name in full, in a column head.
        tasks: all that are averaged.
        failed: accuracy, as a share, that a binary task counts as which the model failed; None for what was measured.
    """

    name: str
    header: str
    tasks: tuple[str, ...]
    failed: float | None


FIVE = Convention(
    "five", "Average of five (without Path-X)", ("listops", "text", "retrieval", "image", "pathfinder"), None
)
"""The LRA paper's own (arXiv 2011.04006, table 1)."""

SIX = Convention("six", "Average of six (a failed binary task as 50)", (*FIVE.tasks, "pathx"), 0.5)
"""That of most papers since S4."""

CONVENTIONS = (FIVE, SIX)

LRA = (*SIX.tasks, "path256")
"""The columns of LRA, of which path256 is in no average."""

TITLES = {
    "listops": "ListOps",
    "text": "Text",
    "retrieval": "Retrieval",
    "image": "Image",
    "pathfinder": "Pathfinder",
    "pathx": "Path-X",
    "path256": "Path-256",
}
"""Names of LRA's tasks as papers print them."""

LDS_PREFIX = "lds"

ACCURACY = "accuracy"
"""The metric of every LRA task."""

_PIXELS: Mapping[str, str | int | bool] = {"size": "full", "inputs": "float", "center": True, "split": "s4"}

STANDARD: Mapping[str, Mapping[str, str | int | bool]] = {
    "listops": {
        "size": "full",
        "max_depth": 10,
        "max_args": 10,
        "min_length": 500,
        "max_length": 2000,
        "seq_len": 2048,
    },
    "text": {"level": "char", "seq_len": 4096, "min_freq": 15, "max_vocab": 135},
    "retrieval": {"level": "char", "literal": "keep", "seq_len": 4000, "max_vocab": 98},
    "image": {"inputs": "float", "side": 32},
    "pathfinder": _PIXELS,
    "pathx": _PIXELS,
    "path256": _PIXELS,
}
"""Settings of the standard LRA tasks, beside their names and the origin of their data. Papers' numbers are of these."""


def suite(task: str) -> Suite:
    """Where the task of this name belongs if its settings are the standard ones."""
    if task in LRA:
        return Suite.LRA
    return Suite.LDS if task.startswith(LDS_PREFIX) else Suite.OTHER


def title(task: str) -> str:
    """The task's name in a column head."""
    return TITLES.get(task, task)
