"""Bringing runs of W&B up to what local files say: what is complete is left alone, the rest is completed or made."""

import itertools
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import RunRecord
from lra_bench.tracking.content import Extent, HistoryFile, summary
from lra_bench.tracking.decision import decide
from lra_bench.tracking.runs import Feed, Place, agents_place, offline_folders, open_run, tracked_place, write_offline

if TYPE_CHECKING:
    from wandb import Api

ASKED = 100
"""Runs that one query asks for."""
UPLOADS = 8
"""Runs that are sent at a time; each waits for the service most of its time."""


@dataclass(frozen=True)
class Trial:
    """A trial that is over."""

    record: RunRecord
    folder: Path


@dataclass(frozen=True)
class Held:
    """What the service holds of a run: number of rows, and what the run's summary says of them and of the outcome."""

    rows: int
    extent: Extent
    record: str | None


def find_trials(paths: Sequence[Path]) -> tuple[list[Trial], int]:
    """The trials at or below `paths` that are over, each once, and the number of those that are not.

    Raises:
        LraBenchError: a path does not exist, a record cannot be read, or there is no trial.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise LraBenchError(f"there is no {path}")
        files = [file for file in path.rglob("config.yaml") if file.parent.name != "files"]  # W&B's own has that name
        folders.update((file.parent.resolve(), file.parent) for file in sorted([*files, *path.rglob("record.json")]))
    if not folders:
        raise LraBenchError(f"no trials in {', '.join(map(str, paths))}. To make some: lra-bench sweep run quickstart")
    files = [folder / "record.json" for folder in folders.values()]
    found = [Trial(RunRecord.read(file), file.parent) for file in files if file.exists()]
    over = {trial.record.trial_id: trial for trial in found[::-1] if trial.record.status.finished}
    unfinished = len(folders) - sum(trial.record.status.finished for trial in found)
    return list(over.values())[::-1], unfinished


def push_offline(trials: Iterable[Trial], on_done: Callable[[str], None]) -> None:
    """Write each trial's run as an offline folder of W&B beside its record, in place of an earlier one."""
    for trial in trials:
        write_offline(trial.record, trial.folder, trial.record.trial_id)
        on_done("written")


def push(trials: Sequence[Trial], project: str | None, entity: str | None, on_done: Callable[[str], None]) -> None:
    """Bring the runs of trials up to their records.

    Args:
        trials: that are over.
        project: of W&B; None is where a trial was logged, or else what its config says.
        entity: of W&B; None is where a trial was logged, or else the user's own.
        on_done: called for each trial, with "there", "completed", "made" or "made beside another" (execution of it).

    Raises:
        LraBenchError: W&B does not answer or refuses.
    """
    with service_errors():
        import wandb

        api = wandb.Api()
        places = [_place(api, trial, project, entity) for trial in trials]
        held = _held_at(api, places)
        with ThreadPoolExecutor(UPLOADS) as pool:
            for outcome in pool.map(lambda trial, place: _bring_up(api, trial, place, held.get(place)), trials, places):
                on_done(outcome)


def fill_agents_run(folder: Path) -> None:
    """Where a sweep's agent asks for a trial that is over already, fill the run that the sweep has made for it.

    Raises:
        LraBenchError: W&B does not answer or refuses.
    """
    place = agents_place()
    if place is not None and decide("auto").mode == "online":
        with service_errors():
            _send(Trial(RunRecord.read(folder / "record.json"), folder), place)


def held_runs(api: "Api", entity: str, project: str, run_ids: Sequence[str]) -> dict[str, Held]:
    """What the service holds of some runs, by id; a run that is not there is left out."""
    found = api.runs(f"{entity}/{project}", {"name": {"$in": list(run_ids)}}, per_page=ASKED, lazy=False)
    try:
        runs = list(found)
    except ValueError:  # there is no such project yet
        return {}
    return {
        run.id: Held(
            rows=run._attrs["historyLineCount"] or 0,
            extent=Extent.read(run.summary.get("history")),
            record=run.summary.get("record"),
        )
        for run in runs
    }


def _held_at(api: "Api", places: Sequence[Place]) -> dict[Place, Held]:
    """What the service holds at some places, asked for many at a time."""
    homes: dict[tuple[str, str], list[str]] = defaultdict(list)
    for place in places:
        homes[place.entity or "", place.project or ""].append(place.run_id)
    held: dict[Place, Held] = {}
    for home, run_ids in homes.items():
        for start in range(0, len(run_ids), ASKED):
            found = held_runs(api, *home, run_ids[start : start + ASKED])
            held.update((Place(*home, run_id), holds) for run_id, holds in found.items())
    return held


@contextmanager
def service_errors() -> Iterator[None]:
    """Turns whatever the client raises into one line."""
    try:
        yield
    except LraBenchError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise LraBenchError(f"W&B: {reason}. The same command goes on where this one stopped") from error


def _place(api: "Api", trial: Trial, project: str | None, entity: str | None) -> Place:
    """Where a trial's run belongs: where it was logged, unless another place is asked for."""
    tracked = tracked_place(trial.record, trial.folder)
    if tracked and project in (None, tracked.project) and entity in (None, tracked.entity):
        return tracked
    project = project or trial.record.config["tracking"]["project"]
    return Place(entity or str(api.default_entity), project, trial.record.trial_id)


def _bring_up(api: "Api", trial: Trial, place: Place, held: Held | None) -> str:
    """Complete the run, or make it. A run that holds something else, such as another execution of the trial, is kept.

    The id then is the first of `<id>-2`, `<id>-3`, ... that is free or holds this execution, since W&B can neither
    shorten a history nor give the id of a deleted run to another.
    """
    extents = [Extent()]
    for row in HistoryFile(trial.folder / "history.jsonl").rows():
        extents.append(extents[-1].after(row))
    first = place.run_id
    for number in itertools.count(2):
        if held is None or _begins(held, extents):
            break
        place = replace(place, run_id=f"{first}-{number}")
        held = held_runs(api, place.entity or "", place.project or "", [place.run_id]).get(place.run_id)
    there = held is not None and held.record == summary(trial.record, extents[-1])["record"]
    if not there:
        _send(trial, place)
    for offline in offline_folders(trial.folder, place.run_id):
        (offline / f"run-{place.run_id}.wandb.synced").touch()  # or `wandb sync` would send all rows once more
    if held is not None:
        return "there" if there else "completed"
    return "made" if place.run_id == first else "made beside another"


def _send(trial: Trial, place: Place) -> None:
    """Open the run and complete it."""
    with tempfile.TemporaryDirectory(prefix="lra-bench-") as scratch:
        config, trial_id = trial.record.config, trial.record.trial_id
        run = open_run(place, config, trial_id, Path(scratch), "online", of_this_machine=False)
        feed = Feed(run, trial.folder / "history.jsonl")
        feed.send()
        feed.finish(trial.record)


def _begins(held: Held, extents: Sequence[Extent]) -> bool:
    """Whether what the service holds is how the history begins; `extents` are those of all its beginnings."""
    count = held.extent.count
    known = count < len(extents) and extents[count] == held.extent and (count > 0 or held.rows == 0)
    return known and held.rows < len(extents)
