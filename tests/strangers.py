"""Mixers that are not part of the project; tests use them as `strangers:Name`."""

import os
import signal
import time
from dataclasses import dataclass

import torch
from torch import nn

from lra_bench.core.mixer import MixerConfig, SequenceMixer


class Ramp(SequenceMixer):
    """A running sum with dropout, so that training draws random numbers."""

    @dataclass(frozen=True)
    class Config(MixerConfig):
        pause: float = 0.0

    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.map = nn.Linear(ctx.d_model, ctx.d_out)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x, mask=None):
        time.sleep(self.cfg.pause)
        return self.dropout(self.map(x).cumsum(1))

    def state_size(self, seq_len):
        return self.ctx.d_out


class LeaksTheFuture(Ramp):
    """Adds the mean over all steps."""

    def forward(self, x, mask=None):
        return self.map(x) + self.map(x).mean(1, keepdim=True)


class IgnoresTheMask(Ramp):
    """Where it may look ahead, it sees padding too."""

    def forward(self, x, mask=None):
        return self.map(x).cumsum(1) if self.ctx.causal else self.map(x).flip(1).cumsum(1).flip(1)


class HasAComplexParameter(Ramp):
    """Data-parallel training has lost imaginary gradients before."""

    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.pole = nn.Parameter(torch.ones(ctx.d_out, dtype=torch.complex64))

    def forward(self, x, mask=None):
        return self.map(x) * self.pole.real


class HasADeadParameter(Ramp):
    """One parameter takes no part."""

    def __init__(self, cfg, ctx):
        super().__init__(cfg, ctx)
        self.unused = nn.Parameter(torch.ones(3))


class GivesTheWrongShape(Ramp):
    """Drops the last step."""

    def forward(self, x, mask=None):
        return self.map(x)[:, :-1]


class Raises(Ramp):
    """Fails in its first forward pass."""

    def forward(self, x, mask=None):
        raise ValueError("the stranger's\nown mistake")


class NeedsMemory(Ramp):
    """Asks for more memory than there is."""

    def forward(self, x, mask=None):
        raise torch.OutOfMemoryError("tried to allocate too much")


class Killed(Ramp):
    """Its process dies as if the kernel had killed it."""

    def forward(self, x, mask=None):
        os.kill(os.getpid(), signal.SIGKILL)


class Exits(Ramp):
    """Ends the interpreter without a word."""

    def forward(self, x, mask=None):
        os._exit(3)


class Quits(Ramp):
    """Leaves by sys.exit."""

    def forward(self, x, mask=None):
        raise SystemExit(7)


class Stuck(Ramp):
    """Learns nothing: its output is always zero."""

    def forward(self, x, mask=None):
        return 0.0 * self.map(x)


class BadHint(Ramp):
    """Hints at a parameter that it does not have."""

    def optim_hints(self):
        from lra_bench.core.specs import OptimHint

        return {"lambda": OptimHint(lr_scale=0.1)}
