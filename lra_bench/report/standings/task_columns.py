"""From boards to the columns of leaderboards: which boards stand side by side, and under which name."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from lra_bench.report.board import UNKNOWN_METRIC, Board, Metric
from lra_bench.report.labels import labels
from lra_bench.report.standings import suites
from lra_bench.report.standings.suites import Suite
from lra_bench.report.trial import Tier

ORIGIN = "task.origin"
NAMING = ("task.name", ORIGIN)
"""Settings that say which task it is and where its data come from, not what the task is like."""

ORIGINS = ("official", "generated", None)

CONTENT_SHOWN = 12
"""Characters of a content hash in a column head."""


@dataclass(frozen=True)
class Place:
    """What all columns of a leaderboard have in common.

    Attributes:
        suite: what it is about.
        track: uniform or recipe, or both where they were mixed.
        protocol: clean or legacy, or both where they were mixed.
        origin: of the data; None where it is not recorded.
    """

    suite: Suite
    track: str
    protocol: str
    origin: str | None

    @property
    def order(self) -> tuple[int, str, str, int]:
        """To sort by."""
        return list(Suite).index(self.suite), self.track, self.protocol, ORIGINS.index(self.origin)


@dataclass(frozen=True)
class TaskColumn:
    """One task of a leaderboard: boards that are alike in all but who measured them.

    Attributes:
        task: name of the task.
        header: its name, and the settings that set it apart from columns beside it.
        boards: by tier; none where nobody ran the task, which stands there for the published numbers.
    """

    task: str
    header: str
    boards: Mapping[Tier, Board]

    @property
    def metric(self) -> Metric:
        """Of all its boards."""
        return next((board.metric for board in self.boards.values()), UNKNOWN_METRIC)

    @property
    def version(self) -> int | None:
        """Of the task; None where no trial got as far as building it."""
        return next((board.version for board in self.boards.values()), None)

    @cached_property
    def floors(self) -> dict[str, float]:
        """What trivial and optimal predictors reach; where boards differ, those measured here count."""
        found: dict[str, float] = {}
        for tier in sorted(self.boards, reverse=True):
            found.update(self.boards[tier].baselines)
        return found


def task_columns(boards: Sequence[Board], mix: bool) -> list[tuple[Place, list[TaskColumn]]]:
    """Every board in exactly one column, columns by the leaderboard they stand in.

    A board of which no trial got as far as building its task has no origin. It joins the leaderboard that is otherwise
    the same, and has one of its own if there are several or none.

    Args:
        boards: in any order.
        mix: tracks and protocols share leaderboards.
    """
    places: dict[Place, list[Board]] = defaultdict(list)
    for board in boards:
        places[_place(board, mix)].append(board)
    for place in [place for place in places if all(board.version is None for board in places[place])]:
        others = [other for other in places if other != place and replace(other, origin=place.origin) == place]
        if len(others) == 1 and place.origin is None:
            places[others[0]] += places.pop(place)
    found: list[tuple[Place, list[TaskColumn]]] = []
    for place, group in places.items():
        found += _leaderboards(_named(place, group) if mix else place, group)
    return sorted(found, key=lambda each: each[0].order)


def _place(board: Board, mix: bool) -> Place:
    rules = ("", "") if mix else (board.track, board.protocol)
    return Place(suites.suite(board.task), *rules, _origin(board))


def _origin(board: Board) -> str | None:
    """Of the data; where no trial built the task, what its settings say."""
    origin = json.loads(board.shared.get(ORIGIN, "null")) if board.version is None else board.origin
    return origin if origin in ORIGINS else None


def _named(place: Place, boards: Iterable[Board]) -> Place:
    """The place of mixed boards, with the names of their tracks and protocols."""
    tracks = {name for board in boards for name in board.track.split(" and ")}
    protocols = {name for board in boards for name in board.protocol.split(" and ")}
    return replace(place, track=" and ".join(sorted(tracks)), protocol=" and ".join(sorted(protocols)))


def _leaderboards(place: Place, boards: Sequence[Board]) -> list[tuple[Place, list[TaskColumn]]]:
    """The columns of these boards; those of LRA tasks that are not the standard ones have a leaderboard apart."""
    columns = _side_by_side(boards)
    if place.suite is not Suite.LRA:
        return [(place, _columns(columns, []))]
    standard = _standard(columns)
    others = [group for group in columns if group not in standard]
    apart = replace(place, suite=Suite.LRA_OTHER)
    lra = [TaskColumn(group[0].task, suites.title(group[0].task), _by_tier(group)) for group in standard]
    found = [(place, lra), (apart, _columns(others, standard))]
    return [(each, found_columns) for each, found_columns in found if found_columns]


def _side_by_side(boards: Sequence[Board]) -> list[list[Board]]:
    """Boards that share a column, in order of the columns.

    A board of which no trial built its task joins the only column of that task and these settings, if there is one and
    nothing of its tier in it.
    """
    groups: dict[tuple[Any, ...], list[Board]] = defaultdict(list)
    for board in boards:
        groups[_contract(board)].append(board)
    for key in [key for key, group in groups.items() if group[0].version is None]:
        task, settings, *_ = key
        known = [other for other in groups if other[:2] == (task, settings) and other != key]
        if len(known) == 1 and not set(_by_tier(groups[known[0]])) & set(_by_tier(groups[key])):
            groups[known[0]] += groups.pop(key)
    return [groups[key] for key in sorted(groups, key=_natural)]


def _standard(columns: Sequence[Sequence[Board]]) -> list[Sequence[Board]]:
    """One column at most for each LRA task: of several versions or data, those measured here, the latest, the most."""
    found = []
    for task in suites.LRA:
        fitting = [group for group in columns if group[0].task == task and _is_standard(group[0])]
        if fitting:
            found.append(max(fitting, key=_standing_of))
    return found


def _standing_of(group: Sequence[Board]) -> tuple[bool, int, int, str]:
    board = group[0]
    trials = sum(len(each.trials) for each in group if each.tier == "measured")
    return trials > 0, -1 if board.version is None else board.version, trials, _content(board)


def _is_standard(board: Board) -> bool:
    ours = {key: value for key, value in _settings(board).items() if key not in NAMING}
    return ours == _usual(board.task) and (board.metric.name == suites.ACCURACY or board.metric is UNKNOWN_METRIC)


def _usual(task: str) -> dict[str, str]:
    """The standard settings of an LRA task, as boards write them."""
    return {f"task.{key}": json.dumps(value) for key, value in suites.STANDARD[task].items()}


def _columns(groups: Sequence[Sequence[Board]], standard: Sequence[Sequence[Board]]) -> list[TaskColumn]:
    """Columns whose heads say how they differ from each other and from the standard task, if there is one."""
    boards = [group[0] for group in groups]
    references = {group[0].task: _described(group[0]) for group in standard}
    for board in boards:
        if board.task in suites.STANDARD and board.task not in references:
            kept = {key: value for key, value in _described(board).items() if key in NAMING or "." not in key}
            references[board.task] = {**kept, **_usual(board.task)}
    names = labels([*((board.task, _described(board)) for board in boards), *references.items()])
    headers = [
        name if board.metric is UNKNOWN_METRIC else f"{name} ({board.metric.name})"
        for name, board in zip(names, boards, strict=False)
    ]
    return [TaskColumn(group[0].task, name, _by_tier(group)) for name, group in zip(headers, groups, strict=True)]


def _by_tier(group: Sequence[Board]) -> dict[Tier, Board]:
    return {board.tier: board for board in group}


def _settings(board: Board) -> dict[str, str]:
    return {key: value for key, value in board.shared.items() if key.startswith("task.")}


def _described(board: Board) -> dict[str, str]:
    """Task settings, version and content: what two columns of one task may differ in."""
    described = {**_settings(board), "version": json.dumps(board.version)}
    content = _content(board)
    return {**described, "content": json.dumps(content[:CONTENT_SHOWN])} if content else described


def _contract(board: Board) -> tuple[Any, ...]:
    """What boards of one column have in common; a leaderboard has one board at most of each contract and tier."""
    metric = board.metric
    rules = (metric.name, metric.higher_is_better, repr(metric.chance))
    version = -1 if board.version is None else board.version
    return board.task, tuple(_settings(board).items()), version, _content(board), rules


def _content(board: Board) -> str:
    """Hash of the arrays of official data."""
    task = next((trial.record.task for trial in board.trials if trial.record.task is not None), None)
    return (task.content or "") if task else ""


def _natural(contract: tuple[Any, ...]) -> tuple[Any, ...]:
    """The contract to sort by, numbers as numbers."""
    task, settings, *others = contract
    return task, [(key, *_number_first(value)) for key, value in settings], *others


def _number_first(value: str) -> tuple[bool, float, str]:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    return (False, number, "") if math.isfinite(number) else (True, 0.0, value)
