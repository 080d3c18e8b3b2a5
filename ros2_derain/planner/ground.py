"""Where pixels lie on a flat ground, for an image grid of a stride."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from .camera import Camera
from .pose import Pose


class GroundGrid:
    """The ground points of every ``stride``-th pixel of a camera's images.

    The rays are computed once, the points once for every pose.

    Args:
        camera: of the images.
        stride: in pixels, from the first pixel on; >= 1.
    """

    def __init__(self, camera: Camera, stride: int) -> None:
        self.camera, self.stride = camera, stride
        rows, columns = np.mgrid[0 : camera.height : stride, 0 : camera.width : stride]
        pixels = np.column_stack((columns.ravel(), rows.ravel())).astype(float)
        self._rays = camera.rays(pixels).reshape(*rows.shape, 3)
        self._key: tuple | None = None
        self._points = np.empty(0, np.float32)

    def points(self, to_base: Pose, ground_z: float, max_range: float) -> np.ndarray:
        """The points on the ground.

        Args:
            to_base: from the camera's frame to base.
            ground_z: height of the ground in base [m].
            max_range: greatest horizontal distance from the camera [m].

        Returns:
            h x w x 3 float32 in the camera's frame [m], not to be changed; NaN where the ray does not meet
            the ground within the range.
        """
        key = (to_base.rotation.tobytes(), to_base.translation.tobytes(), ground_z, max_range)
        if key != self._key:
            self._points = meet_ground(self._rays, to_base, ground_z, max_range).astype(np.float32)
            self._points.flags.writeable = False
            self._key = key
        return self._points


def meet_ground(rays: np.ndarray, to_base: Pose, ground_z: float, max_range: float) -> np.ndarray:
    """Where rays meet the ground.

    Args:
        rays: ... x 3, from the camera.
        to_base, ground_z, max_range: as for :meth:`GroundGrid.points`.

    Returns:
        ... x 3 float64 in the camera's frame [m]; NaN where they do not within the range: at and above the
        horizon, or with the camera below the ground.
    """
    turned = Pose(to_base.rotation, np.zeros(3)).apply(rays)
    height = to_base.translation[2] - ground_z
    with np.errstate(invalid="ignore", divide="ignore"):
        along = -height / turned[..., 2]
        far = along * np.hypot(turned[..., 0], turned[..., 1])
        along[~((turned[..., 2] < 0) & (along > 0) & (far <= max_range))] = np.nan
    return rays * along[..., None]


def on_ground(labels: np.ndarray, ground: Collection[int], feet: Collection[int] = ()) -> np.ndarray:
    """Which pixels of a label map lie on the ground.

    Args:
        labels: H x W uint8.
        ground: ids of road, pavement and the like.
        feet: ids of objects that stand on the ground; of these the pixels just above ground belong to it.

    Returns:
        H x W bool.
    """
    flat = _members(ground)[labels]
    found = flat.copy()
    found[:-1] |= _members(feet)[labels[:-1]] & flat[1:]
    return found


def _members(ids: Collection[int]) -> np.ndarray:
    table = np.zeros(256, bool)
    table[list(ids)] = True
    return table
