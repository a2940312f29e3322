"""The loop that a PyTorch tutorial would write, with the clock read between its parts."""

from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter

import torch
from torch import Tensor

from lra_bench.benchmarks.timing import Foreign, now
from lra_bench.building import build_net, real_dtype
from lra_bench.config.schema import Config
from lra_bench.data.datamodule import SequenceDataModule
from lra_bench.data.feed import ReadyBatches
from lra_bench.training.compiling import MaybeCompiled
from lra_bench.training.objectives import make_objective
from lra_bench.training.optimizers import lr_factor, make_optimizer, parameter_groups

PHASES = ("data", "forward", "backward", "optimizer")


@dataclass(frozen=True)
class Turn:
    """Some steps on end.

    Attributes:
        seconds: of a step.
        disturbed: whether other processes ran meanwhile.
        spent: seconds of a step by phase, where they were told apart.
    """

    seconds: float
    disturbed: bool
    spent: tuple[float, ...] = ()


class BareLoop:
    """Network, batches, optimizer and schedule of a trial, without the framework.

    Args:
        config: of the trial.
        task: with the data.
        device: where to train.
    """

    def __init__(self, config: Config, task: SequenceDataModule, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.net = net = build_net(config, task.spec).to(device)
        groups = parameter_groups(net, net.mixers, config.optim, allow_absolute=config.track == "recipe")
        self.width = next(iter(net.mixers.values())).ctx.d_model
        self._run = MaybeCompiled(net) if config.train.compile else net
        self._objective = make_objective(task.spec)
        self._optimizer = make_optimizer(groups, config.optim)
        self._rates = [group.lr for group in groups]
        self._factor = lr_factor(config.optim, config.train.max_steps)
        self._parameters = [parameter for group in groups for parameter in group.parameters.values()]
        self._batches = iter(ReadyBatches(task.train_loader(device=device), task, device, real_dtype(config)))
        self._autocast = torch.autocast(device.type, torch.bfloat16, config.train.precision == "bf16-mixed")
        self._step = 0

    def turn(self, steps: int) -> Turn:
        """Do some steps."""
        foreign, start = Foreign(), now(self.device)
        marks = [self._one_step() for _ in range(steps)]
        seconds = (now(self.device) - start) / steps
        spent = tuple(sum(parts) / steps for parts in zip(*marks, strict=True))
        return Turn(seconds, foreign.ran(), spent if self.device.type == "cpu" else ())

    def phases(self, steps: int) -> tuple[float, ...]:
        """Seconds of a step by phase, the device waited for after each; on a CPU `turn` tells them without waiting."""
        marks = [self._one_step(wait=True) for _ in range(steps)]
        return tuple(sum(parts) / steps for parts in zip(*marks, strict=True))

    def _one_step(self, wait: bool = False) -> tuple[float, ...]:
        """Seconds by phase; of a device that is not waited for, those that it takes to ask it."""
        times = [self._now(wait)]
        batch = next(self._batches)
        times.append(self._now(wait))
        self._optimizer.zero_grad()
        with self._autocast:
            loss: Tensor = self._objective.loss(self._run(batch), batch)
        times.append(self._now(wait))
        loss.backward()  # type: ignore[no-untyped-call]
        times.append(self._now(wait))
        if self.config.optim.grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self.config.optim.grad_clip)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._factor(self._step)
        self._optimizer.step()
        self._step += 1
        times.append(self._now(wait))
        return tuple(later - earlier for earlier, later in pairwise(times))

    def _now(self, wait: bool) -> float:
        return now(self.device) if wait else perf_counter()
