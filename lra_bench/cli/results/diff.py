"""`lra-bench results diff`: what differs between two sets of records."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lra_bench.cli.results.common import SHOWN, cleared, counted, say, say_command, say_some

if TYPE_CHECKING:
    from lra_bench.core.record import RunRecord
    from lra_bench.report.files.differences import Differences, Pair


@click.command(
    epilog="""\b
Examples:
  lra-bench results diff runs/monday runs/tuesday
  lra-bench results diff results/their-name runs/our-repetition --all
  lra-bench results diff runs/monday runs/tuesday --json
"""
)
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="Name every trial, not the first few of a kind.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every trial.")
@click.pass_context
def diff(ctx: click.Context, first: Path, second: Path, everything: bool, as_json: bool) -> None:
    """Compare the records of A and B: runs, submissions, or folders of them.

    Trials are the same where their ids are. Exit code 0 where both have the same trials with the same outcomes, 1
    where not, 2 where they cannot be compared. Conditions that differ (code, packages, device, data) are shown and
    change no exit code.
    """
    import json

    from lra_bench.report.files.differences import differences

    found = differences(cleared([first]), cleared([second]))
    if as_json:
        click.echo(json.dumps(_facts(found), indent=2))
    else:
        _print(found, str(first), str(second), everything)
    ctx.exit(1 if found.any else 0)


def _facts(found: "Differences") -> dict[str, Any]:
    from lra_bench.report.files.differences import changes

    return {
        "same": found.same,
        "only_in_a": [record.trial_id for record in found.only_first],
        "only_in_b": [record.trial_id for record in found.only_second],
        "outcomes": [
            {
                "trial": pair[0].trial_id,
                "status": [str(record.status) for record in pair],
                "metrics": {each.name: [each.first, each.second] for each in changes(pair)},
            }
            for pair in found.outcomes
        ],
        "conditions": [
            {"what": what, "a": was, "b": now, "trials": [pair[0].trial_id for pair in pairs]}
            for (what, was, now), pairs in found.conditions.items()
        ],
    }


def _print(found: "Differences", first: str, second: str, everything: bool) -> None:
    say(f"A: {first}")
    say(f"B: {second}")
    both = found.same + len(found.outcomes)
    say(f"{counted(both, 'trial')} in both: {found.same:,} with the same outcome, {len(found.outcomes):,} with another")
    say(f"{len(found.only_first):,} only in A, {len(found.only_second):,} only in B")
    for title, records in (("Only in A", found.only_first), ("Only in B", found.only_second)):
        _print_kind(title, [_named(record) for record in records], everything)
    _print_kind("Other outcomes", [_outcome(pair) for pair in found.outcomes], everything)
    lines = [
        f"{what}: {was} in A, {now} in B ({len(pairs):,} of {both:,})"
        for (what, was, now), pairs in found.conditions.items()
    ]
    _print_kind("Other conditions", lines, everything)
    longest = max(len(found.only_first), len(found.only_second), len(found.outcomes), len(lines))
    if longest > SHOWN and not everything:
        say_command(f"For every line: lra-bench results diff {first} {second} --all")


def _print_kind(title: str, lines: Sequence[str], everything: bool) -> None:
    if lines:
        click.echo(f"\n{title}")
        say_some(lines, everything, indent=2)


def _named(record: "RunRecord") -> str:
    """What a trial is, for people."""
    from lra_bench.report.aggregate import setting

    words = [f"{setting(record, 'task.name')} {setting(record, 'model.name')}"]
    words += [f"lr {setting(record, 'optim.lr')}", f"seed {record.seed}", str(record.status)]
    return f"{record.trial_id}: {', '.join(words)}"


def _outcome(pair: "Pair") -> str:
    from lra_bench.report.files.differences import changes
    from lra_bench.report.formatting import number

    first, second = pair
    words = [] if first.status is second.status else [f"{first.status} in A, {second.status} in B"]
    for each in changes(pair):
        size = "" if each.size is None else f" ({each.size:+.2g})"
        words.append(f"{each.name} {number(each.first)} in A, {number(each.second)} in B{size}")
    return f"{_named(first)}: {'; '.join(words)}"
