"""The optimizers of several trials in one pass.

Moments are stacked like parameters, and whatever differs between trials (rates, decay, coefficients, largest norm) is a
column that broadcasts over them. The arithmetic is that of `torch.optim` and `clip_grad_norm_`, operation by operation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lra_bench.core.settings import OptimConfig
from lra_bench.training.optimizers import ParameterGroup, lr_factor

EPSILON = 1e-8
"""Of Adam; torch's default."""
NORM_EPSILON = 1e-6
"""Added to a norm before the gradient is divided by it, as `clip_grad_norm_` does."""


@dataclass(frozen=True)
class Recipe:
    """How one trial is optimised.

    Attributes:
        optim: its settings.
        groups: its parameters by peak rate and decay; only their names are used.
        max_steps: length of its schedule.
    """

    optim: OptimConfig
    groups: list[ParameterGroup]
    max_steps: int

    def group_of(self, name: str) -> ParameterGroup:
        """The group that a parameter is in."""
        return next(group for group in self.groups if name in group.parameters)

    @cached_property
    def schedule(self) -> Callable[[int], float]:
        """Factor on all rates at a step."""
        return lr_factor(self.optim, self.max_steps)


class StackedOptimizer:
    """Adam, AdamW or SGD over stacked parameters.

    Args:
        parameters: name -> (M, ...).
        recipes: of the M trials; all have the same optimizer, and all clip or none.
        steps: that were done before.

    Attributes:
        moments: torch's name of a moment -> name of a parameter -> (M, ...); without those that never had a gradient.
    """

    def __init__(self, parameters: dict[str, Tensor], recipes: Sequence[Recipe], steps: int = 0) -> None:
        first = recipes[0].optim
        self.steps = steps
        self._sgd, self._decoupled = first.name == "sgd", first.name == "adamw"
        names = ("momentum_buffer",) if self._sgd else ("exp_avg", "exp_avg_sq")
        self.moments: dict[str, dict[str, Tensor]] = {name: {} for name in names if not self._sgd or first.beta1}
        self._arrange(parameters, recipes)

    def keep(self, parameters: dict[str, Tensor], recipes: Sequence[Recipe], members: Tensor) -> None:
        """Go on with some of the trials, by index, whose parameters and recipes these are."""
        for kind, moments in self.moments.items():
            self.moments[kind] = {name: value[members] for name, value in moments.items()}
        self._arrange(parameters, recipes)

    def moments_of(self, member: int) -> dict[str, dict[str, Tensor]]:
        """The moments of one trial, on the CPU."""
        return {kind: {n: v[member].cpu().clone() for n, v in found.items()} for kind, found in self.moments.items()}

    def load(self, moments: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> None:
        """Put such moments in, one for each trial."""
        for kind in self.moments:
            for name, like in self._parameters.items():
                if name in moments[0].get(kind, {}):
                    self.moments[kind][name] = torch.stack([each[kind][name] for each in moments]).to(like)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None]) -> None:
        """Move the parameters, in their order; those without a gradient stay as they are."""
        there = [index for index, gradient in enumerate(gradients) if gradient is not None]
        names, values = list(self._parameters), list(self._parameters.values())
        found = [gradient for gradient in gradients if gradient is not None]
        rates = self._rates * self._factors(self.steps)
        self.steps += 1
        move = self._sgd_step if self._sgd else self._adam_step
        move([names[i] for i in there], [values[i] for i in there], self._clipped(found), rates[there], there)

    def _arrange(self, parameters: dict[str, Tensor], recipes: Sequence[Recipe]) -> None:
        """Lay out what does not change from step to step."""
        self._parameters = parameters
        first = next(iter(parameters.values()))
        self._dtype, self._device = first.dtype, first.device
        optims = [recipe.optim for recipe in recipes]
        groups = [[recipe.group_of(name) for recipe in recipes] for name in parameters]
        self._rates = _float64([[group.lr for group in row] for row in groups])
        self._decays = _float64([[group.weight_decay for group in row] for row in groups])
        self._betas = _float64([optim.beta1 for optim in optims]), _float64([optim.beta2 for optim in optims])
        self._schedules = [recipe.schedule for recipe in recipes]
        self._largest = self._sent(_float64([optim.grad_clip or torch.inf for optim in optims]))
        self._clips = optims[0].grad_clip is not None

    def _factors(self, step: int) -> Tensor:
        return _float64([schedule(step) for schedule in self._schedules])

    def _sent(self, values: Tensor) -> Tensor:
        return values.to(self._dtype).to(self._device, non_blocking=True)

    def _columns(self, values: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
        """(M,) or (P, M) -> for each of P tensors (M, ...), what broadcasts over it."""
        rows = self._sent(values).expand(len(like), -1)
        return [row.view(-1, *(1,) * (tensor.ndim - 1)) for row, tensor in zip(rows, like, strict=True)]

    def _clipped(self, gradients: list[Tensor]) -> list[Tensor]:
        """Each trial's gradient, no longer than its largest norm."""
        if not self._clips:
            return gradients
        norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
        shares = (self._largest / (torch.linalg.vector_norm(norms, dim=0) + NORM_EPSILON)).clamp(max=1.0)
        return list(torch._foreach_mul(gradients, self._columns(shares, gradients)))

    def _decayed(self, values: list[Tensor], gradients: list[Tensor], there: list[int]) -> list[Tensor]:
        """Gradients with that of an L2 penalty."""
        if not self._decays.any():
            return gradients
        return list(torch._foreach_addcmul(gradients, values, self._columns(self._decays[there], values)))

    def _moments_of(self, kind: str, names: list[str], values: list[Tensor]) -> list[Tensor]:
        moments = self.moments[kind]
        return [moments.setdefault(n, torch.zeros_like(v)) for n, v in zip(names, values, strict=True)]

    def _adam_step(
        self, names: list[str], values: list[Tensor], gradients: list[Tensor], rates: Tensor, there: list[int]
    ) -> None:
        if self._decoupled:
            if self._decays.any():
                torch._foreach_mul_(values, self._columns(1 - rates * self._decays[there], values))
        else:
            gradients = self._decayed(values, gradients, there)
        beta1, beta2 = self._betas
        first, second = (self._moments_of(kind, names, values) for kind in ("exp_avg", "exp_avg_sq"))
        torch._foreach_lerp_(first, gradients, self._columns(1 - beta1, values))
        torch._foreach_mul_(second, self._columns(beta2, values))
        torch._foreach_addcmul_(second, torch._foreach_mul(gradients, self._columns(1 - beta2, values)), gradients)
        scale = torch._foreach_sqrt(second)
        torch._foreach_div_(scale, self._columns((1 - beta2**self.steps) ** 0.5, values))
        torch._foreach_add_(scale, EPSILON)
        ahead = torch._foreach_mul(first, self._columns(-rates / (1 - beta1**self.steps), values))
        torch._foreach_addcdiv_(values, ahead, scale)

    def _sgd_step(
        self, names: list[str], values: list[Tensor], gradients: list[Tensor], rates: Tensor, there: list[int]
    ) -> None:
        gradients = self._decayed(values, gradients, there)
        if self.moments:
            momenta = self._moments_of("momentum_buffer", names, values)
            torch._foreach_mul_(momenta, self._columns(self._betas[0], values))
            torch._foreach_add_(momenta, gradients)
            gradients = momenta
        torch._foreach_addcmul_(values, gradients, self._columns(-rates, values))


def _float64(values: Sequence[float] | Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
