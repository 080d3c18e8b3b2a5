"""Scores of frames seen through wet glass, where it is known what the water hides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from ros2_derain.engine import EngineSettings, Restored, Scene
from ros2_derain.evaluate.gate import FALSE_COVERAGE, GateReadings
from ros2_derain.reporting.statistics import finite

HIDDEN = 128
"""A pixel of a mask is hidden from this value on, of 255: more than half of it is."""

AREAS = ("psnr_db", "psnr_hidden_db", "psnr_visible_db")
"""PSNR of all pixels, of the hidden ones, and of the others."""


class PsnrByArea:
    """PSNR of images compared with the clean ones, where water hides the scene and where it does not.

    Of the mean squared error over all such pixels of all frames, as a mean over frames would give most weight
    to those with few hidden pixels.
    """

    def __init__(self) -> None:
        self._errors = dict.fromkeys(AREAS, 0.0)
        self._values = dict.fromkeys(AREAS, 0)

    def add(self, image: np.ndarray, clean: np.ndarray, hidden: np.ndarray) -> None:
        """Add a frame.

        Args:
            image, clean: H x W x 3 uint8.
            hidden: H x W, whether water hides the pixel.
        """
        error = np.square(cv2.absdiff(image, clean), dtype=np.float32).sum(axis=2)
        whole = float(error.sum(dtype=np.float64))
        inside = float(error[hidden].sum(dtype=np.float64))
        counts = (hidden.size, int(hidden.sum()), hidden.size - int(hidden.sum()))
        for area, squares, count in zip(AREAS, (whole, inside, whole - inside), counts, strict=True):
            self._errors[area] += squares
            self._values[area] += 3 * count

    def figures(self) -> dict[str, float | None]:
        """By :data:`AREAS`, in dB; None: equal. Areas without a pixel are left out."""
        return {area: _decibels(self._errors[area] / count) for area, count in self._values.items() if count}


@dataclass
class GlassScore:
    """What the gauge sees of the water on the glass, compared with what is there.

    Args:
        settings: of the engine.

    Attributes:
        readings: of gauge and gate.
        coverage, contrast_loss: the true ones of each frame, 0..1; contrast loss only where it is known.
    """

    settings: EngineSettings
    readings: GateReadings = field(default_factory=GateReadings)
    coverage: list[float] = field(default_factory=list)
    contrast_loss: list[float] = field(default_factory=list)
    _both: int = 0
    _either: int = 0

    def add(
        self,
        image: np.ndarray,
        seen: Restored | Scene,
        hidden: np.ndarray,
        contrast_loss: float | None = None,
    ) -> None:
        """Add a frame.

        Args:
            image: that the engine got.
            seen: that it returned.
            hidden: H x W, whether water hides the pixel.
            contrast_loss: the true one, 0..1; None: unknown.
        """
        self.readings.add(image, seen, self.settings)
        self.coverage.append(float(hidden.mean()))
        if contrast_loss is not None:
            self.contrast_loss.append(contrast_loss)
        if seen.obstruction is not None:
            found = seen.obstruction >= HIDDEN
            self._both += int(np.count_nonzero(found & hidden))
            self._either += int(np.count_nonzero(found | hidden))

    def figures(self) -> dict[str, float]:
        """Means over the frames, as far as they are measured and defined.

        ``mask_iou``: of all pixels of all frames, where any is hidden. ``coverage_error`` and
        ``contrast_loss_error``: mean absolute errors. ``false_coverage``: share of frames in which much is
        seen though there is nothing.
        """
        figures = {"coverage_true": float(np.mean(self.coverage))}
        figures |= {key: float(np.mean(values)) for key, values in (self.readings.as_dict() or {}).items()}
        if self.contrast_loss:
            figures["contrast_loss_true"] = float(np.mean(self.contrast_loss))
        if self._either and any(self.coverage):
            figures["mask_iou"] = self._both / self._either
        for key in ("coverage", "contrast_loss"):
            true, seen = getattr(self, key), getattr(self.readings, key)
            if true and seen:
                figures[f"{key}_error"] = float(np.abs(np.subtract(true, seen)).mean())
        if self.readings.coverage and not any(self.coverage):
            figures["false_coverage"] = float(np.mean(np.array(self.readings.coverage) > FALSE_COVERAGE))
        return figures

    def frames(self) -> dict[str, list]:
        """The readings, and ``coverage_true`` and ``contrast_loss_true``, of each frame; JSON-ready."""
        true = {"coverage_true": self.coverage, "contrast_loss_true": self.contrast_loss}
        return {key: values for key, values in true.items() if values} | (self.readings.as_dict() or {})


def gains(restored: Mapping[str, float | None], before: Mapping[str, float | None]) -> dict[str, float]:
    """What restoring gained, in dB, in each of :data:`AREAS`; areas that were or are perfect are left out."""
    found = {}
    for area in AREAS:
        after, first = restored.get(area), before.get(area)
        if after is not None and first is not None:
            found[area.replace("psnr", "gain")] = after - first
    return found


def _decibels(mean_squared_error: float) -> float | None:
    return finite(10 * math.log10(255**2 / mean_squared_error)) if mean_squared_error else None
