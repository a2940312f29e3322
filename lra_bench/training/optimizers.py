"""Optimizer groups from the mixers' hints, and schedules."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.optim import Optimizer

from lra_bench.core.errors import ConfigError
from lra_bench.core.mixer import SequenceMixer
from lra_bench.core.settings import OptimConfig
from lra_bench.core.specs import OptimHint
from lra_bench.training.least_squares import LeastSquares


@dataclass
class ParameterGroup:
    """Parameters that share a rate and a decay.

    Attributes:
        name: "main", or what sets the group apart.
        lr: peak learning rate.
        weight_decay: of this group.
        parameters: name -> parameter.
    """

    name: str
    lr: float
    weight_decay: float
    parameters: dict[str, nn.Parameter] = field(default_factory=dict)

    def describe(self) -> str:
        """One line for people."""
        count = sum(p.numel() for p in self.parameters.values())
        return (
            f"{self.name}: lr {self.lr:g}, weight decay {self.weight_decay:g}, "
            f"{count:,} numbers in {len(self.parameters)} parameters"
        )


def parameter_groups(
    net: nn.Module, mixers: dict[str, SequenceMixer], cfg: OptimConfig, allow_absolute: bool
) -> list[ParameterGroup]:
    """Sort a network's parameters into groups of equal rate and decay.

    Args:
        net: the network.
        mixers: module path in `net` -> mixer; their hints name parameters relative to the mixer.
        cfg: the swept rate and the default decay.
        allow_absolute: whether a hint may fix a rate (recipe track only).

    Raises:
        ConfigError: a hint names no parameter, or fixes a rate where that is not allowed.
    """
    hints = {f"{path}.{name}": hint for path, mixer in mixers.items() for name, hint in mixer.optim_hints().items()}
    parameters = {name: p for name, p in net.named_parameters() if p.requires_grad}
    groups: dict[tuple[float, float], ParameterGroup] = {}
    for name, hint in hints.items():
        if name not in parameters:
            raise ConfigError(f"the optimizer hint for '{name}' matches no parameter of the model")
        if hint.lr_abs is not None and not allow_absolute:
            raise ConfigError(
                f"the hint for '{name}' fixes its learning rate at {hint.lr_abs:g}, which a learning-rate sweep "
                f"would not move; that is allowed only with recipe=..."
            )
    for name, parameter in parameters.items():
        hint = hints.get(name, OptimHint())
        lr = hint.lr_abs if hint.lr_abs is not None else cfg.lr * hint.lr_scale
        decay = cfg.weight_decay if hint.weight_decay is None else hint.weight_decay
        group = groups.setdefault((lr, decay), ParameterGroup(_group_name(hint, cfg), lr, decay))
        group.parameters[name] = parameter
    return list(groups.values())


def _group_name(hint: OptimHint, cfg: OptimConfig) -> str:
    parts = []
    if hint.lr_abs is not None:
        parts.append(f"lr={hint.lr_abs:g}")
    elif hint.lr_scale != 1:
        parts.append(f"lr x{hint.lr_scale:g}")
    if hint.weight_decay not in (None, cfg.weight_decay):
        parts.append(f"decay={hint.weight_decay:g}")
    return ", ".join(parts) or "main"


def make_optimizer(groups: list[ParameterGroup], cfg: OptimConfig) -> Optimizer:
    """The configured optimizer over the groups; one pass over the memory of each parameter where torch can do that."""
    fused = all(p.is_floating_point() for group in groups for p in group.parameters.values())
    arguments = [{"params": list(g.parameters.values()), "lr": g.lr, "weight_decay": g.weight_decay} for g in groups]
    if cfg.name == "least_squares":
        return LeastSquares(arguments)
    if cfg.name == "sgd":
        return torch.optim.SGD(arguments, lr=cfg.lr, momentum=cfg.beta1, fused=fused)
    kind = torch.optim.AdamW if cfg.name == "adamw" else torch.optim.Adam
    return kind(arguments, lr=cfg.lr, betas=(cfg.beta1, cfg.beta2), fused=fused)


def lr_factor(cfg: OptimConfig, max_steps: int) -> Callable[[int], float]:
    """Multiplier of every group's peak rate at an optimizer step counted from 0.

    Linear from lr_floor over `warmup_steps`; then 1, or half a cosine down to lr_floor at the last step.
    """
    floor = min(cfg.lr_floor / cfg.lr, 1.0)

    def factor(step: int) -> float:
        if step < cfg.warmup_steps:
            return floor + (1 - floor) * step / cfg.warmup_steps
        if cfg.schedule == "constant":
            return 1.0
        progress = (step - cfg.warmup_steps) / max(1, max_steps - 1 - cfg.warmup_steps)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return factor
