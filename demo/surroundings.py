"""The surroundings of a figure: wall, floor, shadow, objects in front of it, and image noise."""

import cv2
import numpy as np

from demo.figure import sample_colour
from demo.pose import turn

BONES = ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16), (5, 11), (6, 12),
         (5, 12), (0, 5), (0, 6))  # fmt: skip


def draw_place(rng: np.random.Generator, size: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """A wall with things on it and a floor before it: BGR (H, W, 3), float32.

    Args:
        rng: The source of chance.
        size: Height and width.
        edge: Two points, from left to right, where the wall meets the floor, shape (2, 2), pixels.
    """
    image = _texture(rng, size)
    height, width = (int(n) for n in size)
    for _ in range(rng.integers(1, 8)):
        middle = rng.uniform(0, 1, 2) * (width, height)
        if rng.random() < 0.5:
            _limb(rng, image, middle)
        else:
            corners = _blob(rng, middle, rng.uniform(6, 45))
            cv2.fillConvexPoly(image, corners, sample_colour(rng).tolist(), cv2.LINE_AA, 4)
    outline = np.vstack([edge, edge[::-1] + (0, 9 * height)])
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [outline.clip(-2e4, 2e4).astype(np.int32)], 1)
    return np.where(mask[..., None] > 0, _texture(rng, size), image)


def cast_shadow(points: np.ndarray, width: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The shadow of a figure: factors of the brightness, shape (H, W, 1), in [0.5, 1].

    Args:
        points: Where the shadow of each joint falls, shape (17, 2), pixels.
        width: How wide a limb's shadow is there, shape (17,), pixels.
        size: Height and width.
    """
    mask = np.zeros(size, np.uint8)
    points = points.clip(-2000, 2000).astype(int).tolist()
    for a, b in BONES:
        cv2.line(mask, points[a], points[b], 255, max(2, int(width[a])))
    return 1 - cv2.GaussianBlur(mask, (0, 0), 3.0)[..., None] / np.float32(510)


def obstruct(
    rng: np.random.Generator, image: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Put up to two objects in front of the figure; return the image and their mask (H, W)."""
    size = np.array(image.shape[:2])
    mask = np.zeros(size, np.uint8)
    for _ in range(rng.choice(3, p=(0.62, 0.28, 0.1))):
        middle = points[rng.integers(len(points))] + rng.normal(0, 10, 2)
        cv2.fillConvexPoly(mask, _blob(rng, middle, rng.uniform(6, 19)), 255, cv2.LINE_AA, 4)
    if mask.any():
        share = mask[..., None].astype(np.float32) / 255
        image = image * (1 - share) + _texture(rng, size) * share
    return image, mask > 127


def expose(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Vary brightness, contrast and tint, add blur and noise, and convert to uint8."""
    gain = (rng.uniform(0.75, 1.15) * rng.normal(1, 0.05, 3)).astype(np.float32)
    image = (image - 110) * gain + np.float32(110 + rng.normal(0, 14))
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3))
    image += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, 7))
    return np.clip(image, 0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, size: np.ndarray) -> np.ndarray:
    """A textured BGR surface (H, W, 3), float32: gradient, noise, and at times a pattern."""
    y, x = (axis.astype(np.float32) for axis in np.ogrid[: size[0], : size[1]])
    angle, period, duty = rng.uniform((0, 10, 0.06), (2 * np.pi, 60, 0.5)).tolist()
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    fields, strengths = [u, _noise(rng, size)], [0.15, 11]
    if rng.random() < 0.5:
        lines = v / period % 1 < duty
        if rng.random() < 0.6:  # bricks and tiles rather than planks
            lines |= (u / (period * rng.uniform(0.8, 2.5)) + v // period / 2) % 1 < duty / 2
        fields, strengths = [*fields, lines], [*strengths, 28]
    # Each field has a weight per channel: much the same for all three, or the colours run wild.
    weights = rng.normal(0, 1, (len(fields), 1)) + rng.normal(0, 0.25, (len(fields), 3))
    weights *= np.array(strengths)[:, None]
    base = sample_colour(rng)
    base = (base + base.mean()) / 2  # places are duller than clothes
    fields = np.stack(fields, axis=-1, dtype=np.float32)
    return fields @ weights.astype(np.float32) + base.astype(np.float32)


def _noise(rng: np.random.Generator, size: np.ndarray) -> np.ndarray:
    """Octaves of smooth noise, shape (H, W), float32, of about unit spread."""
    total, cells = np.zeros(size, np.float32), int(rng.integers(2, 6))
    for octave in range(4):
        layer = rng.standard_normal((cells << octave, cells << octave), np.float32)
        total += cv2.resize(layer, total.shape[::-1], interpolation=cv2.INTER_CUBIC) * 0.65**octave
    return total


def _limb(rng: np.random.Generator, image: np.ndarray, start: np.ndarray) -> None:
    """Paint a false limb on ``image``: two or three bent, tapering, shaded strokes."""
    colour, width, angle = sample_colour(rng), rng.uniform(5, 13), rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(2, 4)):
        end = start + rng.uniform(15, 40) * np.array((np.cos(angle), np.sin(angle)))
        ends = [tuple(int(c) for c in point) for point in (start, end)]
        for share in (1, 0.8, 0.6, 0.4, 0.2):
            shade = (colour * (1.1 - 0.5 * share)).tolist()
            cv2.line(image, *ends, shade, max(1, round(width * share)), cv2.LINE_AA)
        start, width, angle = end, width * 0.8, angle + rng.normal(0, 0.8)


def _blob(rng: np.random.Generator, middle: np.ndarray, radius: float) -> np.ndarray:
    """A box, a polygon or an ellipse: corners (n, 2), int32 with four fractional bits."""
    sides = rng.choice((4, 4, 4, 7, 24))
    angles = np.arange(sides) * 2 * np.pi / sides + np.pi / 4
    shape = np.column_stack([np.cos(angles) * rng.uniform(0.4, 1.7), np.sin(angles)]) * radius
    shape = shape @ turn('z', rng.choice((0, 90, rng.uniform(0, 180))))[:2, :2]
    return np.round((middle + shape) * 16).astype(np.int32)
