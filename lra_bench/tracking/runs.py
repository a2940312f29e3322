"""Opening a run of W&B, and feeding a trial's history into it."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from lra_bench.core.files import write_atomically
from lra_bench.core.record import RunRecord, Status
from lra_bench.tracking.content import FAILED, Extent, HistoryFile, run_config, summary, tags

if TYPE_CHECKING:
    from wandb import Run

INIT_SECONDS = 30.0
FINISH_SECONDS = 60.0
"""How long W&B is waited for, unless WANDB_INIT_TIMEOUT and WANDB_FINISH_TIMEOUT say otherwise."""

REMEMBERED = "wandb.json"


class HistoryDiffersError(Exception):
    """The run on the service holds another history than the trial: it is of another execution of it."""


@dataclass(frozen=True)
class Place:
    """Where a run is. No entity is the user's own, no project the one in the environment."""

    entity: str | None
    project: str | None
    run_id: str


def agents_place() -> Place | None:
    """The run that a sweep has made for this process to fill, if `wandb agent` started it."""
    run_id = os.environ.get("WANDB_RUN_ID")
    return Place(None, None, run_id) if run_id and os.environ.get("WANDB_SWEEP_ID") else None


def remembered(folder: Path) -> Place | None:
    """Where a trial was logged before, online."""
    path = folder / REMEMBERED
    return Place(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def remember(folder: Path, run: "Run") -> None:
    """Note where a trial is logged, so that it goes on there."""
    place = Place(run.entity, run.project, run.id)
    write_atomically(folder / REMEMBERED, json.dumps(asdict(place)) + "\n")


def tracked_place(record: RunRecord, folder: Path) -> Place | None:
    """Where a trial was logged online, by its note or else by its record."""
    if (place := remembered(folder)) is not None:
        return place
    if record.tracking is None or record.tracking.url is None:
        return None
    entity, project, *_ = urlsplit(record.tracking.url).path.strip("/").split("/")
    return Place(entity, project, record.tracking.run_id)


def open_run(
    place: Place,
    config: dict[str, Any],
    trial_id: str,
    folder: Path,
    mode: Literal["online", "offline"],
    of_this_machine: bool = True,
) -> "Run":
    """Open a trial's run, or open it again.

    Args:
        place: where.
        config: of the trial, nested.
        trial_id: of the trial.
        folder: gets W&B's own files.
        mode: of W&B.
        of_this_machine: the trial runs here, so what the machine is and does belongs to the run.

    Raises:
        Exception: whatever the client raises, such as when the service does not answer in time.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb

    return wandb.init(
        entity=place.entity,
        project=place.project,
        id=place.run_id,
        name=f"{config['task']['name']}-{config['model']['name']}-{trial_id}",
        group=config["study"],
        job_type="trial",
        tags=tags(config),
        dir=str(folder),
        config=run_config(config, trial_id),
        mode=mode,
        resume="allow" if mode == "online" else None,
        reinit="create_new",
        settings=client_settings(of_this_machine),
    )


def client_settings(of_this_machine: bool) -> Any:
    """Bounded waits; no terminal output, code or repository state; no machine where the trial did not run here."""
    import wandb

    return wandb.Settings(
        console="off",
        silent=True,
        symlink=False,
        disable_code=True,
        disable_git=True,
        init_timeout=float(os.environ.get("WANDB_INIT_TIMEOUT", INIT_SECONDS)),
        finish_timeout=float(os.environ.get("WANDB_FINISH_TIMEOUT", FINISH_SECONDS)),
        finish_timeout_raises=True,
        x_disable_stats=not of_this_machine,
        x_disable_machine_info=not of_this_machine,
    )


def write_offline(record: RunRecord, folder: Path, run_id: str) -> None:
    """Write a trial's run as a folder of W&B's offline mode, in place of an earlier one."""
    for old in offline_folders(folder, run_id):
        shutil.rmtree(old)
    place = Place(None, record.config["tracking"]["project"], run_id)
    run = open_run(place, record.config, record.trial_id, folder, "offline", of_this_machine=False)
    feed = Feed(run, folder / "history.jsonl")
    feed.send()
    feed.finish(record)


def offline_folders(folder: Path, run_id: str) -> list[Path]:
    """The offline folders of a run."""
    return list((folder / "wandb").glob(f"offline-run-*-{run_id}"))


class Feed:
    """Brings a run up to what a trial's `history.jsonl` holds: only what the service lacks is sent."""

    def __init__(self, run: "Run", history: Path) -> None:
        self.run = run
        self._file = HistoryFile(history)
        self._extent = Extent()
        self._held = Extent.read(dict(run.summary).get("history"))

    def send(self, up_to: int | None = None) -> None:
        """Send the rows that are new, up to a step.

        Raises:
            HistoryDiffersError: what the service holds is not how this history begins.
        """
        before = self._extent
        for row in self._file.rows(up_to):
            self._extent = self._extent.after(row)
            if self._extent.count == self._held.count and self._extent != self._held:
                self.run.finish()
                raise HistoryDiffersError(f"run {self.run.id} holds another history of this trial")
            if row.step >= self.run.starting_step:
                self.run.log(row.values, step=row.step, commit=True)
        if self._extent != before and self._extent.count > self._held.count:
            self.run.summary["history"] = str(self._extent)

    def finish(self, record: RunRecord) -> None:
        """Tell the outcome and close the run.

        An interrupted trial is a failed run until it goes on. It is not marked as preempted: a sweep would hand such a
        run out again, also where it was the sweep that stopped it early.
        """
        sent = max(self._held, self._extent, key=lambda extent: extent.count)
        self.run.summary.update(summary(record, sent))
        self.run.tags = tags(record.config, record.status)
        self.run.finish(exit_code=int(record.status in (*FAILED, Status.PREEMPTED)))
