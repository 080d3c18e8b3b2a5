"""The worst frames of a run, for its report: not all of the same moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

APART_S = 0.3
"""Two frames of one camera that are nearer in time are one moment."""
WIDTH = 640
"""Pixels; wider images are scaled down."""


@dataclass(frozen=True)
class WorstFrame:
    """A frame with its images.

    Attributes:
        severity: 0..1; the higher, the worse.
        camera, time_ns: which frame: its stamp, or its reception where that cannot be used.
        record: its line of ``frames.jsonl``.
        before, after, drawn: input, clean image, and an image on which something is drawn; H x W x 3 uint8
            RGB.
    """

    severity: float
    camera: str
    time_ns: int
    record: dict
    before: np.ndarray
    after: np.ndarray
    drawn: np.ndarray


class WorstFrames:
    """Keeps the worst frames of a run.

    Args:
        count: how many.
    """

    def __init__(self, count: int = 6) -> None:
        self._count = count
        self._kept: list[WorstFrame] = []

    def offer(self, severity: float, camera: str, time_ns: int, make: Callable[[], WorstFrame]) -> None:
        """Keep this frame if it is among the worst; ``make`` is called only then."""
        near = [f for f in self._kept if f.camera == camera and abs(f.time_ns - time_ns) < APART_S * 1e9]
        rivals = near or (self._kept if len(self._kept) >= self._count else [])
        if rivals:
            mildest = min(rivals, key=lambda frame: frame.severity)
            if mildest.severity >= severity:
                return
            for rival in near or [mildest]:
                self._kept.remove(rival)
        self._kept.append(make())

    def __iter__(self):
        """The worst first."""
        return iter(sorted(self._kept, key=lambda frame: (-frame.severity, frame.camera, frame.time_ns)))


def scaled_down(image: np.ndarray) -> np.ndarray:
    """The image at no more than :data:`WIDTH` pixels; always a copy."""
    height, width = image.shape[:2]
    if width <= WIDTH:
        return image.copy()
    size = WIDTH, max(1, round(height * WIDTH / width))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def severity_of(record: Mapping) -> float:
    """How bad a frame is, 0..1, by its record.

    With true labels: 1 - mIoU against them; with true boxes only: 1 - F1 of the boxes; with reference
    images only: 1 - SSIM against them. With injected rain: 1 - mIoU against the dry run after deraining,
    in the heaviest rain or the last glass. Without any: how little its outputs are trusted,
    1 - trust * confidence.
    """
    truth = record.get("truth")
    if truth:
        return _severity_by_truth(truth)
    if record.get("injected"):
        last = list(record["injected"].values())[-1]
        return 1 - (last["derained"]["miou"] or 0)
    if record["confidence"] is None:
        return 1.0
    return 1 - record["trust"] * record["confidence"]


def _severity_by_truth(truth: Mapping) -> float:
    if "labels" in truth:
        return 1 - (truth["labels"]["output"]["miou"] or 0)
    if "boxes" in truth:
        boxes = truth["boxes"]["output"]
        wrong = boxes["false_alarms"] + boxes["misses"]
        return wrong / (wrong + 2 * boxes["hits"]) if wrong else 0.0  # 1 - F1
    return 1 - (truth["images"]["output"]["ssim"] or 0)
