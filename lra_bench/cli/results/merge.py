"""`lra-bench results merge`: from runs to a submission."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lra_bench.cli.results.common import cleared, counted, read, refuse, say, say_command

if TYPE_CHECKING:
    from lra_bench.report.files.submissions import Submission
    from lra_bench.report.trial import Trial


@click.command(
    epilog="""\b
Examples:
  lra-bench results merge runs/quickstart --out results/my-lab --by "My Lab"
  lra-bench results merge runs/monday runs/tuesday --out results/my-lab --by "My Lab" \\
    --contact lab@example.org --url https://example.org/paper
\b
The folder holds submission.yaml, which lists the SHA-256 of every record, and records/TRIAL_ID.json.
To submit it, open a pull request that adds the folder.
"""
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write; its name is the name.")
@click.option("--by", help="Who measured. Needed the first time.")
@click.option("--contact", help="Where questions are answered.")
@click.option("--url", help="Of a paper or of code.")
@click.option("--notes", help="What a reader should know.")
def merge(
    runs: tuple[Path, ...], out: Path, by: str | None, contact: str | None, url: str | None, notes: str | None
) -> None:
    """Put the records at or below RUNS together in one folder that can be sent.

    RUNS are run folders, records or other submissions. Records keep their bytes; failed trials are results and belong
    to it; trials that are not over are left out. Run again with more RUNS, it adds the new trials and changes nothing
    else.
    """
    from lra_bench.report.files import merging
    from lra_bench.report.files.submissions import described

    given = {"by": by, "contact": contact, "url": url, "notes": notes}
    submission = described(out, {name: value for name, value in given.items() if value is not None})
    trials = cleared(runs)
    done = merging.merge([*_there(out, submission, trials), *trials], out, submission)
    say(f"{out}: {counted(done.added, 'trial')} added, {done.there:,} there before")
    if done.unfinished:
        say(f"{counted(done.unfinished, 'trial')} left out, not over yet")
    say_command(f"Next: lra-bench results validate {out}")
    say("To submit, open a pull request that adds the folder.")


def _there(out: Path, submission: "Submission", trials: "list[Trial]") -> "list[Trial]":
    """The trials that a submission has. Files that an earlier merge did not come to list are no hindrance."""
    if not submission.records:
        return []
    coming = {f"{trial.record.trial_id}.json" for trial in trials} - submission.records.keys()
    there, problems = read([out])
    refuse([problem for problem in problems if problem.place.name not in coming], [out])
    return there
