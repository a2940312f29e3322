"""The processes that train one trial together: how they meet, and what they tell each other.

They are started by others, all on this machine. None of them waits for a device when it talks to the others: what they
say travels between the CPUs.
"""

import os
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.utilities import rank_zero_only
from torch import distributed

from lra_bench.core.errors import ConfigError
from lra_bench.core.settings import TrainConfig

TIMEOUT = timedelta(hours=1)
"""How long a process waits for one that is there and silent. One that is gone is noticed at once on a CPU."""


@dataclass(frozen=True)
class Rank:
    """One of the processes that train a trial together.

    Attributes:
        index: of this one, from 0. On GPUs it uses the visible one of the same index.
        count: how many there are.
        rendezvous: a path that no process has used before, where they find each other.
    """

    index: int
    count: int
    rendezvous: Path


class Peers:
    """What this process may ask all that train together with it. All must ask the same, in the same order.

    Args:
        index: of this process.
        count: of the processes; one alone answers at once.
        group: the processes, connected between their CPUs.
    """

    def __init__(self, index: int = 0, count: int = 1, group: distributed.ProcessGroup | None = None) -> None:
        self.index = index
        self.count = count
        self._group = group

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes files."""
        return self.index == 0

    def largest(self, *values: int) -> tuple[int, ...]:
        """The largest that any process gives, of each of these values."""
        return values if self.count == 1 else tuple(self._reduce(values, torch.int64, distributed.ReduceOp.MAX))

    def means(self, values: list[float]) -> list[float]:
        """The mean over the processes, in float64, of each of these values."""
        if self.count == 1 or not values:
            return values
        return [total / self.count for total in self._reduce(values, torch.float64, distributed.ReduceOp.SUM)]

    def gathered(self, value: Any) -> list[Any]:
        """What each process gives, by index."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        distributed.all_gather_object(found, value, self._group)
        return found

    def leave(self) -> None:
        """Part; the others notice if they expect an answer."""
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def _reduce(self, values: Any, dtype: torch.dtype, how: Any) -> list[Any]:
        tensor = torch.tensor(values, dtype=dtype)
        distributed.all_reduce(tensor, how, self._group)
        found: list[Any] = tensor.tolist()
        return found


def join(rank: Rank | None, train: TrainConfig) -> Peers:
    """Meet the other processes of a trial. Lightning then uses the process group that is there.

    Args:
        rank: which one this is, or None where it is alone.
        train: says on what kind of device, and on how many.

    Raises:
        ConfigError: not as many processes, or fewer GPUs, than the trial is to use.
    """
    index, count = (rank.index, rank.count) if rank else (0, 1)
    rank_zero_only.rank = index  # type: ignore[attr-defined]
    if count != train.devices:
        raise ConfigError(
            f"train.devices={train.devices} takes as many processes and there is {count}; "
            f"`lra-bench train` and `lra-bench sweep run` start them"
        )
    if count == 1 and train.strategy == "auto":
        return Peers()
    on_gpu = train.accelerator != "cpu" and torch.cuda.is_available()
    if on_gpu:
        if torch.cuda.device_count() < count:
            raise ConfigError(f"train.devices={count} needs as many GPUs and {torch.cuda.device_count()} are visible")
        torch.cuda.set_device(index)
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo" if sys.platform == "linux" else "lo0")
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=distributed.FileStore(str(rank.rendezvous), count) if rank else distributed.HashStore(),  # type: ignore[attr-defined]
        rank=index,
        world_size=count,
        timeout=TIMEOUT,
    )
    return Peers(index, count, distributed.new_group(backend="gloo", timeout=TIMEOUT))


def lost_contact(error: BaseException) -> bool:
    """Whether an error only says that another process is gone, or silent; its reason lies there."""
    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and "gloo/transport" in str(error)
    )


class StartedProcesses(ClusterEnvironment):
    """Tells Lightning that its processes run, so that it starts none and looks at no Slurm or torchrun variables."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    @property
    def creates_processes_externally(self) -> bool:
        """They are there."""
        return True

    @property
    def main_address(self) -> str:
        """This machine."""
        return "localhost"

    @property
    def main_port(self) -> int:
        """None: they have met."""
        return 0

    @staticmethod
    def detect() -> bool:
        """Only where it is asked for."""
        return False

    def world_size(self) -> int:
        """Processes of the trial."""
        return self._peers.count

    def set_world_size(self, size: int) -> None:
        """It is what it is."""

    def global_rank(self) -> int:
        """Index of this one."""
        return self._peers.index

    def set_global_rank(self, rank: int) -> None:
        """It is what it is."""

    def local_rank(self) -> int:
        """Index of its device."""
        return self._peers.index

    def node_rank(self) -> int:
        """There is one machine."""
        return 0
