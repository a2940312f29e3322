"""What a Pathfinder image is drawn with: parameters, paddles, their masks, dots, the final grey levels.

Pathfinder is due to Linsley et al. (arXiv 1805.08315) and Kim et al. (arXiv 1906.01558); LRA (arXiv 2011.04006) chose
the parameters below. The procedure is that of the generator which LRA names, `snakes2.py` of drewlinsley/pathfinder in
its 2019 state (ab9c130), written anew.

Coordinates are (y, x) in pixels, angles in radians; direction a points along (sin a, cos a). Grey levels and masks are
whole numbers from 0 to 255, as Pillow's Lanczos filter gives them.

Choices where the published procedure leaves something open:

- Brightness. Layers are combined in floating point (targets up to snake x paddle contrast, distractors up to the snake
  contrast, dots up to 1), then darkest..brightest is stretched to 0..255, as `scipy.misc.imsave` did at the time.
- 256 px takes the generator's defaults for what LRA does not state: padding 22, seed distance 27.
- No single paddles are strewn in, as in the generator's last wrapper script; LRA does not say.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lra_bench.core.errors import LraBenchError

Point = tuple[int, int]
"""(y, x) in whole pixels."""


@dataclass(frozen=True)
class Drawing:
    """Parameters of one resolution. Lengths are in pixels.

    Attributes:
        window: height and width R.
        margins: one, m, is drawn per image. Paddles keep m around them, and those of a snake lie 2 m apart.
        seed_distance: between the first tips of the two target snakes.
        marker_radius: of the dots.
        paddle_thickness: times `antialias` it must be a whole number.
        distractors: largest number of distractor snakes.
        snake_contrast: of distractors.
        paddle_contrast: that of targets is `snake_contrast` times this.
        paddle_length: L, from end to end.
        padding: width of the frame that paddles keep off; at least 1.
        antialias: how many times finer paddles and dots are drawn than they are shown.
        contour_length: paddles of each target snake.
        distractor_length: paddles of each distractor snake.
        continuity: a paddle may turn by less than 90 degrees divided by this.
        paddle_retries: further tries at placing one paddle.
        distractor_retries: further tries at growing one distractor.

    Raises:
        LraBenchError: no padding, or a thickness that the antialiasing does not make whole.
    """

    window: int
    margins: tuple[int, ...]
    seed_distance: int
    marker_radius: float
    paddle_thickness: float
    distractors: int
    snake_contrast: float
    paddle_contrast: float = 1.0
    paddle_length: int = 5
    padding: int = 1
    antialias: int = 2
    contour_length: int = 14
    distractor_length: int = 4
    continuity: float = 1.8
    paddle_retries: int = 2
    distractor_retries: int = 4

    def __post_init__(self) -> None:
        if self.padding < 1:
            raise LraBenchError(f"Pathfinder: padding must be at least 1, got {self.padding}")
        if self.paddle_thickness * self.antialias % 1:
            wanted = f"a multiple of 1/antialias = 1/{self.antialias}"
            raise LraBenchError(f"Pathfinder: paddle_thickness must be {wanted}, got {self.paddle_thickness}")

    def half_size(self, margin: int) -> int:
        """Pixels from the starting point of a paddle to the edges of its ink and mask."""
        return self.paddle_length + math.ceil(self.paddle_thickness) + margin


LRA: dict[int, Drawing] = {
    32: Drawing(32, (1,), 7, 1.5, 0.5, 5, 2, paddle_contrast=0.75, paddle_length=2, continuity=1.0),
    64: Drawing(64, (1,), 12, 2.5, 1, 5, 0.8),
    128: Drawing(128, (2, 3), 20, 3, 1.5, 8, 0.9),
    256: Drawing(256, (3,), 27, 5, 2, 7, 1.0, padding=22),
}
"""LRA's "hard" sets (curv_contour_length_14) by resolution; 32 is Pathfinder, 128 is Path-X."""


