"""`lra-bench data`: the data sets on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lra_bench.data.datamodule import Split

TASK = click.argument("task")
TASKS = click.argument("tasks", nargs=-1, metavar="[TASK]...")
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


@click.group()
def data() -> None:
    """Prepare data sets, look at them, carry them to other machines.

    They are kept in the folder LRA_BENCH_DATA_DIR, or else in the user's cache folder.
    """


@data.command(
    epilog="""\b
Examples:
  lra-bench data prepare text
  lra-bench data prepare text --source aclImdb_v1.tar.gz
  lra-bench data prepare listops --size small --jobs 4
  lra-bench data prepare listops data_seed=1
"""
)
@TASK
@OVERRIDES
@click.option("--source", metavar="PATH_OR_URL", help="Where to read: a folder, an archive, or the address of one.")
@click.option("--size", type=click.Choice(["full", "small", "tiny"]), help="Of a generated set; short for task.size.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes that generate. Default: one per core.")
def prepare(task: str, overrides: tuple[str, ...], source: str | None, size: str | None, jobs: int | None) -> None:
    """Read or generate the data of TASK once, so that training only opens them.

    After an interruption the same command goes on. What is prepared already is left as it is.
    """
    import time

    from lra_bench.building import build_task
    from lra_bench.cli.show import print_table
    from lra_bench.cli.stored import STREAMED, cores, summary
    from lra_bench.config.compose import compose_task
    from lra_bench.core.errors import ConfigError
    from lra_bench.data.prepared import Order, PreparedTask
    from lra_bench.data.store import State, state_of

    config = compose_task(task, overrides)
    if size is not None:
        if not hasattr(config.task, "size"):
            raise ConfigError(f"{task} comes in one size; leave out --size")
        config = compose_task(task, [*overrides, f"task.size={size}"])
    built = build_task(config)
    if not isinstance(built, PreparedTask):
        click.echo(f"{task} is {STREAMED}; there is nothing to prepare.")
    else:
        start = time.monotonic()
        ready = state_of(built.key())[0] is State.READY
        built.prepare(Order(source, jobs or cores(), show_progress=True))
        click.echo(f"{task} is {'prepared already' if ready else 'prepared'}.")
        rows = summary(config)
        print_table(["what", "found"], rows if ready else [*rows, ["seconds", f"{time.monotonic() - start:.1f}"]])
    words = "".join(f" {word}" for word in (*overrides, *([f"task.size={size}"] if size else [])))
    click.echo(f"next: lra-bench data show {task}{words}")
    click.echo(f"next: lra-bench train task={task} model=stu{words}")


@data.command(
    epilog="""\b
Examples:
  lra-bench data status
  lra-bench data status text listops --json
"""
)
@TASKS
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(tasks: tuple[str, ...], as_json: bool) -> None:
    """Show which data are ready, missing or wrong, how large they are, and how to prepare what is not there.

    This is about each task's default settings; other sets in the store are listed below.
    """
    import json
    from dataclasses import asdict

    from lra_bench.cli.stored import other_sets, print_status, task_state
    from lra_bench.core.registry import TASKS as KNOWN
    from lra_bench.data.store import store_folder

    for name in tasks:
        KNOWN.find(name)
    states = [task_state(name) for name in tasks or KNOWN.entries()]
    others = other_sets(states, of_these_only=bool(tasks))
    if as_json:
        found = {"store": str(store_folder()), "tasks": [*map(asdict, states)], "others": [*map(asdict, others)]}
        click.echo(json.dumps(found, indent=1))
    else:
        print_status(states, others)


@data.command(
    epilog="""\b
Examples:
  lra-bench data verify
  lra-bench data verify text
"""
)
@TASKS
def verify(tasks: tuple[str, ...]) -> None:
    """Read every set in the store again, or those of TASKS, and compare it with what was prepared.

    Exit code 2 if one is wrong.
    """
    from lra_bench.cli.stored import require_sets
    from lra_bench.core.errors import LraBenchError
    from lra_bench.data.store import store_folder
    from lra_bench.data.store import verify as verify_set

    folders, wrong = require_sets(tasks), 0
    for folder in folders:
        name = f"{folder.parent.name}/{folder.name}"
        try:
            verify_set(folder)
        except LraBenchError as error:
            wrong += 1
            click.echo(f"{click.style('WRONG', fg='red')}  {name}: {error}")
        else:
            click.echo(f"{click.style('ok   ', fg='green')}  {name}")
    if wrong:
        raise LraBenchError(f"{wrong} of {len(folders)} sets are wrong; delete their folders and prepare them again")
    click.echo(f"{len(folders)} checked, none wrong, in {store_folder()}")


@data.command(
    epilog="""\b
