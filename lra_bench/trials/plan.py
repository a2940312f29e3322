"""From a sweep to cells: every config is composed and checked before anything is written or run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lra_bench.config.compose import to_yaml
from lra_bench.config.composer import Composer
from lra_bench.config.identity import TrialIds
from lra_bench.config.schema import Config
from lra_bench.core.errors import ConfigError
from lra_bench.core.files import write_atomically
from lra_bench.core.registry import TASKS
from lra_bench.data.datamodule import SequenceDataModule
from lra_bench.trials.sweepfile import Sweep


@dataclass(frozen=True)
class Cell:
    """One trial to be run.

    Attributes:
        config: frozen.
        folder: the trial's own, a function of the config alone.
        words: that `lra-bench train` makes the same trial of; none where it was not planned from words.
    """

    config: Config
    folder: Path
    words: tuple[str, ...] = field(default=(), compare=False)


def cell_of(config: Config) -> Cell:
    """The cell of a composed config."""
    return Cell(config, TrialIds().folder(config, _version(config.task.name)))


def plan(sweep: Sweep, extra: Sequence[str] = ()) -> list[Cell]:
    """Compose every cell of a sweep.

    Args:
        sweep: whose name becomes the study.
        extra: `key=value` words that hold for all cells and win over the sweep's own.

    Raises:
        ConfigError: a cell does not compose, or two cells are the same trial.
    """
    composer, ids = Composer(), TrialIds()
    versions: dict[str, int] = {}
    cells: dict[Path, Cell] = {}
    for own in sweep.cells:
        words = (f"study={sweep.name}", *own, *extra)
        config = composer.compose(words)
        task = config.task.name
        if task not in versions:
            versions[task] = _version(task)
        cell = Cell(config, ids.folder(config, versions[task]), words)
        first = cells.setdefault(cell.folder, cell)
        if first is not cell:
            raise ConfigError(_same(sweep, first, cell))
    return list(cells.values())


def _version(task: str) -> int:
    version: int = TASKS.load(task, SequenceDataModule).VERSION
    return version


def _same(sweep: Sweep, first: Cell, second: Cell) -> str:
    """What to say of two cells that are one trial."""
    one, other = (" ".join(cell.words[1:]) for cell in (first, second))
    why = "the same words" if one == other else f"{other}; they differ in nothing that changes results"
    return f"two cells of the sweep '{sweep.name}' are the same trial, {first.folder.name}: {one} and {why}"


def shard(cells: Sequence[Cell], part: str) -> list[Cell]:
    """Part i of n of the cells, given as "i/n" from 1/n to n/n; the parts are disjoint and make up the whole.

    Every n-th cell, so that all parts have much the same mixture.

    Raises:
        ConfigError: not of that form.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count:
        raise ConfigError(f"--shard {part} is not of the form i/n, such as 1/4 for the first of four parts")
    return list(cells[index - 1 :: count])


def require_data(cells: Sequence[Cell]) -> None:
    """Make sure that the data of all cells are there before any of them is written or run.

    Raises:
        LraBenchError: data are not prepared; says which command to run.
    """
    from lra_bench.building import build_task  # brings the network's modules, which a plan does without

    seen = set()
    for cell in cells:
        what = repr((cell.config.task, cell.config.data_seed))
        if what not in seen:
            seen.add(what)
            build_task(cell.config).require_data()


def freeze(cell: Cell) -> None:
    """Write the cell's `config.yaml`, from which alone the trial is run."""
    path = cell.folder / "config.yaml"
    if not path.exists():
        cell.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, to_yaml(cell.config))
