"""What water and dirt hide from one camera, over its frames.

Water on the glass stands still in the image while the scene moves behind it. So the gauge need not look for
it in every frame; it compares the image with the mean of earlier ones; and what it sees is averaged per
place, which removes false alarms that flicker, and does not smear what moves.
What stays in place for minutes while the scene moves is dirt rather than rain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from torch import Tensor

from ros2_derain.networks import Water
from ros2_derain.networks.weather_gauge import RECENT_S

from .scene import REGIONS, UNLABELLED, Frame, Perception, View
from .settings import EngineSettings

HIDDEN = 0.5
"""A place is hidden where the average obstruction is above this,"""
FREE = 0.25
"""and free again, so that dirt is counted anew, below this."""

NOISE = 0.1
"""Obstruction below this says nothing, and is published as 0."""

MOTION_SIZE = 32, 18
"""Width and height of the grey images by which motion is measured,"""
MOTION_STEP_S = 0.5
"""and the least time between two that are compared."""
MOVED = 0.05
"""The scene moves where two of them, of mean 0 and deviation 1, differ by more on average. From a moving car
it is 0.08 to 0.5, from a standing one 0.01 with much noise and 0.03 in 10 mm/h; heavy rain counts too."""

NAMED_CLASSES = ("sky", "road")
"""Classes of which the hidden share is reported."""

SAMPLED = 4
"""Distance in pixels between those that are counted for it, along rows and columns."""


class ViewTracker:
    """What hides the scene from one camera, averaged over its frames."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is of another drive or camera."""
        self._dirt = DirtTimer()
        self.pause()

    def pause(self) -> None:
        """Forget the average, not the dirt: there is a gap in time."""
        self._average: np.ndarray | None = None
        self._seen: Water | None = None
        self._recent: Tensor | None = None
        self._contrast_loss: float | None = None
        self._is_wet = False
        self._time_ns = self._looked_ns = 0
        self._dirt.pause()

    def is_due(self, time_ns: int, settings: EngineSettings) -> bool:
        """Whether the gauge must look for water in the frame of this time, which never goes back.

        Where there is water it looks in every frame: between two of them a wiper may clear half of the glass.
        """
        waited = time_ns - self._looked_ns >= 1e9 * settings.water_interval_s
        return self._seen is None or self._is_wet or waited

    def recent(self, image: Tensor, time_ns: int) -> Tensor:
        """The mean of the images in which water was looked for; from now on with this one.

        Args:
            image: 1 x 3 x H x W in 0..1, as the gauge gets it; all of the same size.
            time_ns: of the frame, which never goes back.

        Returns:
            The same shape; the image itself if it is the first. See :meth:`WeatherGauge.water`.
        """
        if self._recent is None:
            self._recent = image.float()
            return image
        before = self._recent
        self._recent = before.lerp(image.float(), _share(time_ns - self._looked_ns, RECENT_S))
        return before.to(image.dtype)

    def update(
        self, frame: Frame, seen: Water | None, time_ns: int, settings: EngineSettings
    ) -> tuple[View, np.ndarray | None]:
        """Take the next frame.

        The average ``a`` of a place follows what is measured, ``m``, by ``a += (1 - exp(-t / T)) (m - a)``,
        with the time ``t`` since the previous frame and ``T = obstruction_average_s``. The first frame counts
        as measured. The lost contrast follows in the same way, with ``RECENT_S``.

        Args:
            frame: the image.
            seen: what the gauge sees in it, N = 1; None: it did not look, and what it saw last counts.
            time_ns: of the frame, which never goes back.
            settings: time constant, and the age of dirt.

        Returns:
            The view; and the obstruction, H x W uint8, None where the gauge measures none.
        """
        if seen is not None:
            loss = float(seen.contrast_loss[0])
            if self._contrast_loss is not None:
                share = _share(time_ns - self._looked_ns, RECENT_S)
                loss = self._contrast_loss + share * (loss - self._contrast_loss)
            self._seen, self._looked_ns, self._contrast_loss = seen, time_ns, loss
        if self._seen is None or self._contrast_loss is None:
            return View(), None
        measured = self._seen.obstruction[0, 0].float().numpy()
        average = self._averaged(measured, time_ns, settings.obstruction_average_s)
        hidden = average > HIDDEN
        dirt = self._dirt.update(frame.image, average, time_ns, settings.dirt_after_s)
        regions = cv2.resize(hidden.astype(np.float32), (3, 2), interpolation=cv2.INTER_AREA)
        view = View(
            coverage=float(np.mean(hidden & ~dirt)),
            contrast_loss=self._contrast_loss,
            dirt=float(np.mean(dirt)),
            hidden=dict(zip(REGIONS, map(float, regions.ravel()), strict=True)),
        )
        self._is_wet = view.coverage >= settings.gate_close_coverage
        return view, _enlarged(average, frame.image.shape[:2])

    def _averaged(self, measured: np.ndarray, time_ns: int, constant_s: float) -> np.ndarray:
        before = self._average
        if before is None or before.shape != measured.shape or constant_s == 0:
            average = measured
        else:
            share = np.float32(_share(time_ns - self._time_ns, constant_s))
            average = before + share * (measured - before)
        self._average, self._time_ns = average, time_ns
        return average


