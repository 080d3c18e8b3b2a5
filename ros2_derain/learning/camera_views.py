"""Where the camera of a training clip looks: affine maps from an image, images and boxes under them."""

from __future__ import annotations

import math

import cv2
import numpy as np

MOST_LOOKS = 12
"""Most moments before a view,"""
FARTHEST = 0.5
"""and most of an approach over them, as logarithm of the scale."""


def camera_path(
    size: tuple[int, int],
    crop: tuple[int, int],
    frames: int,
    zoom: tuple[float, float],
    random: np.random.Generator,
) -> list[np.ndarray]:
    """One 2 x 3 affine map (source -> crop) per frame: a random crop, then a camera that drives on.

    Args:
        size, crop: height and width of the source and of the crop in pixels.
        zoom: range of the crop's scale.
    """
    height, width = size
    fit = max(crop[0] / height, crop[1] / width)
    scale = max(fit, min(1.0, 640 / width) * float(np.exp(random.uniform(*np.log(zoom)))))
    left = random.uniform(0, max(0, width * scale - crop[1]))
    top = random.uniform(0, max(0, height * scale - crop[0]))
    first = np.array([[scale, 0, -left], [0, scale, -top], [0, 0, 1]])
    if random.random() < 0.5:
        first = np.array([[-1, 0, crop[1] - 1], [0, 1, 0], [0, 0, 1]]) @ first
    still = random.random() < 0.2
    drive = 1.0 if still else 1 + random.uniform(0, 0.03)
    shift = np.zeros(2) if still else random.normal(0, 1.5, 2)
    centre = np.array([crop[1], crop[0]]) * random.uniform(0.2, 0.8, 2)
    step = np.array(
        [
            [drive, 0, shift[0] + centre[0] * (1 - drive)],
            [0, drive, shift[1] + centre[1] * (1 - drive)],
            [0, 0, 1],
        ]
    )
    views = [first]
    for _ in range(frames - 1):
        views.append(step @ views[-1])
    return [view[:2] for view in views]


def warp(image: np.ndarray, view: np.ndarray, crop: tuple[int, int], interpolation: int) -> np.ndarray:
    """The crop (height, width) of a image under a view."""
    return cv2.warpAffine(
        image, view, (crop[1], crop[0]), flags=interpolation, borderMode=cv2.BORDER_REFLECT_101
    )


def warp_boxes(boxes: np.ndarray | None, view: np.ndarray, crop: tuple[int, int], most: int) -> np.ndarray:
    """most x 5 in pixels of the crop, class -1 = none; boxes mostly outside or tiny are left out."""
    result = np.full((most, 5), -1, np.float32)
    if boxes is None or not len(boxes):
        return result
    x = np.sort(view[0, 0] * boxes[:, [1, 3]] + view[0, 2], axis=1)
    y = np.sort(view[1, 1] * boxes[:, [2, 4]] + view[1, 2], axis=1)
    area = np.prod([x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]], axis=0)
    x, y = np.clip(x, 0, crop[1]), np.clip(y, 0, crop[0])
    inside = (x[:, 1] - x[:, 0]) * (y[:, 1] - y[:, 0])
    keep = (inside > 0.35 * area) & (inside > 36)
    kept = np.column_stack((boxes[:, 0], x[:, 0], y[:, 0], x[:, 1], y[:, 1]))[keep][:most]
    result[: len(kept)] = kept
    return result


def earlier_views(view: np.ndarray, crop: tuple[int, int], random: np.random.Generator) -> list[np.ndarray]:
    """2 x 3 affine maps (source -> crop) of up to :data:`MOST_LOOKS` moments before a view, the latest first.

    The camera drives and turns; where it would come from too far away, it comes from elsewhere in the image.
    """
    count = MOST_LOOKS if random.random() < 0.6 else int(random.integers(1, MOST_LOOKS + 1))
    if random.random() < 0.1:
        return [view] * count
    approach, shift = random.uniform(0, 0.25), random.normal(0, 10, 2)
    size = np.array([crop[1], crop[0]], float)
    centre = size * random.uniform(-0.5, 1.5, 2)
    views, far, moved = [], 0.0, np.zeros_like(size)
    for _ in range(count):
        far, moved = far + approach, moved + shift
        if far > FARTHEST or np.abs(moved).max() > size.max() / 2:
            far, moved = random.uniform(0, FARTHEST), size * random.uniform(-0.5, 0.5, 2)
        scale = math.exp(-far)
        offset = moved + centre * (1 - scale)
        views.append(np.column_stack((view[:, :2] * scale, view[:, 2] * scale + offset)))
    return views


def standing_still(crop: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Parts of a moving scene that do not move in the image: h x w x 1 float32, 1 = stands still."""
    height, width = crop
    still = np.zeros((height, width, 1), np.float32)
    if random.random() < 0.25:  # a bonnet: below a flat curve
        top = height * (1 - random.uniform(0.05, 0.35))
        bend = random.uniform(0, 0.15) * height
        x = np.linspace(-1, 1, width) + random.uniform(-0.5, 0.5)
        still[np.arange(height)[:, None] > top + bend * x**2] = 1
    for _ in range(int(random.integers(1, 4)) if random.random() < 0.3 else 0):
        size = height * random.uniform(0.05, 0.4, 2)
        middle = random.uniform(0, (width, height))
        corners = np.rint((middle - size / 2, middle + size / 2)).astype(int)
        left, upper, right, lower = (int(value) for value in corners.clip(0).ravel())
        still[upper:lower, left:right] = 1
    return still
