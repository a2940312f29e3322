"""Mixers that can share a program, though some had better not; tests use them as `tests.stackable:Name`."""

import os
import time
from dataclasses import dataclass

import torch
from torch import nn

from lra_bench.core.mixer import MixerConfig, SequenceMixer


class Steady(SequenceMixer):
    """A running sum."""

    @dataclass(frozen=True)
    class Config(MixerConfig):
        pause: float = 0.0
        poison: int = -1

    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.map = nn.Linear(ctx.d_model, ctx.d_out)

    def forward(self, x, mask=None):
        time.sleep(self.cfg.pause)
        return self.map(x).cumsum(1)

    def state_size(self, seq_len):
        return self.ctx.d_out


class DiesWithASeed(Steady):
    """Ends its process without a word when it is built from a certain seed."""

    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        if torch.initial_seed() == cfg.poison:
            os._exit(9)


class FailsWithASeed(Steady):
    """Cannot be built from a certain seed."""

    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        if torch.initial_seed() == cfg.poison:
            raise ValueError("no such seed")


class Drops(Steady):
    """Draws random numbers while it trains, which one program cannot do for several."""

    def forward(self, x, mask=None):
        return nn.functional.dropout(super().forward(x, mask), 0.1, self.training)
