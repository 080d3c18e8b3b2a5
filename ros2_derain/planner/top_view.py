"""An image from above, for people: the ground in its classes' colours, boxes, and this vehicle; in metres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .boxes3d import PRIORS, Lifted

Colour = tuple[int, int, int]

BACKGROUND: Colour = (28, 28, 32)
GRID: Colour = (92, 92, 100)
TEXT: Colour = (200, 200, 208)
VEHICLE: Colour = (240, 240, 244)
BOX: Colour = (255, 225, 60)
UNSURE: Colour = (255, 140, 90)
GRID_M = 10.0
SIGMAS = 2.0
"""Size of the ellipses of uncertainty, in standard deviations."""
ELLIPSE_OPACITY = 0.55
LEFT_PX, BELOW_PX, LEGEND_PX, LINE_PX = 44, 26, 176, 18
CAMERA_TO_BUMPER_M = 2.0
"""The camera's distance behind the front bumper of the vehicle that is drawn; it is not known."""
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


@dataclass(frozen=True)
class Labelled:
    """A box with what is written at it."""

    lifted: Lifted
    text: str


@dataclass(frozen=True)
class Area:
    """What is shown: forward is up.

    Attributes:
        ahead_m, behind_m, aside_m: of base, forward, backward and to each side.
        pixels_per_m: of the image.
    """

    ahead_m: float = 60.0
    behind_m: float = 6.0
    aside_m: float = 20.0
    pixels_per_m: float = 11.0

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return (
            round((self.ahead_m + self.behind_m) * self.pixels_per_m),
            round(2 * self.aside_m * self.pixels_per_m),
        )

    def places(self) -> np.ndarray:
        """H x W x 2, where the pixels are: forward and left in base [m]."""
        rows, columns = np.mgrid[: self.shape[0], : self.shape[1]] + 0.5
        return np.stack(
            (self.ahead_m - rows / self.pixels_per_m, self.aside_m - columns / self.pixels_per_m), -1
        )

    def pixels(self, places: np.ndarray) -> np.ndarray:
        """N x 2 integers, x and y, of N x 2 places."""
        columns = (self.aside_m - places[:, 1]) * self.pixels_per_m
        rows = (self.ahead_m - places[:, 0]) * self.pixels_per_m
        return np.floor(np.column_stack((columns, rows))).astype(int)


def draw_top_view(
    area: Area,
    ground: np.ndarray,
    boxes: Sequence[Labelled],
    camera: tuple[float, float],
    classes: Mapping[str, Colour],
) -> np.ndarray:
    """An image with scales and a legend: uint8 RGB, larger than the area.

    Args:
        area: what is shown.
        ground: its H x W x 3 uint8 RGB; black where no ground is seen.
        boxes: with their ellipses of uncertainty.
        camera: its place, forward and left in base [m].
        classes: colours of the legend, by name.
    """
    view = np.full((*area.shape, 3), BACKGROUND, np.uint8)
    seen = ground.any(2)
    view[seen] = ground[seen]
    _draw_grid(view, area)
    _draw_vehicle(view, area, camera)
    lines = view.copy()
    for box in boxes:
        cv2.polylines(lines, [area.pixels(_ellipse(box.lifted))], True, _colour(box), 1, cv2.LINE_AA)
    cv2.addWeighted(lines, ELLIPSE_OPACITY, view, 1 - ELLIPSE_OPACITY, 0, dst=view)
    for box in boxes:
        cv2.polylines(view, [area.pixels(_outline(box.lifted))], True, _colour(box), 2, cv2.LINE_AA)
    _write_texts(view, area, boxes)
    return _with_margins(view, area, classes)


def _colour(box: Labelled) -> Colour:
    return UNSURE if box.lifted.marks else BOX


def _rectangle(x: float, y: float, length: float, width: float) -> np.ndarray:
    signs = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)])
    corners: np.ndarray = (x, y) + signs * (length / 2, width / 2)
    return corners


def _outline(lifted: Lifted) -> np.ndarray:
    x, y, _ = map(float, lifted.middle)
    return _rectangle(x, y, lifted.size.length, lifted.size.width)


def _ellipse(lifted: Lifted) -> np.ndarray:
    values, axes = np.linalg.eigh(lifted.covariance[:2, :2])
    radii = SIGMAS * np.sqrt(np.maximum(values, 0))
    angles = np.linspace(0, 2 * np.pi, 64)
    points: np.ndarray = np.column_stack((np.cos(angles), np.sin(angles))) * radii @ axes.T + lifted.foot[:2]
    return points


def _draw_grid(view: np.ndarray, area: Area) -> None:
    height, width = area.shape
    for ahead in np.arange(0.0, area.ahead_m, GRID_M):
        ((_, row),) = area.pixels(np.array([[ahead, 0.0]]))
        cv2.line(view, (0, int(row)), (width, int(row)), GRID, 1)
    for aside in np.arange(-area.aside_m + GRID_M, area.aside_m, GRID_M):
        ((column, _),) = area.pixels(np.array([[0.0, aside]]))
        cv2.line(view, (int(column), 0), (int(column), height), GRID, 1)


