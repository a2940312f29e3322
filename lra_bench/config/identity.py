"""What makes two trials the same trial."""

import hashlib
import json
from pathlib import Path
from typing import Any

from lra_bench.config.schema import Config
from lra_bench.core.settings import NOT_RESULT_RELEVANT


def trial_id(config: Config, task_version: int) -> str:
    """Twelve hexadecimal digits that depend on the result-relevant part of the config alone."""
    content: dict[str, Any] = {"task_version": task_version, **config.to_dict()}
    for key in NOT_RESULT_RELEVANT:
        section, _, name = key.rpartition(".")
        del (content[section] if section else content)[name]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def trial_folder(config: Config, task_version: int) -> Path:
    """`<out_dir>/<study>/<trial id>`."""
    return Path(config.out_dir) / config.study / trial_id(config, task_version)
