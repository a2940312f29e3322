"""Least squares as an optimizer: of a quadratic, the minimum is computed."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lra_bench.core.errors import ConfigError

MOST_WEIGHTS = 5000
"""With more, a step takes minutes and gigabytes."""


class LeastSquares(Optimizer):
    """After each step, the weights that minimise the summed squared error over all targets seen so far.

    Of all rows [J | r], where J are outputs by unit weights and r targets, the triangle of their QR factorisation is
    kept, which further rows update (Golub and Van Loan, Matrix Computations, 4th edition, section 6.5):

        [R z; 0 rho] <- triangle of qr([R z; 0 rho; J r]),    R w = z,    |J w - r| = rho

    So errors grow with the condition number of J and not with its square. Rates and decays play no part.

    Args:
        groups: parameters as torch's optimizers take them.

    Raises:
        ConfigError: there are more than `MOST_WEIGHTS` weights.
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {})
        self._parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        self._sizes = [parameter.numel() for parameter in self._parameters]
        if (count := sum(self._sizes)) > MOST_WEIGHTS:
            raise ConfigError(f"optim.name=least_squares takes up to {MOST_WEIGHTS:,} weights, the model has {count:,}")
        self._state["triangle"] = self._parameters[0].new_zeros(count + 1, count + 1)

    @property
    def _state(self) -> dict[str, Tensor]:
        """What a checkpoint holds: with the first parameter, where torch's L-BFGS has its own."""
        state: dict[str, Tensor] = self.state[self._parameters[0]]
        return state

    @torch.no_grad()
    def add(self, rows: Tensor) -> None:
        """See further targets.

        Args:
            rows: (N, P + 1), for each target its output by each of P unit weights, and what is to be reached.
        """
        self._state["triangle"] = torch.linalg.qr(torch.cat([self._state["triangle"], rows]), mode="r").R

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Put the minimiser into the parameters."""
        parts = torch.split(minimiser(self._state["triangle"]), self._sizes)
        for parameter, part in zip(self._parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))


def minimiser(triangle: Tensor) -> Tensor:
    """(P,): the w with the least |J w - r|.

    Columns of J are scaled to unit norm. Directions whose singular values are then below the largest one times the
    rounding error of the dtype are left out.

    Args:
        triangle: (P + 1, P + 1), of the QR factorisation of [J | r].
    """
    R, z = triangle[:-1, :-1], triangle[:-1, -1:]
    norms = torch.linalg.vector_norm(R, dim=0)
    norms = torch.where(norms > 0, norms, 1)
    cut = torch.finfo(R.dtype).eps
    scaled: Tensor = torch.linalg.lstsq((R / norms).cpu(), z.cpu(), rcond=cut, driver="gelsd").solution
    return scaled[:, 0].to(R.device) / norms
