"""How a Pathfinder snake grows, paddle by paddle, in a window that other snakes have partly taken.

The procedure is that named in `pathfinder_drawing`. L is the length of a paddle and m its margin. The pivot of a paddle
lies m before its near end; the next pivot lies L + 2 m further on, and the far end of the next paddle about L + m off.

Two details of the 2019 generator look like slips, but shape its images, and are kept. Both concern first paddles:

- Room for one is sought one pixel down and right of where it is then drawn, for the full pixels of its mask only.
- OpenCV's dilation gives minus infinity where the structuring element lies wholly outside the picture, and the
  generator takes that for no room at all. So directions whose element misses a corner are never used: at 32 px first
  targets have 31 of 360 directions, and most distractors fail, so that an image has about one.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lra_bench.core.errors import LraBenchError
from lra_bench.tasks.pathfinder_drawing import Drawing, Paddle, Point, disc, draw_paddle, reverse, step

DEGREES = 360
"""Directions 0..359 are whole degrees from -180 on, for first paddles; the others are those of the candidates."""
OCCUPIED = 77
"""For a first paddle a pixel is taken when its mask is at least this: above 0.3 of 255."""
COLLISION = 459
"""Paddles collide where their masks sum to at least this: 1.8 times 255."""
LEAST_WEIGHT = 1e-4 * 255
"""A snake is stuck when its candidates weigh less than this in total."""
LEAST_ROOM = 0.01
"""No distractor begins when less than this part of the window is free."""


@dataclass(frozen=True, slots=True)
class Direction:
    """What a paddle in one direction needs. Pixels are flat indices into `Occupancy.free`, relative to a point.

    Attributes:
        angle: of the paddle, from its near to its far end.
        advance: (L + 2 m) (sin, cos) of the angle, from its pivot to the next one before rounding.
        paddle: drawn from the near end for a whole degree, from the far end for a candidate.
        masked: (k,) pixels in the mask, relative to where the paddle is drawn from.
        left: (k,) uint8, 255 minus the mask.
        full: (j,) pixels in the mask where a collision is possible.
        needed: (j,) uint8, how much must be free there.
        ahead: the q candidates for the next paddle that have a weight.
        turns: (q,) their weights, cos^2 of the turn times the continuity.
        around: (d, q) the d pixels within the margin of each, relative to the next pivot.
    """

    angle: float
    advance: tuple[float, float]
    paddle: Paddle
    masked: NDArray[np.int64]
    left: NDArray[np.uint8]
    full: NDArray[np.int64]
    needed: NDArray[np.uint8]
    ahead: list[int]
    turns: NDArray[np.float64]
    around: NDArray[np.int64]


class Stencils:
    """Tables for one drawing and margin.

    Attributes:
        drawing: parameters.
        margin: m.
        reach: how far pixels lie at most from the point they are relative to.
        overhang: more than a pivot may lie outside the window.
        border: width of the border around the window in `Occupancy.free`, the sum of both.
        stride: width of that array.
        candidates: offsets from a pivot to the far end of its paddle.
        directions: 360 whole degrees from -180 on, then those of the candidates.
        covers: for each whole degree that may be used, the offsets from the first tip that must be free.
        middles: for each whole degree that the first target may begin with, the least and the greatest first tip; it
            keeps off a border of twice the seed distance.

    Raises:
        LraBenchError: there is no room for a first target.
    """

    def __init__(self, drawing: Drawing, margin: int) -> None:
        self.drawing = drawing
        self.margin = margin
        self.reach = drawing.half_size(2 * margin) + 1
        self.overhang = margin + 4
        self.border = self.reach + self.overhang
        self.stride = drawing.window + 2 * self.border
        radius = drawing.paddle_length + margin
        turn = np.arange(0, 2 * np.pi, 1 / radius)
        circle = radius * np.stack([np.sin(turn), np.cos(turn)], axis=1)
        self.candidates: list[Point] = [(y, x) for y, x in np.unique(np.floor(circle).astype(int), axis=0).tolist()]
        degrees = [self._direction(degree * math.pi / 180, backwards=False) for degree in range(-180, 180)]
        others = [self._direction(math.atan2(y, x), backwards=True) for y, x in self.candidates]
        self.directions = degrees + others
        covers = {degree: self._cover(direction.paddle) for degree, direction in enumerate(degrees)}
        self.covers = {degree: cover for degree, cover in covers.items() if _meets_all_corners(cover)}
        middles = {degree: self._middle(np.array(cover)) for degree, cover in self.covers.items()}
        self.middles = {degree: (a, b) for degree, (a, b) in middles.items() if a[0] <= b[0] and a[1] <= b[1]}
        if not self.middles:
            raise LraBenchError("Pathfinder: no room for a first paddle; enlarge window or lessen seed_distance")

    def _flat(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Flat indices (...,) of offsets (..., 2), relative to `reach` above and left of a point."""
        return (offsets + self.reach) @ np.array([self.stride, 1])

    def _direction(self, angle: float, backwards: bool) -> Direction:
        distance = self.drawing.paddle_length + 2 * self.margin
        paddle = draw_paddle(self.drawing, self.margin, reverse(angle) if backwards else angle)
        mask, centre = paddle.mask, len(paddle.mask) // 2
        collided = mask.astype(int) + 255 - COLLISION + 1
        turns = np.array([self._weight(angle, math.atan2(y, x)) for y, x in self.candidates])
        ahead = np.flatnonzero(turns)
        around = np.array(disc(self.margin))[:, None] + np.array(self.candidates)[ahead]
        return Direction(
            angle=angle,
            advance=(distance * math.sin(angle), distance * math.cos(angle)),
            paddle=paddle,
            masked=self._flat(np.argwhere(mask) - centre),
            left=255 - mask[mask > 0],
            full=self._flat(np.argwhere(collided > 0) - centre),
            needed=collided[collided > 0].astype(np.uint8),
            ahead=ahead.tolist(),
            turns=turns[ahead],
            around=self._flat(around),
        )

    def _weight(self, last: float, angle: float) -> float:
        turn = min(abs(angle - last), 2 * math.pi - abs(angle - last)) * self.drawing.continuity
        return math.cos(turn) ** 2 if turn < math.pi / 2 else 0.0

    def _cover(self, paddle: Paddle) -> list[Point]:
        offsets = np.argwhere(paddle.mask == 255) - len(paddle.mask) // 2 + 1
        within = np.abs(offsets).max(axis=1) <= self.drawing.paddle_length + self.margin
        return [(y, x) for y, x in offsets[within].tolist()]

    def _middle(self, cover: NDArray[np.int64]) -> tuple[Point, Point]:
        border = 2 * self.drawing.seed_distance
        top, left = (border - cover.min(axis=0)).tolist()
        bottom, right = (self.drawing.window - 1 - border - cover.max(axis=0)).tolist()
        return (top, left), (bottom, right)


