"""Pathfinder images: two long snakes of paddles, short distractor snakes, two dots; are the dots on one snake?

The procedure, and what was chosen where it leaves something open, is described in `pathfinder_drawing`, and details of
growth in `pathfinder_growth`. NumPy and Pillow alone: usable without torch, Lightning or any trainer.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lra_bench.tasks.pathfinder_drawing import LRA, Drawing, Point, draw_dots, grey_levels
from lra_bench.tasks.pathfinder_growth import DEGREES, GrowingSnake, Occupancy, Stencils, stencils_of

PAPER = 255
"""Grey level between the samples of a contact sheet."""


@dataclass(frozen=True)
class Snake:
    """The paddles of one snake in order, in pixels (y, x), as drawn.

    Attributes:
        near: (n, 2) float64, the end of each paddle towards the snake's first tip.
        far: (n, 2) float64, the other end. Whole pixels are the first near end, and all but the first far end.
    """

    near: NDArray[np.float64]
    far: NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """What was drawn.

    Attributes:
        targets: the two long snakes.
        distractors: the short snakes, in the order of drawing.
        origin_on: index of the target snake whose first tip, `near[0]`, has a dot.
        terminal_on: index of the target snake whose last tip, `far[-1]`, has a dot.
        dots: centres of these two dots.
    """

    targets: tuple[Snake, Snake]
    distractors: tuple[Snake, ...]
    origin_on: int
    terminal_on: int
    dots: tuple[Point, Point]


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        pixels: (R, R) uint8.
        label: 1 if both dots lie on the same snake, else 0.
        margin: m of its paddles, in pixels.
        geometry: what was drawn.
        drawing: with which parameters.
    """

    pixels: NDArray[np.uint8]
    label: int
    margin: int
    geometry: Geometry
    drawing: Drawing


def draw_samples(seed_words: Sequence[int], drawing: Drawing, first: int, count: int) -> list[Sample]:
    """Samples first, ..., first + count - 1 of a seed. Sample i is a function of (seed_words, i) alone."""
    return [draw_sample(np.random.default_rng([*seed_words, i]), drawing) for i in range(first, first + count)]


def draw_sample(rng: np.random.Generator, drawing: Drawing) -> Sample:
    """Draw one image; its label is a fair coin."""
    label = int(rng.integers(2))
    margin = drawing.margins[rng.integers(len(drawing.margins))]
    stencils = stencils_of(drawing, margin)
    occupancy, targets = _grow_targets(rng, stencils)
    distractors = _grow_distractors(rng, stencils, occupancy)
    origin_on = int(rng.integers(2))
    terminal_on = origin_on if label else 1 - origin_on
    dots = targets[origin_on].starts[0], targets[terminal_on].starts[-1]
    snakes = _snake(targets[0]), _snake(targets[1])
    geometry = Geometry(snakes, tuple(map(_snake, distractors)), origin_on, terminal_on, dots)
    layers = _ink(stencils, targets), _ink(stencils, distractors), draw_dots(drawing, dots)
    return Sample(grey_levels(*layers, drawing), label, margin, geometry, drawing)


def metadata_line(drawing: Drawing, label: int, margin: int, batch: int, index: int) -> str:
    """The line of image `index` of a batch in metadata/<batch>.npy, a text file in spite of its name.

    Columns: folder, file, number, label, continuity, contour length, distractor length, paddle length, paddle
    thickness, margin, number of paddle contrasts (`accumulate_meta` in snakes2.py of drewlinsley/pathfinder).
    """
    snakes = drawing.continuity, drawing.contour_length, drawing.distractor_length
    paddles = drawing.paddle_length, drawing.paddle_thickness, margin, 1
    return " ".join(map(str, (f"imgs/{batch}", f"sample_{index}.png", index, label, *snakes, *paddles)))


def contact_sheet(
    seed_words: Sequence[int], resolutions: Sequence[int] = (32, 128), per_class: int = 16, columns: int = 4
) -> NDArray[np.uint8]:
    """A labelled picture of the first samples of each class: a band for each resolution, a block for each class."""
    bands = [_band(seed_words, resolution, per_class, columns) for resolution in resolutions]
    width = max(band.shape[1] for band in bands)
    return np.concatenate([np.pad(b, ((0, 0), (0, width - b.shape[1])), constant_values=PAPER) for b in bands])


