import hashlib
import math
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lra_bench.core.errors import LraBenchError
from lra_bench.tasks.pathfinder import Pathfinder
from lra_bench.tasks.pathfinder_drawing import LRA, draw_dots, draw_paddle
from lra_bench.tasks.pathfinder_growth import DEGREES, Occupancy, stencils_of
from lra_bench.tasks.pathfinder_snakes import contact_sheet, draw_samples, metadata_line

COUNTS = {32: 250, 64: 2, 128: 8, 256: 6}
RESOLUTIONS = sorted(LRA)
CASES = [(resolution, margin) for resolution in RESOLUTIONS for margin in LRA[resolution].margins]


@cache
def samples(resolution):
    return draw_samples([5, resolution], LRA[resolution], 0, COUNTS[resolution])


# A slow, explicit version of the pieces, on the whole window.


@cache
def slow_sprites(drawing, margin, angle):
    """Ink and mask of a paddle; the mask pixel by pixel from distances to the line."""
    fine = drawing.antialias
    half = drawing.paddle_length + math.ceil(drawing.paddle_thickness) + margin
    centre, size = half * fine, 2 * half + 1
    end = ceil_step((centre, centre), angle, drawing.paddle_length * fine)
    image = Image.new("L", (2 * centre + 1, 2 * centre + 1))
    width = round(drawing.paddle_thickness * fine)
    ImageDraw.Draw(image).line([(centre, centre), end[::-1]], fill=255, width=width)
    line = np.argwhere(np.asarray(image))
    grid = np.moveaxis(np.indices((2 * centre + 1, 2 * centre + 1)), 0, -1)
    distance = ((grid[:, :, None] - line) ** 2).sum(axis=-1).min(axis=-1)
    wide = Image.fromarray(np.where(distance <= (margin * fine) ** 2, 255, 0).astype(np.uint8))
    lanczos = Image.Resampling.LANCZOS
    return np.asarray(image.resize((size, size), lanczos)), np.asarray(wide.resize((size, size), lanczos))


def slow_mask(drawing, margin, angle, start):
    """The mask (R, R) of a paddle drawn from `start`, cut at the window."""
    _, sprite = slow_sprites(drawing, margin, angle)
    canvas = np.zeros((drawing.window, drawing.window), int)
    for (i, j), value in np.ndenumerate(sprite):
        y, x = start[0] + i - len(sprite) // 2, start[1] + j - len(sprite) // 2
        if 0 <= y < drawing.window and 0 <= x < drawing.window:
            canvas[y, x] = value
    return canvas


def slow_frame(drawing):
    y, x = np.indices((drawing.window, drawing.window))
    edge = np.minimum(np.minimum(y, x), drawing.window - 1 - np.maximum(y, x))
    return np.where(edge < drawing.padding, 255, 0)


def slow_room(taken, margin, point):
    """255 minus the largest mask within the margin of a point; 0 outside the window."""
    y, x = np.indices(taken.shape)
    near = (y - point[0]) ** 2 + (x - point[1]) ** 2 <= margin**2
    inside = 0 <= point[0] < len(taken) and 0 <= point[1] < len(taken)
    return 255 - taken[near].max() if inside else 0


def ceil_step(start, angle, distance):
    return math.ceil(start[0] + distance * math.sin(angle)), math.ceil(start[1] + distance * math.cos(angle))


def opposite(angle):
    return angle + math.pi if angle < 0 else angle - math.pi


def turn_between(a, b):
    return min(abs(a - b), 2 * math.pi - abs(a - b))


def ring(drawing, margin):
    """Offsets of candidates, one by one round the circle."""
    radius = drawing.paddle_length + margin
    steps = range(math.floor(2 * math.pi * radius) + 1)
    return {(math.floor(radius * math.sin(k / radius)), math.floor(radius * math.cos(k / radius))) for k in steps}


