"""One picture and what is known of it; how pictures are found and read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sample:
    """One picture and what is known of it.

    Attributes:
        image: H x W x 3 uint8 RGB.
        labels: H x W uint8 class ids, 255 = unlabelled; None where there are no labels.
        boxes: M x 5 float32 (class index, x0, y0, x1, y1); None where boxes are unknown.
        driving: a road scene (rain with veil), else a photograph.
    """

    image: np.ndarray
    labels: np.ndarray | None
    boxes: np.ndarray | None
    driving: bool
