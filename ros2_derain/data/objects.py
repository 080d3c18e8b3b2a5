"""Detection classes, and what boxes of every file format go through."""

from __future__ import annotations

import math

import numpy as np

from ros2_derain.data.images import DataError

OBJECTS = ("car", "pedestrian", "bicyclist")
"""Detection classes of the default model."""

OBJECT_OF = {
    "car": "car",
    "truck": "car",
    "bus": "car",
    "pedestrian": "pedestrian",
    "person": "pedestrian",
    "bicyclist": "bicyclist",
    "bicycle": "bicyclist",
    "rider": "bicyclist",
    "motorcycle": "bicyclist",
    "motorbike": "bicyclist",
}
"""Class names found in box files -> :data:`OBJECTS`; others are dropped."""


def object_index(name: str) -> int | None:
    """Index into :data:`OBJECTS` of a class name found in a box file; None = not detected."""
    known = OBJECT_OF.get(name.strip().lower())
    return None if known is None else OBJECTS.index(known)


def clip_box(edges: list[float], width: float, height: float, where: str) -> list[float]:
    """A box cut at the border of its picture.

    Args:
        edges: x0, y0, x1, y1; max edges exclusive, in the unit of ``width`` and ``height``.
        where: file and line, for the error.

    Raises:
        DataError: an edge is not finite, the edges are in the wrong order, or nothing of the
            box lies in the picture.
    """
    x0, y0, x1, y1 = edges
    shown = ", ".join(f"{edge:g}" for edge in edges)
    if not all(map(math.isfinite, edges)) or x1 <= x0 or y1 <= y0:
        raise DataError(f"{where}: ({shown}) is not a box; it takes x0 < x1 and y0 < y1")
    if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
        raise DataError(f"{where}: box ({shown}) lies outside its picture of {width:g}x{height:g}")
    return [max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))]


def box_array(boxes: list[list[float]]) -> np.ndarray:
    """M x 5 float32 (class index, x0, y0, x1, y1), also for M = 0."""
    return np.array(boxes, np.float32).reshape(-1, 5)
