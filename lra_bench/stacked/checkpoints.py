"""Checkpoints of a member, the same files that a trial alone writes: whoever finds one can go on from it.

What Lightning keeps of its loops follows from the step alone, since every checkpoint lies between two steps.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from lra_bench.core.files import replacing
from lra_bench.stacked.network import Tensors
from lra_bench.stacked.seats import Seat

Moments = dict[str, Tensors]
"""torch's name of a moment -> name of a parameter -> its value, of one trial."""

PREFIX = "net."
"""Of the network within the module that a trial alone trains."""


def last(folder: Path) -> Path:
    """The checkpoint of a trial to go on from."""
    return folder / "checkpoints" / "last.ckpt"


def best(seat: Seat) -> Path:
    """The weights of the selected step."""
    return seat.member.folder / "checkpoints" / f"best-{seat.best_step}.ckpt"


def saved_step(folder: Path) -> int:
    """The step at which a trial would go on: that of its checkpoint, or 0 where it has none."""
    path = last(folder)
    return int(_read(path)["global_step"]) if path.exists() else 0


def save(seat: Seat, step: int, weights: Tensors, moments: Moments) -> None:
    """Write what is needed to go on, then drop best weights that it does not name."""
    with replacing(last(seat.member.folder)) as path:
        torch.save(_checkpoint(seat, step, weights, moments), path)
    tidy(seat)


def save_best(seat: Seat, weights: Tensors) -> None:
    """Write the weights of the step that was just selected."""
    with replacing(best(seat)) as path:
        torch.save(_prefixed(weights), path)


def load_best(seat: Seat) -> Tensors:
    """The weights of the selected step."""
    return _plain(_read(best(seat)))


def load(seat: Seat) -> tuple[Tensors, Moments]:
    """Put a seat back to where its checkpoint is.

    Returns:
        Weights, and moments of the optimizer.
    """
    saved = _read(last(seat.member.folder))
    seat.watch.load_state_dict(saved["callbacks"]["Guard"])
    seat.waiting = saved["callbacks"]["History"]["sum"], saved["callbacks"]["History"]["count"]
    selection = saved["callbacks"]["Checkpointer"]
    seat.best_step, seat.best_metrics = selection["best_step"], selection["best_metrics"]
    seat.rng = saved["rng"][0]["cpu"]
    moments: Moments = {}
    for index, state in saved["optimizer_states"][0]["state"].items():
        for kind, value in state.items():
            if kind != "step" and value is not None:
                moments.setdefault(kind, {})[seat.parameter_names[index]] = value
    return _plain(saved["state_dict"]), moments


def tidy(seat: Seat) -> None:
    """Drop best weights of other steps, and what killed processes left half written."""
    for path in last(seat.member.folder).parent.iterdir():
        if path not in (last(seat.member.folder), best(seat)):
            path.unlink()


def _checkpoint(seat: Seat, step: int, weights: Tensors, moments: Moments) -> dict[str, Any]:
    schedule, optimizer = _at_step(seat, step)
    for index, name in enumerate(seat.parameter_names):
        state: dict[str, Any] = {kind: values[name] for kind, values in moments.items() if name in values}
        if state and "exp_avg" in state:
            state = {"step": torch.tensor(float(step)), **state}
        if state:
            optimizer["state"][index] = state
    total, count = seat.waiting
    return {
        "epoch": 0,
        "global_step": step,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": _prefixed(weights),
        "loops": {"fit_loop": _loops(step)},
        "callbacks": {
            "Guard": seat.watch.state_dict(),
            "History": {"sum": total, "count": count},
            "Checkpointer": {"best_step": seat.best_step, "best_metrics": seat.best_metrics},
        },
        "optimizer_states": [optimizer],
        "lr_schedulers": [schedule],
        "rng": [{"cpu": seat.rng}],
    }


def _at_step(seat: Seat, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """States of schedule and optimizer after so many steps, without moments."""
    schedule, optimizer = deepcopy(seat.schedule_state), deepcopy(seat.optimizer_state)
    factor = seat.recipe.schedule(step)
    rates = [base * factor for base in schedule["base_lrs"]]
    schedule |= {"last_epoch": step, "_step_count": step + 1, "_last_lr": rates}
    for group, rate in zip(optimizer["param_groups"], rates, strict=True):
        group["lr"] = rate
    return schedule, optimizer


def _loops(step: int) -> dict[str, Any]:
    """Lightning's loops between two steps, when the validation that was due is done."""
    done = {"ready": step, "completed": step}
    batches = {**done, "started": step, "processed": step}
    one = {"ready": 1, "completed": 0, "started": 1, "processed": 0}
    never = {"ready": 0, "completed": 0, "started": 0}
    optimizer = {
        "step": {"total": done, "current": done},
        "zero_grad": {"total": never, "current": never},
    }
    return {
        "epoch_loop.state_dict": {"_batches_that_stepped": step},
        "epoch_loop.batch_progress": {"total": batches, "current": batches, "is_last_batch": False},
        "epoch_loop.scheduler_progress": {"total": done, "current": done},
        "epoch_loop.automatic_optimization.optim_progress": {"optimizer": optimizer},
        "epoch_progress": {"total": one, "current": one},
    }


def _read(path: Path) -> Any:
    return torch.load(path, weights_only=True, map_location="cpu")


def _prefixed(weights: Tensors) -> dict[str, Tensor]:
    return {PREFIX + name: value for name, value in weights.items()}


def _plain(weights: Tensors) -> Tensors:
    return {name.removeprefix(PREFIX): value for name, value in weights.items()}
