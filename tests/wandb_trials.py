"""Runs trials one after another, each in a process forked from this one, as told by a JSON list in the first argument.

Each entry has `env`, `words` of the config, and `kill_at`, a step after which the process kills itself, or null.
"""

import importlib
import json
import os
import signal
import sys
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

from lra_bench import environment, experiment
from lra_bench.config.compose import compose
from lra_bench.trials.plan import cell_of, freeze


class Killer(Callback):
    """Dies without a word after a step, and a moment in which what was logged can be sent."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: Any) -> None:
        if trainer.global_step == self.step:
            time.sleep(1.0)
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    for module in ("lra_bench.models.stu", "lra_bench.tasks.lds"):
        importlib.import_module(module)
    environment.package_versions()
    for entry in json.loads(sys.argv[1]):
        if os.fork() == 0:
            os.environ.update(entry["env"])
            cell = cell_of(compose(entry["words"]).config)
            freeze(cell)
            killers = [Killer(entry["kill_at"])] if entry["kill_at"] else []
            experiment.run(cell.config, cell.folder, observers=killers)
            os._exit(0)
        os.wait()


if __name__ == "__main__":
    main()