def walk(drawing, margin, snake):
    """The integer pivots, exact angles and starts of a snake, checked against what it says."""
    y, x = (snake.far - snake.near)[0]
    angle = round(math.degrees(math.atan2(y, x))) * math.pi / 180
    tip = tuple(snake.near[0].astype(int).tolist())
    head = ceil_step(tip, angle, drawing.paddle_length)
    pivot = ceil_step(head, opposite(angle), drawing.paddle_length + margin)
    paddles = [(pivot, angle, tip)]
    for near, far in zip(snake.near[1:], snake.far[1:], strict=True):
        pivot = ceil_step(pivot, angle, drawing.paddle_length + 2 * margin)
        end = tuple(np.rint(far).astype(int).tolist())
        assert (far == end).all()
        offset = end[0] - pivot[0], end[1] - pivot[1]
        assert offset in ring(drawing, margin)
        assert turn_between(angle, math.atan2(*offset)) < math.pi / 2 / drawing.continuity
        angle = math.atan2(*offset)
        along = drawing.paddle_length * np.array([math.sin(angle), math.cos(angle)])
        np.testing.assert_allclose(near, far - along, atol=1e-9)
        paddles.append((pivot, angle, end))
    return paddles


@pytest.mark.parametrize(("resolution", "margin"), CASES)
def test_paddles_equal_slow_ones(resolution, margin):
    drawing, stencils = LRA[resolution], stencils_of(LRA[resolution], margin)
    for number in [*range(0, DEGREES, 15), *range(DEGREES, len(stencils.directions), 3)]:
        direction = stencils.directions[number]
        angle = direction.angle if number < DEGREES else opposite(direction.angle)
        ink, mask = slow_sprites(drawing, margin, angle)
        paddle = draw_paddle(drawing, margin, angle)
        for fast in (paddle, direction.paddle):
            np.testing.assert_array_equal(fast.ink, ink)
            np.testing.assert_array_equal(fast.mask, mask)


@pytest.mark.parametrize(("resolution", "margin"), CASES)
def test_occupancy_equals_masks_on_the_whole_window(resolution, margin):
    drawing, stencils, rng = LRA[resolution], stencils_of(LRA[resolution], margin), np.random.default_rng(1)
    occupancy, taken = Occupancy.empty(stencils), slow_frame(drawing)
    inside = slice(stencils.border, -stencils.border)
    bearable = 0
    for number in rng.integers(len(stencils.directions), size=40).tolist():
        direction, window = stencils.directions[number], drawing.window
        start = tuple(
            rng.choice([rng.integers(window), rng.integers(8), window - 1 - rng.integers(8)], size=2).tolist()
        )
        angle = direction.angle if number < DEGREES else opposite(direction.angle)
        mask = slow_mask(drawing, margin, angle, start)
        assert occupancy.bears(direction, start) == ((taken + mask).max() / 255 < 1.8)
        bearable += occupancy.bears(direction, start)
        pivot = ceil_step(start, direction.angle, margin)
        points = [(pivot[0] + y, pivot[1] + x) for y, x in np.array(stencils.candidates)[direction.ahead].tolist()]
        room = occupancy.near(pivot).take(direction.around).min(axis=0)
        assert room.tolist() == [slow_room(taken, margin, point) for point in points]
        occupancy.add(direction, start)
        taken = np.maximum(taken, mask)
        free = occupancy.free.reshape(stencils.stride, stencils.stride)
        np.testing.assert_array_equal(255 - free[inside, inside], taken)
    assert 0 < bearable < 40


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_room_for_a_first_paddle_equals_a_search_pixel_by_pixel(resolution):
    drawing = LRA[resolution]
    margin = drawing.margins[0]
    stencils, rng = stencils_of(drawing, margin), np.random.default_rng(2)
    occupancy, taken = Occupancy.empty(stencils), slow_frame(drawing)
    assert len(stencils.covers) < DEGREES if resolution < 128 else len(stencils.covers) > 350
    for degree in rng.choice(list(stencils.covers), size=4).tolist():
        start = tuple(rng.integers(drawing.window, size=2).tolist())
        occupancy.add(stencils.directions[degree], start)
        taken = np.maximum(taken, slow_mask(drawing, margin, (degree - 180) * math.pi / 180, start))
    blocked = taken / 255 > 0.3
    for degree in rng.choice(list(stencils.covers), size=3).tolist():
        _, sprite = slow_sprites(drawing, margin, (degree - 180) * math.pi / 180)
        reach, window = drawing.paddle_length + margin, drawing.window
        offsets = np.argwhere(sprite == 255) - len(sprite) // 2 + 1
        offsets = offsets[np.abs(offsets).max(axis=1) <= reach]
        found = set(occupancy.first_tips(stencils.covers[degree]).tolist())
        for pixel in rng.integers(window**2, size=300).tolist():
            touched = np.array(divmod(pixel, window)) + offsets
            touched = touched[((touched >= 0) & (touched < window)).all(axis=1)]
            assert (pixel in found) == (not blocked[touched[:, 0], touched[:, 1]].any())