def _band(seed_words: Sequence[int], resolution: int, per_class: int, columns: int) -> NDArray[np.uint8]:
    """Two blocks of samples of one resolution side by side, each under its title."""
    names = {1: "connected", 0: "not connected"}
    found: dict[int, list[NDArray[np.uint8]]] = {label: [] for label in names}
    zoom, gap = max(1, 128 // resolution), 4
    for index in itertools.count():
        if all(len(pictures) >= per_class for pictures in found.values()):
            break
        (sample,) = draw_samples(seed_words, LRA[resolution], index, 1)
        tile = np.kron(sample.pixels, np.ones((zoom, zoom), np.uint8))
        found[sample.label].append(np.pad(tile, ((0, gap), (0, gap)), constant_values=PAPER))
    blocks = []
    for label, pictures in found.items():
        rows = [np.concatenate(pictures[i : i + columns], axis=1) for i in range(0, per_class, columns)]
        grid = np.concatenate(rows)
        title = Image.new("L", (grid.shape[1], 20), PAPER)
        ImageDraw.Draw(title).text((2, 4), f"{resolution} x {resolution}, {names[label]} (label {label})", fill=0)
        blocks.append(np.pad(np.concatenate([np.asarray(title), grid]), ((4, 8), (8, 8)), constant_values=PAPER))
    return np.concatenate(blocks, axis=1)


def _grow_targets(rng: np.random.Generator, stencils: Stencils) -> tuple[Occupancy, tuple[GrowingSnake, GrowingSnake]]:
    """Try until two snakes have grown to full length, by turns."""
    empty = Occupancy.empty(stencils)
    while True:
        snakes = _begin_targets(rng, stencils)
        if snakes is None:
            continue
        occupancy = empty.copy()
        turns = (snake for _ in range(stencils.drawing.contour_length - 1) for snake in snakes)
        if all(snake.extend(rng, occupancy) for snake in turns):
            # The last paddle of the first snake is never taken: so did the generator of 2019.
            snakes[1].finish(occupancy)
            return occupancy, snakes


def _begin_targets(rng: np.random.Generator, stencils: Stencils) -> tuple[GrowingSnake, GrowingSnake] | None:
    """The first paddles of the two targets: one near the middle, the other at the seed distance from it."""
    first = _begin_near_middle(rng, stencils)
    if first is None:
        return None
    distance = stencils.drawing.seed_distance
    for _ in range(stencils.drawing.paddle_retries + 1):
        degree = int(rng.integers(DEGREES))
        around = int(rng.integers(DEGREES)) * math.pi / 180
        y, x = first.starts[0]
        tip = round(y + distance * math.sin(around)), round(x + distance * math.cos(around))
        second = GrowingSnake.begin(stencils, degree, tip)
        if second is not None:
            return first, second
    return None


def _begin_near_middle(rng: np.random.Generator, stencils: Stencils) -> GrowingSnake | None:
    """The first paddle of the first target."""
    for _ in range(stencils.drawing.paddle_retries + 1):
        degree = int(rng.integers(DEGREES))
        if degree not in stencils.middles:
            return None
        (top, left), (bottom, right) = stencils.middles[degree]
        tip = int(rng.integers(top, bottom + 1)), int(rng.integers(left, right + 1))
        snake = GrowingSnake.begin(stencils, degree, tip)
        if snake is not None:
            return snake
    return None


def _grow_distractors(rng: np.random.Generator, stencils: Stencils, occupancy: Occupancy) -> list[GrowingSnake]:
    """Grow as many distractors as find room. A failed try leaves no trace."""
    drawing = stencils.drawing
    grown = []
    for _ in range(drawing.distractors):
        for _ in range(drawing.distractor_retries + 1):
            snake = _begin_anywhere(rng, stencils, occupancy)
            if snake is None:
                continue
            trial = occupancy.copy()
            if all(snake.extend(rng, trial) for _ in range(drawing.distractor_length - 1)):
                snake.finish(trial)
                occupancy = trial
                grown.append(snake)
                break
    return grown


def _begin_anywhere(rng: np.random.Generator, stencils: Stencils, occupancy: Occupancy) -> GrowingSnake | None:
    """A first paddle where there is room."""
    for _ in range(stencils.drawing.paddle_retries + 1):
        degree = int(rng.integers(DEGREES))
        if degree not in stencils.covers:
            return None
        tips = occupancy.first_tips(stencils.covers[degree])
        if not len(tips):
            return None
        snake = GrowingSnake.begin(stencils, degree, divmod(int(rng.choice(tips)), stencils.drawing.window))
        if snake is not None:
            return snake
    return None


def _snake(grown: GrowingSnake) -> Snake:
    angles = np.array([direction.angle for direction in grown.directions])
    along = grown.stencils.drawing.paddle_length * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    starts = np.array(grown.starts, float)
    near, far = starts - along, starts.copy()
    near[0], far[0] = starts[0], starts[0] + along[0]
    return Snake(near, far)


def _ink(stencils: Stencils, snakes: Sequence[GrowingSnake]) -> NDArray[np.uint8]:
    """The paddles of some snakes (R, R) at contrast 1."""
    border = stencils.border
    canvas = np.zeros((stencils.stride, stencils.stride), np.uint8)
    for snake in snakes:
        for direction, (y, x) in zip(snake.directions, snake.starts, strict=True):
            sprite = direction.paddle.ink
            corner = border - len(sprite) // 2
            patch = canvas[y + corner :, x + corner :][: len(sprite), : len(sprite)]
            np.maximum(patch, sprite, out=patch)
    return canvas[border:-border, border:-border]
