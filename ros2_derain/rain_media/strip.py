"""One picture in several rains, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ros2_derain.rain_media.shower import Shower

COLUMNS = 4
CELL_WIDTH = 480
CAPTION_HEIGHT = 30
GAP = 4


def strip(picture: np.ndarray, showers: Sequence[Shower]) -> np.ndarray:
    """A grid of the picture in each rain, captioned, at most four abreast.

    Args:
        picture: H x W x 3 uint8 RGB.
        showers: one or more.

    Returns:
        rows x columns cells of up to 480 pixels width, as one H' x W' x 3 uint8 RGB.
    """
    cells = [_cell(shower.over(picture), shower.caption) for shower in showers]
    columns = min(len(cells), COLUMNS)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return np.vstack(rows)[:, :-GAP]


def _cell(picture: np.ndarray, caption: str) -> np.ndarray:
    height, width = picture.shape[:2]
    if width > CELL_WIDTH:
        picture = cv2.resize(
            picture, (CELL_WIDTH, round(height * CELL_WIDTH / width)), interpolation=cv2.INTER_AREA
        )
    cell = cv2.copyMakeBorder(picture, 0, CAPTION_HEIGHT, 0, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.putText(
        cell,
        caption,
        (6, cell.shape[0] - 9),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.6,
        (0, 0, 0),
        1,
        cv2.LINE_AA,
    )
    return cell