class DirtTimer:
    """For how long each place has been hidden while the scene moved.

    Time counts in steps of :data:`MOTION_STEP_S` between whose ends the scene has moved; a place that is free
    once begins anew.
    """

    def __init__(self) -> None:
        self._seconds: np.ndarray | None = None
        self.pause()

    def pause(self) -> None:
        """The time until the next frame does not count."""
        self._reference: tuple[int, np.ndarray] | None = None

    def update(self, image: np.ndarray, obstruction: np.ndarray, time_ns: int, after_s: float) -> np.ndarray:
        """Take the next frame.

        Args:
            image: H x W x 3 uint8 RGB.
            obstruction: h x w, 0..1.
            time_ns: of the frame.
            after_s: the age of dirt; 0: nothing is dirt.

        Returns:
            h x w, whether dirt hides the place.
        """
        if self._seconds is None or self._seconds.shape != obstruction.shape:
            self._seconds = np.zeros(obstruction.shape, np.float32)
            self.pause()
        hidden = obstruction > HIDDEN
        self._seconds[obstruction < FREE] = 0
        self._seconds[hidden] += self._moving_s(image, time_ns)
        return hidden & (self._seconds >= (after_s or math.inf))

    def _moving_s(self, image: np.ndarray, time_ns: int) -> float:
        """Seconds for which the scene has moved that were not counted yet."""
        if self._reference is None:
            self._reference = time_ns, _grey(image)
            return 0.0
        since_ns, before = self._reference
        step_s = (time_ns - since_ns) / 1e9
        if step_s < MOTION_STEP_S:
            return 0.0
        now = _grey(image)
        self._reference = time_ns, now
        return step_s if np.abs(now - before).mean() > MOVED else 0.0


def _share(since_ns: int, constant_s: float) -> float:
    """What a new value counts in an average with this time constant, 0..1."""
    return -math.expm1(-since_ns / 1e9 / constant_s)


def seen_through(plane: np.ndarray, obstruction: np.ndarray | None) -> np.ndarray:
    """A trust or confidence map where the view is obstructed: ``value (1 - obstruction / 255)``.

    What is hidden was not seen, however sure a network is of it.

    Args:
        plane: H x W uint8.
        obstruction: H x W uint8; None: not measured.
    """
    if obstruction is None:
        return plane
    return cv2.multiply(plane, cv2.bitwise_not(obstruction), scale=1 / 255)


def perceived_through(
    seen: Perception, obstruction: np.ndarray | None, confidence_threshold: float
) -> Perception:
    """A perception whose confidence is :func:`seen_through` the glass.

    Args:
        seen: of the clean image.
        obstruction: H x W uint8; None: not measured.
        confidence_threshold: pixels below this confidence, 0..1, are unlabelled.
    """
    if obstruction is None or not obstruction.any():
        return seen
    confidence = seen_through(seen.confidence, obstruction)
    labels = seen.labels
    if confidence_threshold > 0:
        labels = np.where(confidence < 255 * confidence_threshold, np.uint8(UNLABELLED), labels)
    return Perception(labels, confidence, seen.detections)


def hidden_classes(
    obstruction: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> Mapping[str, float]:
    """The hidden share of each of :data:`NAMED_CLASSES` that the label map shows.

    Args:
        obstruction: H x W uint8.
        labels: H x W uint8 class ids.
        class_names: by id.
    """
    hidden = obstruction[::SAMPLED, ::SAMPLED] > 255 * HIDDEN
    labels = labels[::SAMPLED, ::SAMPLED]
    shares = {}
    for name in NAMED_CLASSES:
        if name in class_names and (of_class := labels == class_names.index(name)).any():
            shares[name] = float(np.mean(hidden[of_class]))
    return shares


def _enlarged(average: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """h x w cells, 0..1 -> H x W uint8, bilinear; what says nothing is 0."""
    cells = (np.where(average < NOISE, 0, average) * 255 + 0.5).astype(np.uint8)
    height, width = size
    stride = 2 ** round(math.log2(width / cells.shape[1]))
    whole = cv2.resize(cells, (stride * cells.shape[1], stride * cells.shape[0]))
    missing = max(0, height - whole.shape[0]), max(0, width - whole.shape[1])
    if any(missing):
        whole = np.pad(whole, ((0, missing[0]), (0, missing[1])), "edge")
    return np.ascontiguousarray(whole[:height, :width])


def _grey(image: np.ndarray) -> np.ndarray:
    """A small grey image of mean 0 and deviation 1, so that a change of exposure is no motion."""
    small = cv2.resize(image, MOTION_SIZE, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey -= grey.mean()
    return grey / max(1.0, float(grey.std()))