def _meets_all_corners(cover: list[Point]) -> bool:
    return all(any(y * dy <= 0 and x * dx <= 0 for dy, dx in cover) for y in (-1, 1) for x in (-1, 1))


@lru_cache(maxsize=16)
def stencils_of(drawing: Drawing, margin: int) -> Stencils:
    """The tables, made once per process."""
    return Stencils(drawing, margin)


class Occupancy:
    """What the snakes of an image have left free.

    Beyond the window nothing is free. There the 2019 generator tests nothing, which is the same: what comes near the
    edge or collides beyond it meets the frame first.

    Attributes:
        stencils: tables.
        free: (stride * stride,) uint8, 255 minus the maximum of the masks of the frame and of the paddles so far.
    """

    def __init__(self, stencils: Stencils, free: NDArray[np.uint8]) -> None:
        self.stencils = stencils
        self.free = free

    @classmethod
    def empty(cls, stencils: Stencils) -> "Occupancy":
        """Nothing but the frame is taken."""
        free = np.zeros((stencils.stride, stencils.stride), np.uint8)
        frame = stencils.border + stencils.drawing.padding
        free[frame:-frame, frame:-frame] = 255
        return cls(stencils, free.reshape(-1))

    def copy(self) -> "Occupancy":
        """An independent copy."""
        return Occupancy(self.stencils, self.free.copy())

    def near(self, point: Point) -> NDArray[np.uint8]:
        """View of `free`, to be indexed with pixels relative to a point of the window or at most m + 3 off it."""
        overhang = self.stencils.overhang
        return self.free[(point[0] + overhang) * self.stencils.stride + point[1] + overhang :]

    def bears(self, direction: Direction, start: Point) -> bool:
        """Whether a paddle drawn from `start` collides with nothing."""
        return not np.count_nonzero(self.near(start).take(direction.full) < direction.needed)

    def add(self, direction: Direction, start: Point) -> None:
        """Take the mask of a paddle drawn from `start`."""
        near = self.near(start)
        near[direction.masked] = np.minimum(near.take(direction.masked), direction.left)

    def first_tips(self, cover: list[Point]) -> NDArray[np.int64]:
        """Flat indices of the pixels of the window where a new snake may begin; none if hardly anything is free."""
        window, border = self.stencils.drawing.window, self.stencils.border
        inside = slice(border, -border)
        padded = np.zeros((self.stencils.stride, self.stencils.stride), bool)
        taken = padded[inside, inside]
        taken[:] = self.free.reshape(padded.shape)[inside, inside] <= 255 - OCCUPIED
        if 1 - np.count_nonzero(taken) / taken.size < LEAST_ROOM:
            return np.zeros(0, np.int64)
        blocked = np.zeros((window, window), bool)
        for dy, dx in cover:
            blocked |= padded[border + dy :, border + dx :][:window, :window]
        return np.flatnonzero(~blocked)


