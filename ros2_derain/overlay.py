"""Label maps, boxes and what is hidden drawn onto images, for people. No ROS in here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from ros2_derain.class_colours import Colour, lookup
from ros2_derain.engine import UNLABELLED, Detection, Perception

BOX: Colour = (255, 225, 60)
WATER: Colour = (255, 0, 200)
"""No colour of a class, nor one that a road shows."""
TEXT: Colour = (0, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(image: np.ndarray, perception: Perception, colours: Sequence[Colour], opacity: float) -> np.ndarray:
    """An image with its labels and detections: H x W x 3 uint8 RGB, a new array."""
    return outline(paint(image, perception.labels, colours, opacity), perception.detections)


def paint(image: np.ndarray, labels: np.ndarray, colours: Sequence[Colour], opacity: float) -> np.ndarray:
    """An image with its classes' colours over it.

    Args:
        image: H x W x 3 uint8 RGB.
        labels: H x W uint8 class ids; 255 = unlabelled, stays as it is.
        colours: RGB by id, such as a model's :attr:`ros2_derain.engine.ModelIdentity.colours`.
        opacity: of the colours, 0..1.

    Returns:
        H x W x 3 uint8 RGB, a new array.
    """
    painted = cv2.addWeighted(image, 1 - opacity, lookup(colours)[labels], opacity, 0)
    unlabelled = labels == UNLABELLED
    painted[unlabelled] = image[unlabelled]
    return painted


def mark_hidden(image: np.ndarray, obstruction: np.ndarray) -> np.ndarray:
    """An image with what water or dirt hides in :data:`WATER`: H x W x 3 uint8 RGB, a new array.

    Args:
        image: H x W x 3 uint8 RGB.
        obstruction: H x W uint8; 255 = hidden.
    """
    marked = cv2.addWeighted(image, 0.4, np.full_like(image, WATER), 0.6, 0)
    share = cv2.merge(3 * (obstruction,))
    return cv2.add(
        cv2.multiply(image, cv2.bitwise_not(share), scale=1 / 255),
        cv2.multiply(marked, share, scale=1 / 255),
    )


def outline(image: np.ndarray, detections: Iterable[Detection]) -> np.ndarray:
    """An image with a captioned box around each detection: H x W x 3 uint8 RGB, a new array."""
    drawn = image.copy()
    for found in detections:
        corner = round(found.x0), round(found.y0)
        cv2.rectangle(drawn, corner, (round(found.x1) - 1, round(found.y1) - 1), BOX, 2)
        _caption(drawn, f"{found.class_name} {found.score:.2f}", corner)
    return drawn


def _caption(image: np.ndarray, text: str, corner: tuple[int, int]) -> None:
    """Text on a plate above the corner, moved to where it is inside the image."""
    scale = max(0.4, image.shape[1] / 1600)
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    left = max(min(corner[0] - 1, image.shape[1] - width - 6), 0)
    bottom = max(corner[1], height + 6)
    cv2.rectangle(image, (left, bottom - height - 6), (left + width + 6, bottom), BOX, cv2.FILLED)
    cv2.putText(image, text, (left + 3, bottom - 4), _FONT, scale, TEXT, 1, cv2.LINE_AA)
