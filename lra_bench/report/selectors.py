"""Choosing records in words: a folder, a model, a recipe, a commit, any setting of the config, or several of these."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lra_bench.core.errors import LraBenchError
from lra_bench.report import formatting
from lra_bench.report.aggregate import aggregate
from lra_bench.report.content import Problem
from lra_bench.report.files.records import find_trials
from lra_bench.report.trial import Trial

BETWEEN_PARTS = re.compile(r",(?![^\[]*\])")
"""A comma that is not part of a list."""

KEY = re.compile(r"[A-Za-z_][\w.]*")
NAMED = 8
"""How many of the values that there are an error names."""

NOT_SET = "unset"


@dataclass(frozen=True)
class Side:
    """Some trials to compare with others.

    Attributes:
        name: as people call it.
        trials: at least one.
    """

    name: str
    trials: Sequence[Trial]


@dataclass(frozen=True)
class Selector:
    """What chooses some records: parts with commas between, all of which a record has to meet.

    Attributes:
        text: as it was given.
        paths: where to look; empty where it does not say.
        parts: what a record has to meet: `key=value`, or the name of a model or row.
    """

    text: str
    paths: tuple[Path, ...]
    parts: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Selector":
        """Take apart what is between commas. What exists on disk is a path.

        Raises:
            LraBenchError: a part is empty, or looks like a path and does not exist.
        """
        paths, parts = [], []
        for part in BETWEEN_PARTS.split(text):
            if not part.strip():
                raise LraBenchError(f"{text!r} has an empty part: give a folder, a model, or key=value")
            if Path(part).exists():
                paths.append(Path(part))
            elif "/" in part and not {"=", ":"} & set(part):  # neither a setting nor a model by its file
                raise LraBenchError(f"there is no {part}")
            else:
                parts.append(part.strip())
        return cls(text, tuple(paths), tuple(parts))

    def select(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials that meet every part.

        Raises:
            LraBenchError: none does; says what there is.
        """
        chosen = list(trials)
        for part in self.parts:
            chosen = self._meeting(part, chosen)
        return chosen

    def _meeting(self, part: str, trials: list[Trial]) -> list[Trial]:
        key, equals, wanted = part.partition("=")
        if not equals or not KEY.fullmatch(key):
            return self._named(part, trials)
        if key == "commit":
            chosen = [trial for trial in trials if (trial.record.environment.commit or "").startswith(wanted)]
        else:
            chosen = [trial for trial in trials if _equal(_setting(trial, key), wanted)]
        if not chosen:
            values = _listed(_shown(_setting(trial, key)) for trial in trials)
            raise LraBenchError(f"{self.text}: no record has {part}; {key} is {values}")
        return chosen

    def _named(self, name: str, trials: list[Trial]) -> list[Trial]:
        """Those of a model, or else those of the rows with that label."""
        chosen = [trial for trial in trials if _setting(trial, "model") == name]
        if chosen:
            return chosen
        by_id = {(trial.submission, trial.record.trial_id): trial for trial in trials}  # outcomes may differ
        rows = [row for board in aggregate(by_id.values()) for row in board.rows]
        chosen = [trial for row in rows if row.label == name for trial in row.trials]
        ids = {(trial.submission, trial.record.trial_id) for trial in chosen}
        if not ids:
            names = _listed([*(row.label for row in rows), *(str(_setting(trial, "model")) for trial in trials)])
            raise LraBenchError(f"{self.text}: no folder, model or row is called {name}; there is {names}")
        return [trial for trial in trials if (trial.submission, trial.record.trial_id) in ids]


def read_sides(texts: Sequence[str], runs: Sequence[Path]) -> tuple[list[Side], list[Problem]]:
    """The trials that each text chooses (see `Selector`), and the files that could not be read.

    Args:
        texts: one for each side.
        runs: where to look where a text names no path.

    Raises:
        LraBenchError: see `Selector`; or a path does not exist or holds no record.
    """
    found: dict[tuple[Path, ...], tuple[list[Trial], list[Problem]]] = {}
    sides = []
    for selector in map(Selector.of, texts):
        paths = selector.paths or _existing(runs)
        if paths not in found:
            found[paths] = find_trials(paths)
        sides.append(Side(selector.text, selector.select(found[paths][0])))
    return sides, list(dict.fromkeys(problem for _, problems in found.values() for problem in problems))


def _existing(runs: Sequence[Path]) -> tuple[Path, ...]:
    for path in runs:
        if not path.exists():
            raise LraBenchError(f"there is no {path}: say where the records are with --runs DIR")
    return tuple(runs)


_ELSEWHERE: dict[str, Callable[[Trial], Any]] = {
    "commit": lambda trial: trial.record.environment.commit,
    "submission": lambda trial: trial.submission,
}


def _setting(trial: Trial, key: str) -> Any:
    """The value at a dotted key of the config, the name of a section such as the model, or what stands elsewhere."""
    if key in _ELSEWHERE:
        return _ELSEWHERE[key](trial)
    value: Any = trial.record.config
    for part in key.split("."):
        value = value.get(part, NOT_SET) if isinstance(value, dict) else NOT_SET
    return value.get("name", NOT_SET) if isinstance(value, dict) else value


def _shown(value: Any) -> str:
    return formatting.printable(formatting.plain(json.dumps(value)))


def _equal(value: Any, text: str) -> bool:
    """Whether a text is the value as shown or as JSON: 16, 1e-2 for 0.01, null, [2,5]."""
    try:
        return bool(json.loads(text) == value) or text == value
    except ValueError:
        return bool(text == value)


def _listed(names: Iterable[str]) -> str:
    different = sorted(set(names))
    more = [f"{len(different) - NAMED} more"] if len(different) > NAMED else []
    return formatting.printable(", ".join([*different[:NAMED], *more]))
