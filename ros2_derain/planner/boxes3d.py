"""Boxes in metres: the foot of a box on the ground, or the lidar points inside it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from .camera import Camera
from .ground import meet_ground
from .lidar import Painted, View
from .pose import Pose

ABOVE_HORIZON, OUT_OF_RANGE = "above_horizon", "out_of_range"
"""Why a detection has no place on the ground."""
CUT_BY_BORDER, FOOT_HIDDEN, LOW_TRUST = "cut_by_border", "foot_hidden", "low_trust"
"""What makes a place doubtful; each widens the covariance."""

HIDDEN_FACTOR = 3.0
"""Factor on the standard deviation along the ray where no ground is seen below the foot."""
UNTRUSTED_FACTOR = 3.0
"""Factor on all standard deviations at a trust of 0; 1 at full trust."""
LOW_TRUST_BELOW = 0.5

STRIP = 0.1
"""Height of the strip below the foot in which ground is sought, as a share of the box's."""
GROUND_SHARE = 0.1
"""Share of the strip's pixels that must be ground."""

MIN_POINTS = 3
"""Fewer lidar points in a box say nothing."""
ABOVE_GROUND_M = 0.2
"""Points below this height may be the ground's."""
CLUSTER_M = 2.0
"""Depth of the nearest cluster of points in a box."""
LIDAR_SIGMA = (0.1, 0.01)
"""Standard deviation of a place by lidar: metres, and share of the distance."""


@dataclass(frozen=True)
class SizePrior:
    """Size of a class's objects in metres: along their heading, across it, and their height."""

    length: float
    width: float
    height: float


PRIORS = {
    "car": SizePrior(4.5, 1.8, 1.5),
    "truck": SizePrior(8.0, 2.5, 3.2),
    "bus": SizePrior(11.0, 2.6, 3.2),
    "train": SizePrior(25.0, 2.8, 3.8),
    "pedestrian": SizePrior(0.6, 0.6, 1.7),
    "person": SizePrior(0.6, 0.6, 1.7),
    "bicyclist": SizePrior(1.8, 0.6, 1.7),
    "rider": SizePrior(1.8, 0.6, 1.7),
    "bicycle": SizePrior(1.8, 0.6, 1.2),
    "motorcycle": SizePrior(2.1, 0.8, 1.4),
}
"""Usual sizes of road users, by class name in lower case."""
UNKNOWN_SIZE = SizePrior(1.0, 1.0, 1.0)


@dataclass(frozen=True)
class BoxSigmas:
    """Standard deviations of what a place is computed from.

    Attributes:
        pitch: of the camera relative to the ground [rad]: suspension, slopes.
        height: of the camera, as a share of it.
        foot_px: of the lower edge of a box [pixels].
    """

    pitch: float = math.radians(0.5)
    height: float = 0.03
    foot_px: float = 2.0


@dataclass(frozen=True, eq=False)
class Lifted:
    """A detection in metres.

    Attributes:
        index: of the detection.
        foot: 3 float64, where its near side stands, in base [m].
        middle: 3 float64, of the box, in base [m]: half its length behind the foot, as seen from the camera.
        size: by its class.
        covariance: 3 x 3 of the foot in base [m^2].
        distance: from the camera, over the ground [m].
        by_lidar: whether by lidar points; else by the foot of the box.
        marks: what makes it doubtful.
    """

    index: int
    foot: np.ndarray
    middle: np.ndarray
    size: SizePrior
    covariance: np.ndarray
    distance: float
    by_lidar: bool
    marks: tuple[str, ...]


