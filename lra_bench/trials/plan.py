"""From a sweep to cells: every config is composed and checked before anything is written or run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lra_bench.building import build_task
from lra_bench.config.compose import compose, to_yaml
from lra_bench.config.identity import trial_folder
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
    """

    config: Config
    folder: Path


def cell_of(config: Config) -> Cell:
    """The cell of a composed config."""
    version = TASKS.load(config.task.name, SequenceDataModule).VERSION
    return Cell(config, trial_folder(config, version))


def plan(sweep: Sweep, extra: Sequence[str] = ()) -> list[Cell]:
    """Compose every cell of a sweep.

    Args:
        sweep: whose name becomes the study.
        extra: `key=value` words that hold for all cells and win over the sweep's own.

    Raises:
        ConfigError: a cell does not compose, or two cells are the same trial.
    """
    cells: dict[Path, Cell] = {}
    for words in sweep.cells:
        cell = cell_of(compose([f"study={sweep.name}", *words, *extra]).config)
        if cell.folder in cells:
            raise ConfigError(f"two cells of the sweep '{sweep.name}' are the same trial: {' '.join([*words, *extra])}")
        cells[cell.folder] = cell
    return list(cells.values())


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
