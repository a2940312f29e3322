"""Examples of a task as people can look at them: text in the terminal, pictures and sequences in a PNG."""

import math
import textwrap
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lra_bench.core.batch import Batch
from lra_bench.core.files import replacing
from lra_bench.core.specs import InputKind
from lra_bench.data.datamodule import SequenceDataModule, Split
from lra_bench.report.formatting import printable

WIDTH = 96
LINES = 3
"""Size of the text shown of one sequence."""

PICTURE = 96
"""Pixels that a small picture is enlarged to, by a whole factor."""

GAP = 2
WHITE = 255


def show_examples(task: SequenceDataModule, split: Split, number: int, out: Path) -> None:
    """Print some examples of a split, spread evenly over it, or the first ones of an endless stream.

    Args:
        task: with its data prepared.
        split: of these.
        number: how many, or all there are.
        out: PNG file for what cannot be printed: pictures, real numbers, targets of steps.
    """
    source = task.source(split)
    size = number if source.size is None else source.size
    indices = [place * size // number for place in range(number)] if number < size else list(range(size))
    batch = source.__getitems__(indices)
    click.echo(f"{len(indices)} of {'endlessly many' if source.size is None else f'{size:,}'} examples, {split} split")
    if task.image_shape is not None:
        _show_pictures(task.image_shape, batch, out)
        return
    if task.spec.input is InputKind.TOKENS:
        _print_tokens(task, batch, indices)
    if task.spec.output.per_step or task.spec.input is InputKind.CONTINUOUS:
        _plot(task, task.decode(batch), indices, out)
        click.echo(f"Wrote {out}: inputs and targets of each example")


def contact_sheet(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W) or (N, H, W, 3) -> one picture, as square as can be, in rows from the left; small ones enlarged."""
    factor = max(1, PICTURE // pictures.shape[1])
    large = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    number, height, width = large.shape[:3]
    columns = math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    shape = rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *large.shape[3:]
    sheet = np.full(shape, WHITE, dtype=np.uint8)
    for place, picture in enumerate(large):
        top, left = (place // columns) * (height + GAP), (place % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def _show_pictures(shape: tuple[int, ...], batch: Batch, out: Path) -> None:
    from PIL import Image

    sheet = contact_sheet(batch.x.numpy().reshape(-1, *shape))
    with replacing(out) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
    labels = batch.y.tolist()
    columns = math.ceil(math.sqrt(len(labels)))
    for row, start in enumerate(range(0, len(labels), columns), start=1):
        click.echo(f"row {row}, labels: {' '.join(map(str, labels[start : start + columns]))}")
    click.echo(f"Wrote {out}: {' x '.join(map(str, shape))} pictures, in the order of the labels")


def _print_tokens(task: SequenceDataModule, batch: Batch, indices: list[int]) -> None:
    for place, index in enumerate(indices):
        click.echo(click.style(_title(task, batch, place, index), bold=True))
        for ids, mask in ((batch.x, batch.mask), (batch.x2, batch.mask2)):
            if ids is not None:
                real = ids[place] if mask is None else ids[place][mask[place]]
                _print_cut(f"{len(real):,} steps: {task.words(real.numpy())}")
        if task.spec.output.per_step:
            counted = batch.y[place] if batch.y_mask is None else batch.y[place][batch.y_mask[place]]
            _print_cut(f"{len(counted):,} targets: {' '.join(map(str, counted.tolist()))}")


def _print_cut(text: str) -> None:
    lines = textwrap.wrap(printable(text), WIDTH, max_lines=LINES, placeholder=" ...")
    click.echo(textwrap.indent("\n".join(lines), "  "))


def _title(task: SequenceDataModule, batch: Batch, place: int, index: int) -> str:
    """Number, label and group of an example."""
    label = "" if task.spec.output.per_step else f", label {batch.y[place].item()}"
    group = "" if batch.group is None else f", {task.spec.groups[int(batch.group[place])]}"
    return f"example {index:,}{label}{group}"


def _plot(task: SequenceDataModule, batch: Batch, indices: list[int], out: Path) -> None:
    """A line of panels for each example: inputs, and targets where each step has one."""
    from lra_bench.report.figures.sequences import Panel, sequences_figure
    from lra_bench.report.figures.style import write_png

    lines = []
    for place, index in enumerate(indices):
        line = [Panel(_title(task, batch, place, index), batch.x[place].numpy(), _row(batch.mask, place))]
        if task.spec.output.per_step:
            line.append(Panel("targets", batch.y[place].numpy(), _row(batch.y_mask, place)))
        lines.append(line)
    write_png(sequences_figure(lines), out)


def _row(mask: Tensor | None, place: int) -> NDArray[np.bool_] | None:
    return None if mask is None else mask[place].numpy()
