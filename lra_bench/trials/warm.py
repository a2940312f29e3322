"""What the processes of all trials have in common. Imported once, by the server that they are forked from."""
# ruff: noqa: E402

import signal

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)  # what Ctrl-C or Slurm sends to all is for the runner, which asks each trial

import gc

import lra_bench.experiment
import lra_bench.stacked.program
import lra_bench.trials.worker  # noqa: F401
from lra_bench import environment
from lra_bench.core.registry import MODELS, TASKS

environment.code_version()
TASKS.entries()
MODELS.find(f"{__name__}:None")  # looks up where models of other packages come from
gc.collect()
gc.freeze()  # a trial's garbage collector would look at every object of the framework, and so copy its memory
