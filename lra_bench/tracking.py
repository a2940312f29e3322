"""Weights & Biases, as a sink. The only file that imports wandb, and only when it is to be used."""

import netrc
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from lightning.pytorch.loggers import Logger

from lra_bench.config.schema import Config
from lra_bench.core.errors import ConfigError
from lra_bench.core.record import Tracking

Mode = Literal["online", "offline", "disabled"]
HOST = "api.wandb.ai"


@dataclass(frozen=True)
class Decision:
    """Whether and how W&B is used, and the reason in words."""

    mode: Mode
    reason: str


def decide(asked: Literal["auto", "online", "offline", "disabled"]) -> Decision:
    """Settle `tracking.wandb`. Looks at the environment and at files; makes no network call and asks nothing."""
    if asked != "auto":
        return Decision(asked, f"tracking.wandb={asked}")
    for mode in get_args(Mode):
        if os.environ.get("WANDB_MODE") == mode:
            return Decision(mode, f"WANDB_MODE={mode}")
    if not _login_found():
        return Decision("disabled", "no W&B login found")
    if not _installed():
        return Decision("disabled", "W&B login found, but wandb is not installed: pip install 'lra-bench[wandb]'")
    return Decision("online", "W&B login found")


def make_logger(config: Config, trial_id: str, folder: Path) -> Logger | None:
    """A logger for one trial (run id = trial id, group = study), or None where W&B is off.

    Raises:
        ConfigError: W&B was asked for and is not installed.
    """
    decision = decide(config.tracking.wandb)
    if decision.mode == "disabled":
        return None
    if not _installed():
        raise ConfigError(f"{decision.reason} needs the package wandb: pip install 'lra-bench[wandb]'")
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    run = wandb.init(
        project=config.tracking.project,
        id=trial_id,
        name=f"{config.task.name}-{config.model.name}-{trial_id}",
        group=config.study,
        dir=str(folder),
        config=config.to_dict(),
        mode=decision.mode,
        resume="allow",
        settings=wandb.Settings(silent=True, console="off"),
    )
    return WandbLogger(experiment=run, save_dir=str(folder))


def finish(logger: Logger, summary: dict[str, Any], failed: bool) -> Tracking:
    """Write the outcome, close the run, and say where it is."""
    run = logger.experiment  # type: ignore[attr-defined]
    run.summary.update(summary)
    where = Tracking(backend="wandb", mode="offline" if run.offline else "online", run_id=run.id, url=run.url or None)
    run.finish(exit_code=int(failed))
    return where


def _installed() -> bool:
    return find_spec("wandb") is not None


def _login_found() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False
