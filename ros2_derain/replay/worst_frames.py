"""The frames that are worth looking at: the worst ones, not all of the same moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

APART_S = 0.3
"""Two frames of one camera that are nearer in time are one moment."""
WIDTH = 640
"""Pixels; wider pictures are scaled down."""


@dataclass(frozen=True)
class Shown:
    """A frame with its pictures.

    Attributes:
        badness: 0..1; the higher, the worse.
        camera, stamp_ns: which frame.
        record: what was written down of it.
        before, after, drawn: input, clean image, clean image with classes and boxes; H x W x 3
            uint8 RGB.
    """

    badness: float
    camera: str
    stamp_ns: int
    record: dict
    before: np.ndarray
    after: np.ndarray
    drawn: np.ndarray


class Worst:
    """Keeps the worst frames of a run.

    Args:
        count: how many.
    """

    def __init__(self, count: int = 6) -> None:
        self._count = count
        self._kept: list[Shown] = []

    def offer(self, badness: float, camera: str, stamp_ns: int, show: Callable[[], Shown]) -> None:
        """Keep this frame if it is among the worst; ``show`` is called only then."""
        near = [s for s in self._kept if s.camera == camera and abs(s.stamp_ns - stamp_ns) < APART_S * 1e9]
        rivals = near or (self._kept if len(self._kept) >= self._count else [])
        if rivals:
            mildest = min(rivals, key=lambda shown: shown.badness)
            if mildest.badness >= badness:
                return
            for rival in near or [mildest]:
                self._kept.remove(rival)
        self._kept.append(show())

    def __iter__(self):
        """The worst first."""
        return iter(sorted(self._kept, key=lambda shown: (-shown.badness, shown.camera, shown.stamp_ns)))


def small(picture: np.ndarray) -> np.ndarray:
    """The picture at no more than :data:`WIDTH` pixels; always a copy."""
    height, width = picture.shape[:2]
    if width <= WIDTH:
        return picture.copy()
    size = WIDTH, max(1, round(height * WIDTH / width))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
