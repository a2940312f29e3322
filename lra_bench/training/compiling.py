"""A network through torch.compile, or as it is where that fails."""

import logging
import textwrap

import torch
from torch import Tensor, nn

from lra_bench.core.batch import Batch


class MaybeCompiled:
    """Runs a network compiled until that fails once, and plainly from then on.

    torch compiles when it meets a new kind of batch, forward and backward pass together, so it is the call that fails.
    Checkpoints are those of the plain network.

    Args:
        net: the network.

    Attributes:
        failure: why it is not compiled, in one line; None while it is.
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net
        self._compiled = torch.compile(net)
        self.failure: str | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """The network's output."""
        output: Tensor
        if self.failure is None:
            try:
                output = self._compiled(batch)
                return output
            except Exception as error:
                output = self._net(batch)  # a mistake of the network's own comes up here
                self.failure = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")
                logging.getLogger(__name__).warning("going on without torch.compile: %s", self.failure)
                return output
        output = self._net(batch)
        return output
