"""`--vectorize`: which cells are trained together, and what is said of it before they are run."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from lra_bench.trials.grouping import Grouping
    from lra_bench.trials.plan import Cell
    from lra_bench.trials.slots import Slot

Vectorize = Literal["auto", "on", "off"]

VECTORIZE = click.option(
    "--vectorize",
    type=click.Choice(["auto", "on", "off"]),
    is_flag=False,
    flag_value="on",
    default="auto",
    show_default=True,
    help="Train cells that differ only in numbers (rates, other optimizer numbers, seeds) in one program, which is "
    "faster where steps are small and gives the same records up to rounding. auto: four or more cells of models and "
    "tasks of lra-bench whose steps are small. on, or no value: whatever can be. off: each cell in a process of its "
    "own.",
)


def chosen(cells: "Sequence[Cell]", slots: "Sequence[Slot]", vectorize: Vectorize) -> "Grouping":
    """How cells that are not done are to be run."""
    from lra_bench.trials.grouping import Grouping, grouped
    from lra_bench.trials.launchers.local import start_server
    from lra_bench.trials.memory import bytes_per_slot

    if not cells:
        return Grouping((), {})
    if vectorize == "off":
        return Grouping((), {"--vectorize off": tuple(cells)})
    start_server(cells)
    return grouped(cells, len(slots), bytes_per_slot(slots), vectorize)


def described(grouping: "Grouping") -> Iterator[str]:
    """Lines on how the cells are run."""
    if grouping.programs:
        sizes = sorted({len(cells) for cells in grouping.programs})
        many = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
        yield f"Together: {sum(map(len, grouping.programs))} cells in {len(grouping.programs)} programs of {many}"
    for reason, cells in grouping.alone.items():
        names = ", ".join(dict.fromkeys(f"{cell.config.model.name} on {cell.config.task.name}" for cell in cells))
        yield f"One by one: {len(cells)} cells, {names}: {reason}"
