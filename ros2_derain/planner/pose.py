"""Rigid transforms between frames of reference, and a tree of them as on ``/tf``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np


class PlannerError(Exception):
    """Something cannot be said in metres; the message says what is wrong and what to do."""


class TransformError(PlannerError):
    """Two frames are not connected, or their transform is too old."""


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid transform: from a frame of reference to the one it is placed in.

    Attributes:
        rotation: 3 x 3 float64, orthonormal.
        translation: 3 float64 [m].
    """

    rotation: np.ndarray
    translation: np.ndarray

    @classmethod
    def identity(cls) -> Pose:
        """The transform that changes nothing."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def of_angles(
        cls, x: float, y: float, z: float, roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0
    ) -> Pose:
        """From a position [m] and fixed-axis angles [rad] (REP 103): rotation about x, then y, then z.

        In a frame with x forward and z up a positive pitch looks down, a positive yaw to the left, and a
        positive roll lowers the right side.
        """
        (sr, sp, sy), (cr, cp, cy) = np.sin([roll, pitch, yaw]), np.cos([roll, pitch, yaw])
        about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        return cls(about_z @ about_y @ about_x, np.array([x, y, z], float))

    @classmethod
    def of_quaternion(cls, translation: tuple[float, ...], quaternion: tuple[float, ...]) -> Pose:
        """From a translation [m] and a quaternion (x, y, z, w).

        Raises:
            TransformError: a value is not finite, or the quaternion has no length.
        """
        moved, (x, y, z, w) = np.asarray(translation, float), np.asarray(quaternion, float)
        length = math.sqrt(x * x + y * y + z * z + w * w)
        if not (np.isfinite(moved).all() and math.isfinite(length) and length > 1e-6):
            raise TransformError(
                f"a transform has translation {translation} and rotation {quaternion}: send finite numbers "
                "and a quaternion of length 1"
            )
        x, y, z, w = x / length, y / length, z / length, w / length
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        return cls(rotation, moved)

    @property
    def quaternion(self) -> tuple[float, float, float, float]:
        """x, y, z, w of the rotation."""
        turned = cv2.Rodrigues(self.rotation)[0].ravel()
        angle = float(np.linalg.norm(turned))
        x, y, z = turned * (math.sin(angle / 2) / angle if angle > 0 else 0.0)
        return float(x), float(y), float(z), math.cos(angle / 2)

    def __matmul__(self, inner: Pose) -> Pose:
        """First ``inner``, then this one."""
        return Pose(self.rotation @ inner.rotation, self.rotation @ inner.translation + self.translation)

    def inverse(self) -> Pose:
        """The transform back."""
        return Pose(self.rotation.T, -self.rotation.T @ self.translation)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points of the inner frame, ... x 3, in the outer frame: float32 of float32, else float64.

        By OpenCV: a matrix product of NumPy takes 15 ms for 200,000 points.
        """
        kind = np.float32 if points.dtype == np.float32 else np.float64
        if not points.size:
            return np.empty(points.shape, kind)
        matrix = np.column_stack((self.rotation, self.translation))
        given: np.ndarray = np.ascontiguousarray(points, kind).reshape(-1, 1, 3)
        return np.asarray(cv2.transform(given, matrix)).reshape(points.shape)


OPTICAL = Pose(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.zeros(3))
"""From a camera's optical frame (z forward) to the same camera's body frame (x forward, z up)."""


@dataclass(frozen=True)
class _Edge:
    parent: str
    pose: Pose
    stamp_ns: int | None  # None: static


class TransformTree:
    """The newest transform of every frame to its parent, as ``/tf`` and ``/tf_static`` send them."""

    def __init__(self) -> None:
        self._edges: dict[str, _Edge] = {}

    def set(self, parent: str, child: str, pose: Pose, stamp_ns: int | None = None) -> None:
        """Take note of a transform; static ones have no stamp."""
        self._edges[child.lstrip("/")] = _Edge(parent.lstrip("/"), pose, stamp_ns)

    def lookup(self, target: str, source: str, stamp_ns: int, max_age_s: float) -> Pose:
        """The transform from ``source`` to ``target``.

        Args:
            target, source: frames.
            stamp_ns: the moment it is needed for.
            max_age_s: how far a moving transform may be from that moment.

        Raises:
            TransformError: the frames are not connected, or a transform between them is too far from the
                moment; the message names it.
        """
        target, source = target.lstrip("/"), source.lstrip("/")
        up_source, up_target = self._ancestors(source), self._ancestors(target)
        common = next((frame for frame in up_source if frame in up_target), None)
        if common is None:
            raise TransformError(f"no transform from {source} to {target}: publish it on /tf_static")
        down = self._chain(target, common, stamp_ns, max_age_s)
        return down.inverse() @ self._chain(source, common, stamp_ns, max_age_s)

    def connects(self, target: str, source: str) -> bool:
        """Whether there is a chain of transforms between two frames, however old."""
        return not {*self._ancestors(target.lstrip("/"))}.isdisjoint(self._ancestors(source.lstrip("/")))

    def _ancestors(self, frame: str) -> list[str]:
        found = [frame]
        while found[-1] in self._edges and self._edges[found[-1]].parent not in found:
            found.append(self._edges[found[-1]].parent)
        return found

    def _chain(self, frame: str, ancestor: str, stamp_ns: int, max_age_s: float) -> Pose:
        pose = Pose.identity()
        while frame != ancestor:
            edge = self._edges[frame]
            if edge.stamp_ns is not None and abs(stamp_ns - edge.stamp_ns) > max_age_s * 1e9:
                away = (stamp_ns - edge.stamp_ns) / 1e9
                raise TransformError(
                    f"the transform of {frame} is {away:.1f} s older than the image: publish it as fast as "
                    "the images, or static"
                )
            pose, frame = edge.pose @ pose, edge.parent
        return pose
