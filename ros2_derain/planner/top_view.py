"""An image from above: points and boxes on a grid of ten metres, for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .boxes3d import Lifted

Colour = tuple[int, int, int]

BACKGROUND: Colour = (28, 28, 32)
GRID: Colour = (64, 64, 72)
TEXT: Colour = (170, 170, 180)
BOX: Colour = (255, 225, 60)
UNSURE: Colour = (235, 120, 60)
GRID_M = 10.0
SIGMAS = 2.0
"""Size of the ellipses of uncertainty, in standard deviations."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Labelled:
    """A box with what is written at it."""

    lifted: Lifted
    text: str


class _Map:
    """Pixels of places in base: forward is up."""

    def __init__(self, ahead_m: float, aside_m: float, scale: float) -> None:
        self.ahead_m, self.aside_m, self.scale = ahead_m, aside_m, scale
        self.height, self.width = int(ahead_m * scale), int(2 * aside_m * scale)

    def pixels(self, places: np.ndarray) -> np.ndarray:
        """N x 2 integers, x and y, of N x 2 places (forward, left)."""
        columns = (self.aside_m - places[:, 1]) * self.scale
        rows = (self.ahead_m - places[:, 0]) * self.scale
        return np.column_stack((columns, rows)).round().astype(int)


def draw_top_view(
    points: np.ndarray,
    colours: np.ndarray,
    boxes: Sequence[Labelled],
    ahead_m: float = 60.0,
    aside_m: float = 20.0,
    height_px: int = 720,
) -> np.ndarray:
    """H x W x 3 uint8 RGB.

    Args:
        points: N x 3 in base [m]; may hold NaN.
        colours: N x 3 uint8 RGB.
        boxes: with their ellipses of uncertainty.
        ahead_m, aside_m: what is shown, ahead and to each side.
        height_px: of the image.
    """
    place = _Map(ahead_m, aside_m, height_px / ahead_m)
    view = np.full((place.height, place.width, 3), BACKGROUND, np.uint8)
    finite = np.isfinite(points).all(1)
    columns, rows = place.pixels(points[finite, :2]).T
    inside = (columns >= 0) & (rows >= 0) & (columns < place.width) & (rows < place.height)
    dots = np.zeros_like(view)
    dots[rows[inside], columns[inside]] = colours[finite][inside]
    thick = cv2.dilate(dots, np.ones((3, 3), np.uint8))
    view[thick.any(2)] = thick[thick.any(2)]
    _draw_grid(view, place)
    for box in boxes:
        _draw_box(view, place, box)
    return view


def _draw_grid(view: np.ndarray, place: _Map) -> None:
    for ahead in np.arange(GRID_M, place.ahead_m, GRID_M):
        (_, row), *_ = place.pixels(np.array([[ahead, 0.0]]))
        cv2.line(view, (0, int(row)), (place.width, int(row)), GRID, 1)
        cv2.putText(view, f"{ahead:.0f} m", (4, int(row) - 4), _FONT, 0.45, TEXT, 1, cv2.LINE_AA)
    for aside in np.arange(-place.aside_m + GRID_M, place.aside_m, GRID_M):
        (column, _), *_ = place.pixels(np.array([[0.0, aside]]))
        cv2.line(view, (int(column), 0), (int(column), place.height), GRID, 1)


def _draw_box(view: np.ndarray, place: _Map, box: Labelled) -> None:
    lifted = box.lifted
    colour = UNSURE if lifted.marks else BOX
    x, y = lifted.foot[:2]
    values, axes = np.linalg.eigh(lifted.covariance[:2, :2])
    radii = SIGMAS * np.sqrt(np.maximum(values, 0))
    angles = np.linspace(0, 2 * np.pi, 48)
    circle = np.column_stack((np.cos(angles), np.sin(angles))) * radii @ axes.T + (x, y)
    cv2.polylines(view, [place.pixels(circle)], True, colour, 1, cv2.LINE_AA)
    half_length, half_width = lifted.size.length / 2, lifted.size.width / 2
    signs = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)])
    corners = place.pixels((x, y) + signs * (half_length, half_width))
    cv2.polylines(view, [corners], True, colour, 2, cv2.LINE_AA)
    column, row = (int(value) for value in corners.min(0))
    cv2.putText(view, box.text, (column, max(12, row - 4)), _FONT, 0.45, colour, 1, cv2.LINE_AA)
