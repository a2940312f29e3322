"""The config that a trial is run from, as it stands in the trial's folder."""

from dataclasses import replace

from lra_bench.config.compose import load_frozen, to_yaml
from lra_bench.core.files import write_atomically
from lra_bench.trials.plan import Cell, freeze
from lra_bench.trials.state import set_aside

PLACE = ("accelerator", "devices", "strategy", "threads", "workers")
"""What says where a trial runs (`train.*`): a trial that goes on takes it from the command that goes on with it."""


def prepare(cell: Cell) -> Cell:
    """Freeze a cell, or adapt one that is frozen already to where it goes on now.

    Returns:
        The cell with the config that is in its folder.
    """
    path = cell.folder / "config.yaml"
    if not path.exists():
        freeze(cell)
        return cell
    frozen = load_frozen(path)
    train = cell.config.train
    changes = {key: getattr(train, key) for key in PLACE}
    if frozen.train.global_batch_size % (train.devices * frozen.train.accumulate):
        changes["accumulate"] = train.accumulate
    here = replace(frozen, train=replace(frozen.train, **changes))
    if here != frozen:
        write_atomically(path, to_yaml(here))
    return Cell(here, cell.folder)


def use_less_memory(cell: Cell) -> Cell | None:
    """Let a trial that ran out of memory be run again in micro-batches of half the size; its record is kept aside.

    The global batch stays the same. None, and nothing is changed, where micro-batches cannot be halved: there is an odd
    number of examples in each, or batch normalisation would see other batches.
    """
    train = cell.config.train
    accumulate = 2 * train.accumulate
    if cell.config.backbone.norm == "batch" or train.global_batch_size % (train.devices * accumulate):
        return None
    train = replace(train, accumulate=accumulate, eval_batch_size=max(1, train.eval_batch_size // 2))
    smaller = Cell(replace(cell.config, train=train), cell.folder)
    set_aside(cell.folder)
    freeze(smaller)
    return smaller
