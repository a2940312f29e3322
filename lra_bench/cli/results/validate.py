"""`lra-bench results validate`: whether records may stand on a leaderboard."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lra_bench.cli.results.common import counted, read, say, say_command, say_some

if TYPE_CHECKING:
    from lra_bench.core.record import RunRecord
    from lra_bench.report.files.checks import Finding
    from lra_bench.report.trial import Trial


@click.command(
    epilog="""\b
Examples:
  lra-bench results validate results/their-name
  lra-bench results validate runs/quickstart --all
  lra-bench results validate results --json
"""
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="Name every file and row, not the first few of a kind.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every finding.")
@click.pass_context
def validate(ctx: click.Context, paths: tuple[Path, ...], everything: bool, as_json: bool) -> None:
    """Check the records at or below PATHS: runs, submissions, or folders of them.

    Errors must be mended: files that are no records or were changed, trials that are missing, conditions that are not
    known. Warnings are what a reader should know. Exit code 1 where there are errors.
    """
    import json

    trials, findings = _checked(paths)
    failed = any(finding.error for finding in findings)
    if as_json:
        click.echo(json.dumps(_facts(trials, findings), indent=2))
    else:
        _print_counts(trials)
        for error, title in ((True, "Errors"), (False, "Warnings")):
            _print_findings(title, [each for each in findings if each.error is error], len(trials), everything)
        _print_end(paths, trials, findings)
    ctx.exit(1 if failed else 0)


def _checked(paths: Sequence[Path]) -> "tuple[list[Trial], list[Finding]]":
    from lra_bench.report.files.checks import Finding, check_rows, check_trial

    trials, problems = read(paths)
    findings = [Finding(True, problem.reason, str(problem.place)) for problem in problems]
    for trial in trials:
        findings += check_trial(trial)
        findings += (Finding(True, text, str(trial.file)) for text in _identity(trial.record))
    return trials, sorted([*findings, *check_rows(trials)])


def _identity(record: "RunRecord") -> list[str]:
    """What is wrong with a trial's id; not known of a trial that failed before it had a task, or of other code."""
    from lra_bench.config.identity import recorded_id
    from lra_bench.report.files.checks import of_other_code

    if record.task is None or of_other_code(record):
        return []
    fits = recorded_id(record.config, record.task.version) == record.trial_id
    return [] if fits else ["its trial id is not that of its config"]


def _facts(trials: "Sequence[Trial]", findings: "Sequence[Finding]") -> dict[str, object]:
    def listed(error: bool) -> list[dict[str, str]]:
        return [{"place": each.place, "text": each.text} for each in findings if each.error is error]

    errors = listed(error=True)
    return {"valid": not errors, "records": len(trials), "errors": errors, "warnings": listed(error=False)}


def _print_counts(trials: "Sequence[Trial]") -> None:
    def by(names: "Iterable[str]") -> str:
        return ", ".join(f"{name} {count:,}" for name, count in sorted(Counter(names).items()))

    say(counted(len(trials), "record"))
    if trials:
        records = [trial.record for trial in trials]
        say(f"tasks: {by(record.task.name if record.task else 'unknown' for record in records)}", 2)
        say(f"statuses: {by(str(record.status) for record in records)}", 2)
        say(f"protocols: {by(record.protocol for record in records)}", 2)
    submissions = {trial.submission for trial in trials} - {None}
    if submissions:
        say(f"submissions: {by(str(trial.submission) for trial in trials if trial.submission)}", 2)


def _print_findings(title: str, findings: "Sequence[Finding]", records: int, everything: bool) -> None:
    """Each kind once, with its places, unless these are all there are."""
    places = defaultdict(list)
    for finding in findings:
        places[finding.text].append(finding.place)
    if places:
        click.echo(f"\n{title}")
    for text, where in places.items():
        if 1 < len(where) == records and not everything:
            say(f"{text} (all {records:,})", 2)
        else:
            say(f"{text} ({len(where):,})", 2)
            say_some(where, everything)


def _print_end(paths: Sequence[Path], trials: "Sequence[Trial]", findings: "Sequence[Finding]") -> None:
    errors = sum(finding.error for finding in findings)
    places = " ".join(map(str, paths))
    click.echo()
    say(f"{counted(errors, 'error')}, {counted(len(findings) - errors, 'warning')}")
    if errors:
        say_command(f"Mend the errors, then: lra-bench results validate {places}")
    elif all(trial.submission is None for trial in trials):
        say_command(f"To put them together to be sent: lra-bench results merge {places} --out results/NAME --by WHO")
    else:
        say_command(f"Next: lra-bench report {places} --out report")
        say("To submit, open a pull request that adds the folder.")
