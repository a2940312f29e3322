"""A study's tables and figures on W&B: one run, the same one every time."""

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lra_bench.core.record import RunRecord
from lra_bench.report.aggregate import aggregate
from lra_bench.report.board import Board
from lra_bench.report.figures.curves import curves_figure
from lra_bench.report.figures.rates import sensitivity_figure
from lra_bench.report.figures.style import write_png
from lra_bench.report.rate_table import rate_table
from lra_bench.report.trial import measured
from lra_bench.tracking.push import Trial, held_runs, service_errors
from lra_bench.tracking.runs import client_settings, offline_folders


def report_id(study: str) -> str:
    """The id of a study's report run."""
    return f"report-{hashlib.sha256(study.encode()).hexdigest()[:12]}"


def push_report(trials: Sequence[Trial], project: str | None, entity: str | None, offline: bool) -> str:
    """Log leaderboard, sensitivity and learning curves of each board of a study, if anything has changed.

    Args:
        trials: of one study, at least one.
        project: of W&B; None is what the first trial's config says.
        entity: of W&B; None is the user's own.
        offline: write an offline folder of W&B beside the trials' folders, in place of an earlier one.

    Returns:
        "there" where nothing has changed since the last time, else "made".

    Raises:
        LraBenchError: the records cannot be compared, or W&B does not answer or refuses.
    """
    records, study = [trial.record for trial in trials], trials[0].record.study
    boards = aggregate(measured(records))
    project = project or records[0].config["tracking"]["project"]
    digest = _digest(records)
    with service_errors(), tempfile.TemporaryDirectory(prefix="lra-bench-") as scratch:
        import wandb

        if offline:
            beside = trials[0].folder.parent
            for old in offline_folders(beside, report_id(study)):
                shutil.rmtree(old)
        else:
            api = wandb.Api()
            entity = entity or str(api.default_entity)
            held = held_runs(api, entity, project, [report_id(study)]).get(report_id(study))
            if held is not None and held.record == digest:
                return "there"
        run = wandb.init(
            entity=entity,
            project=project,
            id=report_id(study),
            name=f"report of {study}",
            group=study,
            job_type="report",
            dir=str(beside) if offline else scratch,
            config={"study": study},
            mode="offline" if offline else "online",
            resume=None if offline else "allow",
            reinit="create_new",
            settings=client_settings(of_this_machine=False),
        )
        panels = {key: panel for board in boards for key, panel in _panels(board, Path(scratch)).items()}
        run.log(panels, step=run.starting_step, commit=True)
        run.summary.update({"trials": len(records), "record": digest})
        run.finish()
    return "made"


def _panels(board: Board, scratch: Path) -> dict[str, Any]:
    """What is logged of a board, by key."""
    import wandb

    table = rate_table(board)
    columns: list[str | int] = [column.header for column in table.columns]
    panels: dict[str, Any] = {
        f"{board.label}/leaderboard": wandb.Table(columns, [[entry.text for entry in row] for row in table.rows])
    }
    for name, figure in (("sensitivity", sensitivity_figure(board)), ("curves", curves_figure(board))):
        path = scratch / "figure.png"
        write_png(figure, path)
        panels[f"{board.label}/{name}"] = wandb.Image(str(path), caption=f"{board.label}: {board.conditions}")
    return panels


def _digest(records: Sequence[RunRecord]) -> str:
    content = "".join(sorted(record.model_dump_json() for record in records))
    return hashlib.sha256(content.encode()).hexdigest()[:16]
