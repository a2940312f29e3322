"""Whether W&B is used, and how. Looks at the environment and at files; makes no network call and asks nothing."""

import netrc
import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args
from urllib.parse import urlsplit

Mode = Literal["online", "offline", "disabled"]
EXTRA = "pip install 'lra-bench[wandb]'"


@dataclass(frozen=True)
class Decision:
    """Whether and how W&B is used, and the reason in words."""

    mode: Mode
    reason: str


def decide(asked: Literal["auto", "online", "offline", "disabled"]) -> Decision:
    """Settle `tracking.wandb`. `auto` is what WANDB_MODE says, else online where a login is found and off elsewhere."""
    if asked != "auto":
        return Decision(asked, f"tracking.wandb={asked}")
    for mode in get_args(Mode):
        if os.environ.get("WANDB_MODE") == mode:
            return Decision(mode, f"WANDB_MODE={mode}")
    if not login_found():
        return Decision("disabled", "no W&B login found")
    if not installed():
        return Decision("disabled", f"W&B login found, but wandb is not installed: {EXTRA}")
    return Decision("online", "W&B login found")


def installed() -> bool:
    """Whether the package wandb is there."""
    return find_spec("wandb") is not None


def login_found() -> bool:
    """Whether the environment or the netrc file holds a key for W&B, or for the host in WANDB_BASE_URL."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
