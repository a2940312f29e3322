"""What the commands on records share."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lra_bench.cli.progress import progress

if TYPE_CHECKING:
    from lra_bench.report.content import Problem
    from lra_bench.report.trial import Trial

WIDTH = 100
SHOWN = 5
"""Lines of a kind that are printed without being asked for."""


def say(text: str, indent: int = 0) -> None:
    """Print one line of text, wrapped; records and files may hold anything, so control characters are left out."""
    from lra_bench.report.formatting import printable

    first, rest = " " * indent, " " * (indent + 2)
    for line in textwrap.wrap(
        printable(text), WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    ):
        click.echo(line)


def say_command(text: str) -> None:
    """Print a line with a command, which is not wrapped, so that it can be copied."""
    from lra_bench.report.formatting import printable

    click.echo(printable(text))


def say_some(lines: Sequence[str], everything: bool, indent: int = 4) -> None:
    """Print lines, or the first few and how many there are more."""
    shown = lines if everything else lines[:SHOWN]
    for line in shown:
        say(line, indent)
    if len(shown) < len(lines):
        say(f"... and {len(lines) - len(shown):,} more", indent)


def counted(number: int, thing: str) -> str:
    """Such as "1 record" or "2,000 records"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def read(paths: Sequence[Path]) -> "tuple[list[Trial], list[Problem]]":
    """`find_trials` with a bar where there is somebody to see it."""
    from lra_bench.report.files.records import find_trials

    with progress("reading records") as on_file:
        return find_trials(paths, on_file)


def cleared(paths: Sequence[Path]) -> "list[Trial]":
    """The trials at or below some paths, for a command that needs every file to be a record.

    Raises:
        LraBenchError: as `find_trials`, or a file is of no use.
    """
    trials, problems = read(paths)
    refuse(problems, paths)
    return trials


def refuse(problems: "Sequence[Problem]", paths: Sequence[Path]) -> None:
    """Raise an `LraBenchError` that names the first problem, if there is one."""
    from lra_bench.core.errors import LraBenchError
    from lra_bench.report.formatting import printable

    if problems:
        first = printable(f"{problems[0].place} {problems[0].reason}")
        others = f" (and {counted(len(problems) - 1, 'other file')})" if len(problems) > 1 else ""
        raise LraBenchError(f"{first}{others}. For all: lra-bench results validate {' '.join(map(str, paths))}")
