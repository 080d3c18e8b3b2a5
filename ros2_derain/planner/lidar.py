"""Paints a lidar's points with what the camera saw: label, confidence, trust, colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Camera

UNSEEN = 255
"""Label of a point that the camera does not see; its confidence and trust are 0."""

CELL_PX = 8
"""Size of a cell of the z-buffer."""
MARGIN = 0.05
"""Share by which a point may lie behind the nearest of its surroundings, and still be seen."""


@dataclass(frozen=True)
class View:
    """What the camera saw, pixel by pixel.

    Attributes:
        labels, confidence, trust: H x W uint8.
        image: H x W x 3 uint8 RGB.
    """

    labels: np.ndarray
    confidence: np.ndarray
    trust: np.ndarray
    image: np.ndarray


@dataclass(frozen=True)
class Painted:
    """A painted cloud of N points, M of them visible; the others are out of view, hidden, or not finite.

    Attributes:
        visible: M indices.
        pixels: M x 2, where the camera sees them.
        labels, confidence, trust: N uint8; :data:`UNSEEN`, 0 and 0 where not visible.
        colours: N x 3 uint8 RGB; black where not visible.
    """

    visible: np.ndarray
    pixels: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    trust: np.ndarray
    colours: np.ndarray


def paint(points: np.ndarray, camera: Camera, view: View, height: float) -> Painted:
    """Paint a cloud.

    Args:
        points: N x 3 in the camera's frame [m]; may hold NaN.
        camera: of the images.
        view: H x W as the camera's images.
        height: of the camera above the ground [m], > 0: how steeply the ground recedes behind a pixel.
    """
    seen, pixels = camera.seen(points)
    columns, rows = np.rint(pixels).astype(np.int32).T
    kept = np.flatnonzero(~occluded(rows, columns, points[seen, 2], camera, height))
    visible = seen[kept]
    index = rows[kept] * camera.width + columns[kept]
    labels = np.full(len(points), UNSEEN, np.uint8)
    confidence, trust = np.zeros((2, len(points)), np.uint8)
    colours = np.zeros((len(points), 3), np.uint8)
    labels[visible] = view.labels.reshape(-1).take(index)
    confidence[visible] = view.confidence.reshape(-1).take(index)
    trust[visible] = view.trust.reshape(-1).take(index)
    colours[visible] = view.image.reshape(-1, 3).take(index, axis=0)
    return Painted(visible, pixels[kept], labels, confidence, trust, colours)


def occluded(
    rows: np.ndarray, columns: np.ndarray, depths: np.ndarray, camera: Camera, height: float
) -> np.ndarray:
    """Which points are hidden by others, by a z-buffer of cells, for lidars are sparser than pixels.

    Depths are compared by their inverse, whose slope over a plane is the same everywhere: over the ground
    it is 1 / (focal length * height) per pixel, which does not hide ground behind ground.

    Args:
        rows, columns: N integers, pixels inside the image.
        depths: N [m].
        camera: of the image.
        height: as for :func:`paint`.

    Returns:
        N bool.
    """
    inverse = (1.0 / depths).astype(np.float32)
    cells = (-(-camera.height // CELL_PX), -(-camera.width // CELL_PX))
    nearest = np.zeros(cells, np.float32)
    index = (rows // CELL_PX) * cells[1] + columns // CELL_PX
    np.maximum.at(nearest.reshape(-1), index, inverse)
    slope = CELL_PX / (camera.focal * height)
    beside = cv2.dilate(nearest, np.ones((1, 3), np.uint8)).reshape(-1)[index]
    around = cv2.dilate(nearest, np.ones((3, 3), np.uint8)).reshape(-1)[index]
    behind_beside = beside * (1 - MARGIN) - inverse > slope
    hidden: np.ndarray = behind_beside | (around * (1 - MARGIN) - inverse > 2 * slope)
    return hidden