Examples:
  lra-bench data bundle lra-data.tar
  lra-bench data bundle text.tar text
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@TASKS
def bundle(file: Path, tasks: tuple[str, ...]) -> None:
    """Write the prepared sets, all or those of TASKS, into one uncompressed FILE.tar.

    To carry them to a cluster without internet. Every set of a task is bundled, of all sizes and data seeds.
    """
    from lra_bench.cli.stored import megabytes, require_sets
    from lra_bench.data.bundle import bundle as write_bundle

    folders = require_sets(tasks)
    write_bundle(file, folders, show_progress=True)
    for folder in folders:
        click.echo(f"{folder.parent.name}/{folder.name}")
    click.echo(f"Wrote {file}, {megabytes(file.stat().st_size)}")
    click.echo(f"next, on the other machine: lra-bench data unbundle {file.name}")


@data.command(
    epilog="""\b
Examples:
  lra-bench data unbundle lra-data.tar
"""
)
@click.argument("file", type=click.Path(path_type=Path))
def unbundle(file: Path) -> None:
    """Add the sets in a FILE that `data bundle` wrote to this machine's store. All of it is checked first."""
    from lra_bench.data.bundle import unbundle as read_bundle

    for name, outcome in read_bundle(file, show_progress=True).items():
        click.echo(f"{name}: {outcome}")
    click.echo("next: lra-bench data status")


@data.command(
    epilog="""\b
Examples:
  lra-bench data export text --to imdb
  lra-bench data export lds --to lds --format arrays
"""
)
@TASK
@OVERRIDES
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="New or empty folder.")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["official", "arrays"]),
    default="official",
    show_default=True,
    help="The files that others' code reads, or .npy arrays of each split.",
)
def export(task: str, overrides: tuple[str, ...], folder: Path, layout: str) -> None:
    """Write the data of TASK for other programs.

    Arrays work for every task: x, y and lengths of each split under the chosen protocol, and spec.json. Of a task that
    is generated while training, they hold 1,000 training examples.
    """
    from lra_bench.building import build_task
    from lra_bench.config.compose import compose_task
    from lra_bench.core.errors import ConfigError
    from lra_bench.data.export import export_arrays, new_folder
    from lra_bench.data.prepared import PreparedTask

    built = build_task(compose_task(task, overrides))
    if layout == "official" and not isinstance(built, PreparedTask):
        raise ConfigError(f"{task} has no official files; add --format arrays")
    built.require_data()
    with new_folder(folder) as part:
        if layout == "arrays":
            for split, size in export_arrays(built, part).items():
                click.echo(f"{split}: {size:,} examples")
        elif isinstance(built, PreparedTask):
            built.export(part)
    click.echo(f"Wrote {folder}")


@data.command(
    epilog="""\b
Examples:
  lra-bench data show text
  lra-bench data show image --split test --number 25 --out test.png
  lra-bench data show lds seed=3
"""
)
@TASK
@OVERRIDES
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="train", show_default=True)
@click.option("--number", type=click.IntRange(min=1, max=100), default=6, show_default=True, help="Examples.")
@click.option("--out", type=click.Path(path_type=Path), help="PNG for pictures and plots.  [default: TASK.png]")
def show(task: str, overrides: tuple[str, ...], split: "Split", number: int, out: Path | None) -> None:
    """Show a few examples of TASK: text in the terminal, pictures and sequences of numbers in a PNG."""
    from lra_bench.building import build_task
    from lra_bench.cli.showing import show_examples
    from lra_bench.config.compose import compose_task

    built = build_task(compose_task(task, overrides))
    built.require_data()
    show_examples(built, split, number, out or Path(f"{task.rpartition(':')[2]}.png"))
