"""Records of trials whose runs on W&B hold the main results only, as those of older versions of lra-bench do."""

from collections.abc import Callable
from typing import Any

from lra_bench.core.errors import LraBenchError
from lra_bench.core.record import (
    Budget,
    CurvePoint,
    Environment,
    ModelInfo,
    RunRecord,
    Selection,
    Status,
    TaskInfo,
)
from lra_bench.core.specs import TaskSpec
from lra_bench.tracking.logged import LoggedRun, UnusableError, number, thinned

NOT_RECORDED = "not recorded"

Identify = Callable[[dict[str, Any]], tuple[str, TaskSpec]]
"""The id that the trial of a config has in this lra-bench, and what its task promises. Raises an LraBenchError where
the config is not understood."""


def rebuilt(run: LoggedRun, identify: Identify) -> RunRecord:
    """The record of a trial of ours, as far as its run holds it; it says that it is rebuilt.

    Args:
        run: that has the trial's config and main results.
        identify: confirms that this lra-bench has the version of the task which the trial had.

    Raises:
        UnusableError: the trial is not over, or the run is of another lra-bench.
    """
    summary, config, trial_id = run.summary, run.config["config"], run.config["trial"]
    if "status" not in summary:
        raise UnusableError("has no outcome: it was killed. To send it: lra-bench wandb push RUNS, where the trial ran")
    try:
        status = Status(summary["status"])
        if not status.finished:
            raise UnusableError(f"is not over: the trial was {status}")
        known_id, spec = identify(config)
        if known_id != trial_id:
            raise LraBenchError("its config and its task's version do not give its trial id")
        missing = f"rebuilt from W&B {run.path}, which does not hold the whole record"
        message = "; ".join([*([summary["message"]] if summary["message"] else []), missing])
        step, parameters = summary["selected_step"], summary["parameters"]
        return RunRecord(
            trial_id=trial_id,
            study=config["study"],
            status=status,
            message=message,
            model=None
            if parameters is None
            else ModelInfo(
                name=config["model"]["name"],
                origin=NOT_RECORDED,
                parameters=parameters,
                state_size=summary["state_size"],
                backend=NOT_RECORDED,
            ),
            task=TaskInfo(
                name=spec.name,
                version=spec.version,
                metric=spec.metric,
                higher_is_better=spec.higher_is_better,
                chance=spec.chance,
            ),
            track=config["track"],
            protocol=config["protocol"],
            seed=config["seed"],
            data_seed=config["data_seed"],
            config=config,
            budget=Budget(**{name: summary[name] for name in Budget.model_fields}),
            learning_rates={},
            selection=None if step is None else Selection(rule=NOT_RECORDED, step=step),
            val=_metrics("val/", summary) if step is not None else {},
            test=_metrics("test/", summary),
            curve=_curve(run),
            environment=Environment(
                commit=None,
                dirty=None,
                python=NOT_RECORDED,
                packages={},
                device=summary["device"],
                precision=config["train"]["precision"],
                threads=config["train"]["threads"],
            ),
        )
    except (LraBenchError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnusableError(
            f"was made by another lra-bench, whose record cannot be rebuilt here ({reason}). "
            "To send it whole: lra-bench wandb push RUNS, where the trial ran"
        ) from error


def _metrics(prefix: str, values: dict[str, Any]) -> dict[str, float | None]:
    """Metrics of one split, which is the beginning of their names."""
    return {name.removeprefix(prefix): number(values[name]) for name in sorted(values) if name.startswith(prefix)}


def _curve(run: LoggedRun) -> list[CurvePoint]:
    """All validations, and training losses in between."""
    points: list[CurvePoint] = []
    losses: list[CurvePoint] = []
    for row in run.rows():
        step, loss, val = row["_step"], number(row.get("train/loss")), _metrics("val/", row)
        if loss is not None:
            losses.append(CurvePoint(step=step, train_loss=loss))
        if val:
            points.append(CurvePoint(step=step, val=val))
    return sorted([*thinned(losses), *points], key=lambda point: point.step)