@dataclass(frozen=True)
class Paddle:
    """A paddle as square pictures with its starting point in the centre.

    Attributes:
        ink: (S, S) uint8, grey levels at contrast 1.
        mask: (S, S) uint8, the paddle widened by the margin.
    """

    ink: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def step(start: Point, angle: float, distance: float) -> Point:
    """Where a step ends, each coordinate rounded up."""
    return math.ceil(start[0] + distance * math.sin(angle)), math.ceil(start[1] + distance * math.cos(angle))


def reverse(angle: float) -> float:
    """The opposite direction, from -pi to pi."""
    return angle + math.pi if angle < 0 else angle - math.pi


def draw_paddle(drawing: Drawing, margin: int, angle: float) -> Paddle:
    """Draw the paddle that starts in the centre and points along `angle`."""
    fine, half = drawing.antialias, drawing.half_size(margin)
    size, centre = 2 * half + 1, half * fine
    y, x = step((centre, centre), angle, drawing.paddle_length * fine)
    image = Image.new("L", (2 * centre + 1, 2 * centre + 1))
    ImageDraw.Draw(image).line([(centre, centre), (x, y)], fill=255, width=round(drawing.paddle_thickness * fine))
    line = np.asarray(image)
    return Paddle(shrink(line, size, size), shrink(dilate(line, margin * fine), size, size))


def draw_dots(drawing: Drawing, centres: tuple[Point, ...]) -> NDArray[np.uint8]:
    """Grey levels (R, R) of dots at contrast 1.

    Each is drawn in a piece of the window that ends at the window's edge or more than the filter's reach (3 pixels)
    away from the disc, so the result is that of drawing in the whole window.
    """
    fine, reach = drawing.antialias, math.ceil(drawing.marker_radius) + 4
    canvas = np.zeros((drawing.window, drawing.window), np.uint8)
    for centre in centres:
        rows, columns = (slice(max(c - reach, 0), min(c + reach + 1, drawing.window)) for c in centre)
        y, x = np.ogrid[rows.start * fine : rows.stop * fine, columns.start * fine : columns.stop * fine]
        inside = (y - centre[0] * fine) ** 2 + (x - centre[1] * fine) ** 2 <= (drawing.marker_radius * fine) ** 2
        piece = canvas[rows, columns]
        np.maximum(piece, shrink(inside * np.uint8(255), *piece.shape), out=piece)
    return canvas


def shrink(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Reduce a picture to (height, width) with the Lanczos filter."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def dilate(picture: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Maximum over the disc of whole `radius` around each pixel; beyond the edges all is 0."""
    padded = np.pad(picture, radius)
    height, width = picture.shape
    shifted = [padded[radius + dy :, radius + dx :][:height, :width] for dy, dx in disc(radius)]
    return np.maximum.reduce(shifted)


def disc(radius: int) -> list[Point]:
    """Offsets of at most `radius` from the origin."""
    span = range(-radius, radius + 1)
    return [(y, x) for y in span for x in span if y * y + x * x <= radius * radius]


def grey_levels(
    targets: NDArray[np.uint8], distractors: NDArray[np.uint8], dots: NDArray[np.uint8], drawing: Drawing
) -> NDArray[np.uint8]:
    """Combine the layers (R, R) at their contrasts by maximum, and stretch darkest..brightest to 0..255.

    Paddles pass through float32, as in 2019; it decides ties in rounding.
    """
    contrast = drawing.snake_contrast * drawing.paddle_contrast
    paddles = np.maximum(
        (targets / 255 * contrast).astype(np.float32), (distractors / 255 * drawing.snake_contrast).astype(np.float32)
    )
    brightness = np.maximum(paddles, dots / 255)
    darkest, brightest = brightness.min(), brightness.max()
    return ((brightness - darkest) * (255 / (brightest - darkest)) + 0.5).astype(np.uint8)
