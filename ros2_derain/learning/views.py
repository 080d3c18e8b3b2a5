"""How a crop is seen: the camera's path over a still, and the same still pasted and lit anew."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ros2_derain.data import CAMVID_CLASSES, OBJECTS, Sample

RARE = ("pole", "sign", "fence", "car", "pedestrian", "bicyclist")
"""Classes that are pasted from one picture into another."""


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


def warp(picture: np.ndarray, view: np.ndarray, crop: tuple[int, int], interpolation: int) -> np.ndarray:
    """The crop (height, width) of a picture under a view."""
    return cv2.warpAffine(
        picture, view, (crop[1], crop[0]), flags=interpolation, borderMode=cv2.BORDER_REFLECT_101
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


def paste(sample: Sample, donor: Sample, random: np.random.Generator) -> Sample:
    """Some rare classes of another labelled picture of the same size over this one, labels and boxes too.

    After ClassMix (Olsson et al., WACV 2021), with ground truth on both sides.
    """
    if sample.labels is None or donor.labels is None or sample.labels.shape != donor.labels.shape:
        return sample
    chosen = [name for name in RARE if random.random() < 0.6]
    mask = np.isin(donor.labels, [CAMVID_CLASSES.index(name) for name in chosen])
    boxes = sample.boxes
    if boxes is not None and donor.boxes is not None:
        moved = [OBJECTS.index(name) for name in chosen if name in OBJECTS]
        boxes = np.concatenate((boxes, donor.boxes[np.isin(donor.boxes[:, 0], moved)]))
    image = np.where(mask[:, :, None], donor.image, sample.image)
    return replace(sample, image=image, labels=np.where(mask, donor.labels, sample.labels), boxes=boxes)


def light(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Another exposure, contrast and white balance: H x W x 3 uint8 in and out."""
    table = np.arange(256, dtype=np.float32)[:, None] / 255
    table = table ** float(np.exp(random.uniform(-0.35, 0.35)))
    table = 0.5 + (table - 0.5) * random.uniform(0.75, 1.2) + random.uniform(-0.08, 0.08)
    table = table * random.uniform(0.85, 1.15, 3).astype(np.float32)
    table = np.clip(table * 255 + 0.5, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[:, None, :])
