"""The contract of a sequence mixer: the one thing a model author writes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lra_bench.core.specs import MixerContext, OptimHint


@dataclass(frozen=True)
class MixerConfig:
    """Knobs of a mixer, the `model.*` part of a config. Subclass as a frozen dataclass.

    Attributes:
        name: under which the model was asked for; the framework fills it in.
    """

    name: str = ""


class SequenceMixer(nn.Module, ABC):
    """Maps a sequence to a sequence of the same length: (B, L, d_model) -> (B, L, d_out), any L <= max_len.

    Parameters and buffers are real; a complex number is stored as a real pair.
    A subclass sets `Config` and cites its paper, equation and upstream file in its docstring.
    """

    Config: ClassVar[type[MixerConfig]] = MixerConfig

    mixes_channels: ClassVar[bool] = True
    """False: output channel c sees input channel c alone, and d_out is d_model. Where such a mixer would stand bare,
    the backbone puts linear maps on both sides of it."""

    def __init__(self, cfg: MixerConfig, ctx: MixerContext) -> None:
        super().__init__()
        self.cfg = cfg
        self.ctx = ctx

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix a whole sequence.

        Args:
            x: (B, L, d_model) float.
            mask: (B, L) bool, True where real, right-padded; None where nothing is padded.

        Returns:
            (B, L, d_out) float. Outputs at real positions do not depend on padded ones.
        """

    @abstractmethod
    def state_size(self, seq_len: int) -> int:
        """Real numbers that one sequence needs carried to go on after `seq_len` steps."""

    def optim_hints(self) -> dict[str, OptimHint]:
        """Hints by this mixer's own parameter names. A name that is no parameter is an error."""
        return {}

    def backend(self, device: torch.device, batch_size: int, seq_len: int) -> str:
        """Which way of computing the heavy part it takes for an input of this size; goes into the record. Optional.

        Args:
            device: where.
            batch_size: B.
            seq_len: L.
        """
        return "torch"

    @classmethod
    def has_step(cls) -> bool:
        """Whether the mixer can run one step at a time."""
        return cls.step is not SequenceMixer.step

    def init_state(self, batch_size: int) -> Any:
        """State before the first step, for `batch_size` sequences. Optional, with `step`."""
        raise NotImplementedError(f"{type(self).__name__} has no step mode")

    def step(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step: (B, d_model) and a state -> (B, d_out) and the next state. Optional; equals `forward`."""
        raise NotImplementedError(f"{type(self).__name__} has no step mode")
