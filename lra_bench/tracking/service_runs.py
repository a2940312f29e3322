"""Reading the runs of a project on W&B's service, through its public API."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lra_bench.core.errors import LraBenchError
from lra_bench.tracking.decision import login_found
from lra_bench.tracking.logged import FoundRun, LoggedRun, Row
from lra_bench.tracking.push import ASKED, service_errors

if TYPE_CHECKING:
    from wandb.apis.public import Run


def service_runs(project: str, entity: str | None) -> Iterator[FoundRun]:
    """The runs of a project, asked for many at a time.

    Args:
        project: ENTITY/PROJECT, or PROJECT.
        entity: user or team; None is the one in `project`, or else the user's own.

    Raises:
        LraBenchError: there is no login, W&B does not answer, or there is no such project for this login.
    """
    if not login_found():
        raise LraBenchError(f"there is no folder {project}, and no W&B login to look for a project: run `wandb login`")
    named, _, name = project.rpartition("/")
    with service_errors():
        import wandb

        api = wandb.Api()
        home = f"{entity or named or api.default_entity}/{name}"
        runs = api.runs(home, order="+created_at", per_page=ASKED, lazy=False)
        try:
            len(runs)
        except ValueError as error:
            raise LraBenchError(
                f"this login sees no project {home} on W&B, and there is no folder {project}"
            ) from error
        for run in runs:
            logged = _logged(run)
            yield FoundRun(logged.name, [logged])


def _logged(run: "Run") -> LoggedRun:
    attributes: dict[str, Any] = run._attrs
    return LoggedRun(
        name=f"{run.entity}/{run.project}/{run.id}",
        entity=run.entity,
        project=run.project,
        run_id=run.id,
        state=run.state,
        damage=None,
        job_type=attributes.get("jobType"),
        config=run.config,
        summary=run.summary_metrics,
        rows=lambda: _history(run),
        url=run.url,
        commit=attributes.get("commit"),
    )


def _history(run: "Run") -> list[Row]:
    """All rows that the service keeps for curves, in order."""
    with service_errors():
        rows: Any = run.history(samples=run._attrs.get("historyLineCount") or 1, pandas=False)
    return list(rows)