def _draw_vehicle(view: np.ndarray, area: Area, camera: tuple[float, float]) -> None:
    """A car of the usual size around the camera, and the camera as a dot."""
    size = PRIORS["car"]
    middle = camera[0] + CAMERA_TO_BUMPER_M - size.length / 2
    corners = area.pixels(_rectangle(middle, camera[1], size.length, size.width))
    cv2.fillPoly(view, [corners], BACKGROUND)
    cv2.polylines(view, [corners], True, VEHICLE, 2, cv2.LINE_AA)
    ((x, y),) = area.pixels(np.array([camera]))
    cv2.circle(view, (int(x), int(y)), 3, VEHICLE, cv2.FILLED, cv2.LINE_AA)


def _write_texts(view: np.ndarray, area: Area, boxes: Sequence[Labelled]) -> None:
    """The boxes' texts beside them, where they cover neither each other nor a box; else to the right."""
    outlines = [area.pixels(_outline(box.lifted)) for box in boxes]
    taken = [(*corners.min(0), *corners.max(0)) for corners in outlines]
    for box, corners in zip(boxes, outlines, strict=True):
        (width, height), _ = cv2.getTextSize(box.text, _FONT, _SCALE, 1)
        (left, top), (right, bottom) = corners.min(0), corners.max(0)
        row = (top + bottom - height) // 2
        beside = [(right + 5, row + down) for down in (0, -LINE_PX, LINE_PX)]
        beside += [(left - 5 - width, row + down) for down in (0, -LINE_PX, LINE_PX)]
        places = [(int(x), int(y), int(x) + width, int(y) + height) for x, y in beside]
        free = (place for place in places if _fits(place, taken, area))
        place = next(free, places[0])
        taken.append(place)
        _write(view, box.text, place[0], place[3], _colour(box))


def _fits(place: tuple[int, ...], taken: Sequence[tuple[int, ...]], area: Area) -> bool:
    """Whether a rectangle (x0, y0, x1, y1) is inside the area and overlaps none of the others."""
    x0, y0, x1, y1 = place
    if x0 < 0 or y0 < 0 or x1 > area.shape[1] or y1 > area.shape[0]:
        return False
    return all(x1 < a or c < x0 or y1 < b or d < y0 for a, b, c, d in taken)


def _write(view: np.ndarray, text: str, left: int, bottom: int, colour: Colour = TEXT) -> None:
    cv2.putText(view, text, (left, bottom), _FONT, _SCALE, BACKGROUND, 3, cv2.LINE_AA)
    cv2.putText(view, text, (left, bottom), _FONT, _SCALE, colour, 1, cv2.LINE_AA)


def _with_margins(view: np.ndarray, area: Area, classes: Mapping[str, Colour]) -> np.ndarray:
    """The view with its scales in metres at the left and below, and the legend at the right."""
    margins = (0, BELOW_PX, LEFT_PX, LEGEND_PX)
    whole = cv2.copyMakeBorder(view, *margins, cv2.BORDER_CONSTANT, value=BACKGROUND)
    for ahead in np.arange(0.0, area.ahead_m, GRID_M):
        ((_, row),) = area.pixels(np.array([[ahead, 0.0]]))
        _write(whole, f"{ahead:.0f} m", 4, int(row) + 4)
    bottom = area.shape[0] + LINE_PX
    for aside in np.arange(-area.aside_m + GRID_M, area.aside_m, GRID_M):
        ((column, _),) = area.pixels(np.array([[0.0, aside]]))
        text = f"{abs(aside):.0f} m {'left' if aside > 0 else 'right'}" if aside else "0"
        (width, _), _ = cv2.getTextSize(text, _FONT, _SCALE, 1)
        _write(whole, text, LEFT_PX + int(column) - width // 2, bottom)
    _draw_legend(whole, LEFT_PX + area.shape[1] + 12, classes)
    return whole


def _draw_legend(whole: np.ndarray, left: int, classes: Mapping[str, Colour]) -> None:
    row = LINE_PX
    for name, colour in classes.items():
        cv2.rectangle(whole, (left, row - 10), (left + 18, row + 2), colour, cv2.FILLED)
        _write(whole, name, left + 26, row)
        row += LINE_PX
    for text, colour in (("object", BOX), ("object, doubtful", UNSURE), ("this vehicle", VEHICLE)):
        cv2.rectangle(whole, (left, row - 10), (left + 18, row + 2), colour, 2)
        _write(whole, text, left + 26, row)
        row += LINE_PX
    cv2.ellipse(whole, (left + 9, row - 4), (9, 6), 0, 0, 360, BOX, 1, cv2.LINE_AA)
    _write(whole, f"{SIGMAS:g} std. deviations", left + 26, row)
    cv2.circle(whole, (left + 9, row + LINE_PX - 4), 3, VEHICLE, cv2.FILLED, cv2.LINE_AA)
    _write(whole, "camera", left + 26, row + LINE_PX)
    _write(whole, "no ground seen: dark", left, row + 2 * LINE_PX)