class GrowingSnake:
    """A snake so far. The mask of its last paddle is not yet taken, so that the next one may begin beside it.

    Hence two snakes that grow by turns sometimes cross, as those of the 2019 generator do.

    Attributes:
        stencils: tables.
        directions: of its paddles.
        starts: where they are drawn from: the first one's near end, the others' far ends.
        pivot: of the last paddle.
    """

    def __init__(self, stencils: Stencils, direction: Direction, tip: Point, pivot: Point) -> None:
        self.stencils = stencils
        self.directions = [direction]
        self.starts = [tip]
        self.pivot = pivot

    @classmethod
    def begin(cls, stencils: Stencils, degree: int, tip: Point) -> "GrowingSnake | None":
        """A snake of one paddle from `tip` on, or None if the paddle or its pivot leaves the window."""
        direction, length = stencils.directions[degree], stencils.drawing.paddle_length
        head = step(tip, direction.angle, length)
        pivot = step(head, reverse(direction.angle), length + stencils.margin)
        if all(0 <= c < stencils.drawing.window for c in (*head, *pivot)):
            return cls(stencils, direction, tip, pivot)
        return None

    def extend(self, rng: np.random.Generator, occupancy: Occupancy) -> bool:
        """Try to add a paddle, and if it fits, take the mask of the one before."""
        last, stencils = self.directions[-1], self.stencils
        pivot = math.ceil(self.pivot[0] + last.advance[0]), math.ceil(self.pivot[1] + last.advance[1])
        room = np.minimum.reduce(occupancy.near(pivot).take(last.around))
        cumulative = np.add.accumulate(room * last.turns)
        total = cumulative[-1]
        if total < LEAST_WEIGHT:
            return False
        for _ in range(stencils.drawing.paddle_retries + 1):
            chosen = last.ahead[cumulative.searchsorted(rng.random() * total, side="right")]
            direction, offset = stencils.directions[DEGREES + chosen], stencils.candidates[chosen]
            far = pivot[0] + offset[0], pivot[1] + offset[1]
            if occupancy.bears(direction, far):
                occupancy.add(last, self.starts[-1])
                self.directions.append(direction)
                self.starts.append(far)
                self.pivot = pivot
                return True
        return False

    def finish(self, occupancy: Occupancy) -> None:
        """Take the mask of the last paddle too."""
        occupancy.add(self.directions[-1], self.starts[-1])
