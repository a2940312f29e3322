"""The run of a trial that is running here. Whatever becomes of W&B, the trial goes on."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from lra_bench.config.schema import Config
from lra_bench.core.errors import ConfigError
from lra_bench.core.record import RunRecord, Tracking
from lra_bench.tracking import decision
from lra_bench.tracking.content import FAILED
from lra_bench.tracking.runs import Feed, Place, agents_place, open_run, remember, remembered, write_offline


class TrialLogger(Logger):
    """A trial's run on W&B, as Lightning takes it.

    Args:
        folder: of the trial.
        where: the run, as the record names it.
    """

    def __init__(self, folder: Path, where: Tracking) -> None:
        super().__init__()
        self.folder = folder
        self.where = where

    @property
    def name(self) -> str:
        """Of the service."""
        return self.where.backend

    @property
    def version(self) -> str:
        """The run's id."""
        return self.where.run_id

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run has the config already."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Take note that the history has grown."""

    @abstractmethod
    def close(self, record: RunRecord) -> None:
        """Complete the run; raises nothing."""


class OnlineLogger(TrialLogger):
    """Follows `history.jsonl` one validation behind, so that a checkpoint holds what is sent.

    Args:
        folder: of the trial.
        where: the run, as the record names it.
        feed: into the run.
    """

    def __init__(self, folder: Path, where: Tracking, feed: Feed) -> None:
        super().__init__(folder, where)
        self._feed: Feed | None = feed
        self._validated: int | None = None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Once training goes on after a validation, whose checkpoint is then written, send what came up to there."""
        assert step is not None
        if self._validated is not None and step > self._validated:
            self._attempt(lambda feed: feed.send(self._validated))
            self._validated = None
        if any(name.startswith("val/") for name in metrics):
            self._validated = step

    def close(self, record: RunRecord) -> None:
        """Send the rest, but for what a failed trial did since its checkpoint: run again, it would do that again."""
        if record.status not in FAILED:
            self._attempt(lambda feed: feed.send())
        self._attempt(lambda feed: feed.finish(record))

    def _attempt(self, action: Callable[[Feed], None]) -> None:
        if self._feed is None:
            return
        try:
            action(self._feed)
        except Exception as error:
            self._feed = None
            _warn(error, self.folder)


class OfflineLogger(TrialLogger):
    """Writes the run when the trial ends: one folder for a trial, however often it was interrupted."""

    def close(self, record: RunRecord) -> None:
        """Write it."""
        try:
            write_offline(record, self.folder, self.where.run_id)
        except Exception as error:
            _warn(error, self.folder)


def open_logger(config: Config, trial_id: str, folder: Path) -> TrialLogger | None:
    """See `tracking.make_logger`."""
    decided = decision.decide(config.tracking.wandb)
    if decided.mode == "disabled":
        return None
    if not decision.installed():
        raise ConfigError(f"{decided.reason} needs the package wandb: {decision.EXTRA}")
    place = agents_place() or remembered(folder) or Place(None, config.tracking.project, trial_id)
    if decided.mode == "offline":
        return OfflineLogger(folder, Tracking(backend="wandb", mode="offline", run_id=place.run_id, url=None))
    try:
        run = open_run(place, config.to_dict(), trial_id, folder, "online")
        remember(folder, run)
        where = Tracking(backend="wandb", mode="online", run_id=run.id, url=run.url)
        return OnlineLogger(folder, where, Feed(run, folder / "history.jsonl"))
    except Exception as error:
        _warn(error, folder)
        return None


def _warn(error: Exception, folder: Path) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    logging.getLogger(__name__).warning("W&B: %s; going on without it. Later: lra-bench wandb push %s", reason, folder)
