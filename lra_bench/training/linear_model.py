"""A network whose outputs are linear in its weights, trained by least squares."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.utils import parameters_to_vector

from lra_bench.core.batch import Batch
from lra_bench.core.errors import ConfigError
from lra_bench.training.least_squares import LeastSquares
from lra_bench.training.module import LitSequenceModel
from lra_bench.training.objectives import SequenceRegression

ROW_NUMBERS = 2**22
"""Numbers of the rows that are made at a time: 32 MB of float64."""
UNITS_AT_A_TIME = 64
"""Unit vectors of weights that pass through the network together."""


class LinearModel(LitSequenceModel):
    """Trains a backbone whose outputs are linear in its weights, up to a constant, by `LeastSquares`.

    As with other optimizers, the loss of a step is measured before its examples are learnt from.

    Raises:
        ConfigError: targets are classes; or, at the first step, the outputs are not linear in the weights.
    """

    _is_linear = False

    def configure_optimizers(self) -> Any:
        """See `LitSequenceModel`."""
        if not isinstance(self.objective, SequenceRegression):
            raise ConfigError("optim.name=least_squares needs a task whose targets are real numbers, such as lds")
        return super().configure_optimizers()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Show the optimizer what outputs are made of, then give the loss."""
        optimizer = self.trainer.optimizers[0]
        assert isinstance(optimizer, LeastSquares)
        with torch.no_grad():
            self._require_linear(batch)
            for part in self._parts(batch):
                optimizer.add(self._rows(part))
        return super().training_step(batch, batch_idx)

    @cached_property
    def _learned(self) -> dict[str, nn.Parameter]:
        """In the optimizer's order."""
        return {name: parameter for group in self.groups for name, parameter in group.parameters.items()}

    @cached_property
    def _zero(self) -> Tensor:
        """(P,), no weights at all."""
        return torch.zeros_like(parameters_to_vector(self._learned.values()))

    def _outputs(self, weights: Tensor, batch: Batch) -> Tensor:
        """(P,) -> (B, L, C): what the network gives with these weights, each of which is a tensor of its own."""
        parts = torch.split(weights, [parameter.numel() for parameter in self._learned.values()])
        pairs = zip(self._learned.items(), parts, strict=True)
        own = {name: part.view_as(parameter).clone() for (name, parameter), part in pairs}
        output: Tensor = functional_call(self.net, own, (batch,))
        return output

    def _rows(self, batch: Batch) -> Tensor:
        """(N, P + 1): outputs by unit weights, and targets that count, less the outputs by no weights."""
        constant = self._outputs(self._zero, batch)
        units = torch.eye(len(self._zero)).to(self._zero)
        slopes = vmap(lambda unit: self._outputs(unit, batch) - constant, chunk_size=UNITS_AT_A_TIME)(units)
        columns = torch.cat([slopes, (batch.y.to(constant.dtype) - constant).unsqueeze(0)])
        counting = columns.flatten(1, 2) if batch.y_mask is None else columns[:, batch.y_mask]
        return counting.flatten(1).T

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """The batch, in parts whose rows take little memory."""
        size = max(1, ROW_NUMBERS // (len(self._zero) * batch.y[0].numel()))
        return (batch.select(slice(start, start + size)) for start in range(0, len(batch.y), size))

    def _require_linear(self, batch: Batch) -> None:
        """At the first step, see that outputs by random weights a and b add up to those by a + b and by none."""
        if self._is_linear:
            return
        draw = torch.Generator().manual_seed(0)
        a, b = torch.randn(2, len(self._zero), generator=draw).to(self._zero)
        apart = self._outputs(a, batch) + self._outputs(b, batch)
        together = self._outputs(a + b, batch) + self._outputs(self._zero, batch)
        if not (apart - together).norm() <= 1000 * torch.finfo(a.dtype).eps * together.norm():
            mixers = " and ".join(sorted({type(mixer).__name__ for mixer in self.net.mixers.values()}))
            raise ConfigError(
                f"optim.name=least_squares needs outputs that are linear in the weights, as those of stu with "
                f"model.output=fixed on lds; those of this network of {mixers} are not"
            )
        self._is_linear = True