class Lifter:
    """Lifts the detections of one camera.

    Args:
        camera: of the images.
        to_base: from the camera's frame to base.
        ground_z: height of the ground in base [m].
        max_range: greatest distance [m].
        sigmas: standard deviations.
    """

    def __init__(
        self, camera: Camera, to_base: Pose, ground_z: float, max_range: float, sigmas: BoxSigmas
    ) -> None:
        self._camera, self._to_base = camera, to_base
        self._ground_z, self._max_range, self._sigmas = ground_z, max_range, sigmas
        self._height = float(to_base.translation[2]) - ground_z

    def lift(
        self,
        boxes: np.ndarray,
        class_names: Sequence[str],
        view: View | None = None,
        ground: Collection[int] = (),
        cloud: tuple[np.ndarray, Painted] | None = None,
    ) -> tuple[list[Lifted], dict[int, str]]:
        """Lift the detections of an image.

        Args:
            boxes: N x 4 (x0, y0, x1, y1) in pixels.
            class_names: of the boxes.
            view: of the same image; None: trust is full, and every foot counts as seen.
            ground: ids of labels that are ground.
            cloud: M x 3 lidar points in base, and how they were painted; None: there is none.

        Returns:
            those that have a place, and why the others have none, by index.
        """
        boxes = np.asarray(boxes, float).reshape(-1, 4)
        feet = np.column_stack(((boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3] - 0.5))
        rays = self._camera.rays(feet)
        places = self._to_base.apply(meet_ground(rays, self._to_base, self._ground_z, math.inf))
        points = _Cloud(*cloud, self._ground_z) if cloud is not None else None
        lifted, dropped = [], {}
        for index, name in enumerate(class_names):
            place, by_lidar = places[index], False
            if points is not None and (found := points.nearest(boxes[index])) is not None:
                place, by_lidar = found, True
            distance = float(np.hypot(*(place - self._to_base.translation)[:2]))
            if not math.isfinite(distance):
                dropped[index] = ABOVE_HORIZON
            elif distance > self._max_range:
                dropped[index] = OUT_OF_RANGE
            else:
                size = PRIORS.get(name.lower(), UNKNOWN_SIZE)
                trust, marks = self._doubts(boxes[index], view, ground, by_lidar)
                covariance = self._covariance(place, distance, size, trust, marks, by_lidar)
                away = (place - self._to_base.translation) * (1, 1, 0) / max(distance, 1e-9)
                middle = place + size.length / 2 * away + (0, 0, size.height / 2)
                lifted.append(Lifted(index, place, middle, size, covariance, distance, by_lidar, marks))
        return lifted, dropped

    def _doubts(
        self, box: np.ndarray, view: View | None, ground: Collection[int], by_lidar: bool
    ) -> tuple[float, tuple[str, ...]]:
        """Trust of the box's pixels, 0..1, and what makes its place doubtful."""
        marks, trust = [], 1.0
        x0, y0, x1, y1 = box
        cut = y1 >= self._camera.height - 1
        if cut and not by_lidar:
            marks.append(CUT_BY_BORDER)
        if view is not None:
            left, right = int(max(0, x0)), int(max(x0 + 1, np.ceil(x1)))
            top, bottom = int(max(0, (y0 + y1) / 2)), int(np.ceil(y1))
            lower_half = view.trust[top:bottom, left:right]
            trust = float(lower_half.mean()) / 255 if lower_half.size else 1.0
            middle = slice(left + (right - left) // 4, max(left + 1, right - (right - left) // 4))
            strip = view.labels[bottom : bottom + max(3, int(STRIP * (y1 - y0))), middle]
            seen = np.isin(strip, list(ground)).mean() if strip.size else 0.0
            if not (by_lidar or cut) and seen < GROUND_SHARE:
                marks.append(FOOT_HIDDEN)
        if trust < LOW_TRUST_BELOW:
            marks.append(LOW_TRUST)
        return trust, tuple(marks)

    def _covariance(
        self,
        place: np.ndarray,
        distance: float,
        size: SizePrior,
        trust: float,
        marks: Sequence[str],
        by_lidar: bool,
    ) -> np.ndarray:
        """3 x 3 in base.

        Over flat ground the distance is r = h / tan(a) of the angle a below the horizon, so that
        dr = (r^2 + h^2) / h da + r dh / h.
        """
        s, h, r = self._sigmas, self._height, distance
        angle = math.hypot(s.pitch, s.foot_px / self._camera.focal)
        if by_lidar:
            along = across = LIDAR_SIGMA[0] + LIDAR_SIGMA[1] * r
        else:
            along = math.hypot((r * r + h * h) / h * angle, r * s.height)
            across = r * s.foot_px / self._camera.focal + size.width / 4
        if FOOT_HIDDEN in marks:
            along *= HIDDEN_FACTOR
        if CUT_BY_BORDER in marks:  # nearer than what the border shows
            along = max(along, r)
        doubt = 1 + (UNTRUSTED_FACTOR - 1) * (1 - trust)
        sigmas = doubt * np.array([along, across, 0.1 + r * s.pitch])
        direction = (place - self._to_base.translation)[:2] / max(r, 1e-6)
        axes = np.array([[direction[0], -direction[1], 0], [direction[1], direction[0], 0], [0, 0, 1]])
        covariance: np.ndarray = axes @ np.diag(sigmas**2) @ axes.T
        return covariance


class _Cloud:
    """The visible points of a cloud that are above the ground."""

    def __init__(self, points: np.ndarray, painted: Painted, ground_z: float) -> None:
        self._ground_z = ground_z
        seen = points[painted.visible]
        kept = seen[:, 2] > ground_z + ABOVE_GROUND_M
        self._points, self._pixels = seen[kept], painted.pixels[kept]

    def nearest(self, box: np.ndarray) -> np.ndarray | None:
        """Where the nearest cluster of points in a box stands, in base; None where there are too few."""
        x0, y0, x1, y1 = box
        inside = ((self._pixels >= (x0, y0)) & (self._pixels < (x1, y1))).all(1)
        found = self._points[inside]
        if len(found) < MIN_POINTS:
            return None
        ranges = np.hypot(found[:, 0], found[:, 1])
        start = np.sort(ranges)[min(MIN_POINTS, len(ranges)) - 1]
        near = found[ranges <= start + CLUSTER_M]
        across = np.median(near, axis=0)
        near_side = np.percentile(np.hypot(near[:, 0], near[:, 1]), 10)
        flat = across[:2] * (near_side / max(float(np.hypot(*across[:2])), 1e-6))
        return np.array([flat[0], flat[1], self._ground_z], float)
