"""A run of W&B as it is found: in a file that the client wrote, or on the service."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lra_bench.core.record import CurvePoint

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How the service writes numbers that JSON cannot hold."""

MOST_POINTS = 200
"""Points that a curve keeps."""

Row = dict[str, Any]
"""What was logged at one step, by name; `_step` is W&B's step."""


@dataclass(frozen=True)
class LoggedRun:
    """One run.

    Attributes:
        name: for people: where it was found.
        entity: user or team; None where a file does not say.
        project: of W&B.
        run_id: of W&B.
        state: as the service has it, such as `finished`, `failed`, `crashed` or `running`; None for a file that does
            not say how the run ended.
        damage: why not all of a file could be read.
        job_type: of W&B.
        config: top-level entries.
        summary: top-level entries.
        rows: reads the history, as much as there is.
        started: seconds since 1970; orders the files of one run.
        url: on the service.
        commit: of the code that ran.
        python: version.
        device: name of the GPU.
    """

    name: str
    entity: str | None
    project: str
    run_id: str
    state: str | None
    damage: str | None
    job_type: str | None
    config: dict[str, Any]
    summary: dict[str, Any]
    rows: Callable[[], list[Row]]
    started: float = 0.0
    url: str | None = None
    commit: str | None = None
    python: str | None = None
    device: str | None = None

    @property
    def path(self) -> str:
        """Entity, project and id."""
        return "/".join(part for part in (self.entity, self.project, self.run_id) if part)

    @property
    def seconds(self) -> float | None:
        """How long it ran."""
        return number(self.summary.get("_runtime"))


@dataclass(frozen=True)
class FoundRun:
    """All that there is of one run.

    Attributes:
        name: for people: where it was found.
        runs: it, as each of its files has it, in order of time.
        problems: with files that hold no run, in words that follow the run's name.
    """

    name: str
    runs: Sequence[LoggedRun]
    problems: Sequence[str] = ()


class UnusableError(Exception):
    """A run gives no record; says why, in words that follow the run's name."""


class NotThereError(Exception):
    """A run does not hold what it is asked for."""


def look_up(values: Mapping[str, Any], key: str) -> Any:
    """The value at a key, which may be dotted where values are nested; a key that is there as it stands comes first.

    Raises:
        NotThereError: there is none.
    """
    if key in values:
        return values[key]
    for place in [place for place, letter in enumerate(key) if letter == "."]:
        inner = values.get(key[:place])
        if isinstance(inner, Mapping):
            try:
                return look_up(inner, key[place + 1 :])
            except NotThereError:
                continue
    raise NotThereError(key)


def number(value: Any) -> float | None:
    """A logged value as a number, which may be NaN or infinite; None if it is none."""
    if isinstance(value, str):
        return NON_FINITE.get(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def thinned(points: list[CurvePoint]) -> list[CurvePoint]:
    """At most `MOST_POINTS` of them, evenly spread, the last one included."""
    stride = -(-len(points) // MOST_POINTS) or 1
    return points[::-1][::stride][::-1]