def test_a_full_window_has_no_room_for_a_first_paddle():
    stencils = stencils_of(LRA[32], 1)
    occupancy = Occupancy.empty(stencils)
    cover = stencils.covers[45]
    assert len(occupancy.first_tips(cover))
    occupancy.free[:] = 0
    assert not len(occupancy.first_tips(cover))


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_dots_equal_dots_drawn_in_the_whole_window(resolution):
    drawing = LRA[resolution]
    fine, window, last = drawing.antialias, drawing.window, drawing.window - 1
    middle = window // 2
    for centre in [(0, 0), (0, last), (last, 1), (middle, 3), (middle, middle - 1), (last - 4, middle), (6, 7)]:
        y, x = np.indices((window * fine, window * fine))
        inside = np.hypot(y - centre[0] * fine, x - centre[1] * fine) <= drawing.marker_radius * fine
        whole = Image.fromarray(inside.astype(np.uint8) * 255).resize((window, window), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(draw_dots(drawing, (centre,)), np.asarray(whole))
        both = draw_dots(drawing, (centre, (middle, middle)))
        np.testing.assert_array_equal(both, np.maximum(np.asarray(whole), draw_dots(drawing, ((middle, middle),))))


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_every_paddle_keeps_the_rules_of_growth(resolution):
    """Replays samples on the whole window: steps, turns, room, collisions, in the order of growth."""
    drawing = LRA[resolution]
    for sample in samples(resolution)[:6]:
        margin, geometry = sample.margin, sample.geometry
        taken = slow_frame(drawing)

        def placed(paddle, first, drawing=drawing, margin=margin):
            _, angle, start = paddle
            return slow_mask(drawing, margin, angle if first else opposite(angle), start)

        targets = [walk(drawing, margin, snake) for snake in geometry.targets]
        tips = [snake.near[0] for snake in geometry.targets]
        assert abs(np.hypot(*(tips[1] - tips[0])) - drawing.seed_distance) <= math.sqrt(0.5)
        cover = 2 * drawing.seed_distance - stencils_of(drawing, margin).drawing.paddle_length - margin
        assert min(tips[0]) >= cover
        assert max(tips[0]) < drawing.window - cover
        groups = [targets, *([walk(drawing, margin, snake)] for snake in geometry.distractors)]
        for group in groups:
            if group is not targets:
                first = placed(group[0][0], True)
                assert not ((taken > 76) & (np.roll(first, (1, 1), (0, 1)) == 255)).any()
            for k in range(1, len(group[0])):
                for paddles in group:
                    end, mask = paddles[k][2], placed(paddles[k], False)
                    assert slow_room(taken, margin, end) > 0
                    assert (taken + mask).max() / 255 < 1.8
                    taken = np.maximum(taken, placed(paddles[k - 1], k == 1))
            taken = np.maximum(taken, placed(group[-1][-1], False))


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_snakes_have_the_stated_lengths_and_gaps(resolution):
    drawing = LRA[resolution]
    for sample in samples(resolution):
        geometry = sample.geometry
        assert sample.margin in drawing.margins
        assert len(geometry.distractors) <= drawing.distractors
        assert {len(snake.near) for snake in geometry.targets} == {14}
        assert {len(snake.near) for snake in geometry.distractors} <= {4}
        gaps = []
        for snake in (*geometry.targets, *geometry.distractors):
            along = snake.far - snake.near
            np.testing.assert_allclose(np.hypot(*along.T), drawing.paddle_length)
            gaps += np.hypot(*(snake.near[1:] - snake.far[:-1]).T).tolist()
        rounding = 3 * math.sqrt(2)
        assert max(abs(gap - 2 * sample.margin) for gap in gaps) < rounding
        assert abs(np.mean(gaps) - 2 * sample.margin) < 1
    counts = [len(sample.geometry.distractors) for sample in samples(resolution)]
    expected = {32: (0.8, 1.5), 64: (0, 5), 128: (7, 8), 256: (6.5, 7)}[resolution]
    assert expected[0] <= np.mean(counts) <= expected[1]


def loose_paddles(sample, rng):
    """All paddles of an image in random order, as (ends, angle, pivots it may have entered by, pivots it leads to)."""
    drawing, margin, geometry = sample.drawing, sample.margin, sample.geometry
    paddles = []
    for snake in (*geometry.targets, *geometry.distractors):
        for index, (near, far) in enumerate(zip(snake.near.tolist(), snake.far.tolist(), strict=True)):
            angle = math.atan2(far[0] - near[0], far[1] - near[1])
            if index == 0:
                angle = round(math.degrees(angle)) * math.pi / 180
                head = ceil_step((int(near[0]), int(near[1])), angle, drawing.paddle_length)
                pivots, entered = {ceil_step(head, opposite(angle), drawing.paddle_length + margin)}, set()
            else:
                offsets = [o for o in ring(drawing, margin) if turn_between(angle, math.atan2(*o)) < 1e-6]
                pivots = entered = {(int(far[0]) - y, int(far[1]) - x) for y, x in offsets}
            leads_to = {ceil_step(pivot, angle, drawing.paddle_length + 2 * margin) for pivot in pivots}
            paddles.append(((tuple(near), tuple(far)), angle, entered, leads_to))
    rng.shuffle(paddles)
    return paddles


def joined(paddles, continuity):
    """Pairs (i, j) where paddle j may go on from paddle i."""
    return [
        (i, j)
        for i, (_, angle, _, leads_to) in enumerate(paddles)
        for j, (_, next_angle, entered, _) in enumerate(paddles)
        if i != j and leads_to & entered and turn_between(angle, next_angle) < math.pi / 2 / continuity
    ]


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_labels_are_connectivity_found_from_loose_paddles(resolution):
    """Union-find. Where snakes meet in one pivot, which the procedure allows, loose paddles are ambiguous."""
    rng, ambiguous = np.random.default_rng(3), 0
    for sample in samples(resolution):
        paddles = loose_paddles(sample, rng)
        pairs = joined(paddles, sample.drawing.continuity)
        parent = list(range(len(paddles)))

        def find(i, parent=parent):
            return i if parent[i] == i else find(parent[i])

        for i, j in pairs:
            parent[find(j)] = find(i)
        origin, terminal = sample.geometry.dots
        begins = {find(i) for i, ((near, _), _, entered, _) in enumerate(paddles) if near == origin and not entered}
        ends = {find(i) for i, ((_, far), _, entered, _) in enumerate(paddles) if far == terminal and entered}
        assert len(begins) == 1
        connected = bool(begins & ends)
        if max(np.bincount(np.array(pairs)[:, side]).max() for side in (0, 1)) > 1 or len(ends) > 1:
            ambiguous += 1
            assert connected or not sample.label
        else:
            assert connected == sample.label
    assert ambiguous < 0.15 * len(samples(resolution))


def test_labels_are_a_fair_coin():
    labels = [sample.label for sample in samples(32)]
    assert abs(np.mean(labels) - 0.5) < 4 * 0.5 / math.sqrt(len(labels))
    origins = [sample.geometry.origin_on for sample in samples(32)]
    assert abs(np.mean(origins) - 0.5) < 4 * 0.5 / math.sqrt(len(labels))
    assert {sample.margin for sample in samples(128)} == {2, 3}


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_pixels_show_what_the_geometry_says(resolution):
    """Grey levels against paddles drawn slowly, dots brightest at the stated tips."""
    drawing = LRA[resolution]
    for sample in samples(resolution)[:6]:
        geometry = sample.geometry
        assert sample.pixels.shape == (resolution, resolution)
        assert sample.pixels.dtype == np.uint8
        assert sample.pixels.min() == 0
        assert sample.pixels.max() == 255
        assert geometry.dots[0] == tuple(geometry.targets[geometry.origin_on].near[0])
        assert geometry.dots[1] == tuple(geometry.targets[geometry.terminal_on].far[-1])
        assert sample.label == (geometry.origin_on == geometry.terminal_on)
        brightness = draw_dots(drawing, geometry.dots) / 255
        for snake in (*geometry.targets, *geometry.distractors):
            target = any(snake is other for other in geometry.targets)
            contrast = drawing.snake_contrast * (drawing.paddle_contrast if target else 1)
            for index, (_, angle, (y, x)) in enumerate(walk(drawing, sample.margin, snake)):
                sprite, _ = slow_sprites(drawing, sample.margin, angle if index == 0 else opposite(angle))
                half = len(sprite) // 2
                wide = np.pad(brightness, half)
                patch = wide[y : y + 2 * half + 1, x : x + 2 * half + 1]
                patch[:] = np.maximum(patch, sprite / 255 * contrast)
                brightness = wide[half:-half, half:-half]
        stretched = brightness / brightness.max() * 255
        assert np.abs(stretched - sample.pixels).max() <= 0.5 + 1e-4
        for y, x in geometry.dots:
            assert sample.pixels[y, x] > 0.9 * 255 / brightness.max()


@pytest.mark.parametrize(("resolution", "brightest"), [(64, 204), (128, 229)])
def test_lines_are_as_bright_as_their_contrast(resolution, brightest):
    for sample in samples(resolution):
        y, x = np.indices(sample.pixels.shape)
        off = np.ones_like(sample.pixels, bool)
        for dot in sample.geometry.dots:
            off &= np.hypot(y - dot[0], x - dot[1]) > LRA[resolution].marker_radius + 4
        assert sample.pixels[off].max() == brightest
        assert sample.pixels[sample.geometry.dots[0]] > 240


def test_a_sample_depends_on_its_seed_and_index_alone():
    whole = [sample.pixels.tobytes() for sample in draw_samples([1, 2], LRA[32], 0, 9)]
    assert len(set(whole)) == 9
    parts = {first: draw_samples([1, 2], LRA[32], first, count) for first, count in [(5, 4), (0, 2), (2, 3)]}
    assert [sample.pixels.tobytes() for first in sorted(parts) for sample in parts[first]] == whole
    assert draw_samples([1, 3], LRA[32], 0, 1)[0].pixels.tobytes() not in whole
    assert draw_samples([1, 2], LRA[32], 4, 0) == []


@pytest.mark.parametrize(
    ("resolution", "count", "expected"),
    [
        (32, 20, "2caa1242c489a7e2"),
        (64, 1, "fb4aa62faf65004b"),
        (128, 2, "a4e4c27ac63cccba"),
        (256, 2, "2d5fd6f11b873ea8"),
    ],
)
def test_images_of_a_seed_stay_what_they_are(resolution, count, expected):
    """If this fails, images have changed (or Pillow draws otherwise): raise `Pathfinder.VERSION`."""
    assert Pathfinder.VERSION == 1
    pixels = b"".join(sample.pixels.tobytes() for sample in draw_samples([0], LRA[resolution], 0, count))
    assert hashlib.sha256(pixels).hexdigest()[:16] == expected


def test_metadata_lines_have_the_official_columns():
    assert metadata_line(LRA[32], 1, 1, 7, 12) == "imgs/7 sample_12.png 12 1 1.0 14 4 2 0.5 1 1"
    assert metadata_line(LRA[128], 0, 3, 0, 0) == "imgs/0 sample_0.png 0 0 1.8 14 4 5 1.5 3 1"
    assert metadata_line(LRA[256], 0, 3, 0, 0).split()[8] == "2"


def test_the_contact_sheet_shows_the_samples_of_each_class():
    sheet = contact_sheet([4], resolutions=(32, 256), per_class=2, columns=1)
    assert sheet.dtype == np.uint8
    drawn = draw_samples([4], LRA[32], 0, 8)
    for label, left in [(1, 8), (0, 8 + 132 + 16)]:
        first, second = [sample.pixels for sample in drawn if sample.label == label][:2]
        for top, pixels in [(24, first), (24 + 132, second)]:
            np.testing.assert_array_equal(sheet[top : top + 128 : 4, left : left + 128 : 4], pixels)


def test_parameters_are_those_of_lra():
    assert [LRA[r].window for r in RESOLUTIONS] == RESOLUTIONS == [32, 64, 128, 256]
    assert [LRA[r].distractors for r in RESOLUTIONS] == [n // (14 // 3) for n in (20, 22, 35, 30)]
    assert all(d.contour_length == 14 and d.distractor_length == 14 // 3 and d.antialias == 2 for d in LRA.values())


def test_impossible_parameters_are_refused():
    with pytest.raises(LraBenchError, match="padding must be at least 1, got 0"):
        replace(LRA[32], padding=0)
    with pytest.raises(LraBenchError, match=r"paddle_thickness must be a multiple of .* 1/2, got 0.75"):
        replace(LRA[32], paddle_thickness=0.75)
    with pytest.raises(LraBenchError, match="no room for a first paddle"):
        stencils_of(replace(LRA[32], seed_distance=8), 1)


def test_the_generator_needs_no_trainer():
    heavy = {"torch", "lightning", "scipy", "matplotlib"}
    code = f"import sys, lra_bench.tasks.pathfinder_snakes; sys.exit(bool({heavy!r} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
