"""A calibrated camera: which ray a pixel sees, and which pixel sees a point.

Distortion as in OpenCV: ``plumb_bob`` and ``rational_polynomial`` (its pinhole model), ``equidistant``
(its fisheye model; Kannala and Brandt, TPAMI 2006). Rays are computed by OpenCV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from .pose import PlannerError

PINHOLE = ("plumb_bob", "rational_polynomial")
FISHEYE = "equidistant"
COEFFICIENTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 4, 5, 8, 12, 14), FISHEYE: (0, 4)}
"""Numbers of distortion coefficients, by model."""

INVERTED_WITHIN_PX = 0.1
"""A ray whose pixel is farther from the one that it was computed for is none."""
NEAREST_M = 1e-3
"""Points that are nearer to the camera's plane are not seen."""
BORDER_STEPS = 64
LONGEST_OWN = 8
"""Models of more coefficients (thin prism, tilt) are computed by OpenCV alone."""
NO_TURN = np.zeros(3)


class CalibrationError(PlannerError):
    """A calibration cannot be used for the images."""


@dataclass(frozen=True)
class Calibration:
    """What a ``sensor_msgs/CameraInfo`` states.

    Attributes:
        width, height: of the full image in pixels.
        model: of the distortion; '' stands for ``plumb_bob``.
        k: the 9 numbers of the intrinsic matrix of the full image, row by row.
        d: distortion coefficients.
        binning: pixels that are combined, in x and y; 0 stands for 1.
        roi: x, y, width, height of the part that is sent, in pixels of the full image; a width or height of
            0: all of it.
    """

    width: int
    height: int
    model: str
    k: tuple[float, ...]
    d: tuple[float, ...] = ()
    binning: tuple[int, int] = (1, 1)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the images that it is for, after region of interest and binning."""
        binned_x, binned_y = (max(1, value) for value in self.binning)
        return (self.roi[2] or self.width) // binned_x, (self.roi[3] or self.height) // binned_y

    def scale_to(self, width: int, height: int) -> tuple[float, float]:
        """How much larger images of this size are, in x and y; (1, 1): they are those it is for.

        Raises:
            CalibrationError: the images are not a pure scaling of those.
        """
        own_width, own_height = self.image_size
        if own_width <= 0 or own_height <= 0:
            raise CalibrationError(
                f"camera_info states a size of {own_width}x{own_height}: calibrate the camera"
            )
        across, down = width / own_width, height / own_height
        if abs(own_height * across - height) >= 1 and abs(own_width * down - width) >= 1:
            raise CalibrationError(
                f"camera_info is of {own_width}x{own_height} pixels, the images are of {width}x{height}, "
                "which is no pure scaling: send the calibration of these images"
            )
        return across, down

    def camera(self, width: int, height: int) -> Camera:
        """The camera of images of this size.

        Raises:
            CalibrationError: the calibration is incomplete, of an unknown model, or of another size that the
                images are no pure scaling of.
        """
        model = self.model or PINHOLE[0]
        if model not in COEFFICIENTS:
            raise CalibrationError(
                f"camera_info has distortion model {model!r}: use one of {', '.join(COEFFICIENTS)}"
            )
        if len(self.d) not in COEFFICIENTS[model]:
            raise CalibrationError(
                f"camera_info has {len(self.d)} coefficients of {model}: it takes "
                f"{' or '.join(map(str, COEFFICIENTS[model]))}"
            )
        k = np.array(self.k, float).reshape(3, 3)
        if not (np.isfinite(k).all() and np.isfinite(self.d).all() and k[0, 0] > 0 and k[1, 1] > 0):
            raise CalibrationError(
                "camera_info has no focal length (K is 0 or not finite): calibrate the camera"
            )
        across, down = self.scale_to(width, height)
        binned_x, binned_y = (max(1, value) for value in self.binning)
        fx, fy = k[0, 0] / binned_x, k[1, 1] / binned_y
        cx, cy = (k[0, 2] - self.roi[0]) / binned_x, (k[1, 2] - self.roi[1]) / binned_y
        scaled = np.array(
            [
                [fx * across, 0.0, (cx + 0.5) * across - 0.5],
                [0.0, fy * down, (cy + 0.5) * down - 0.5],
                [0.0, 0.0, 1.0],
            ]
        )
        return Camera(width, height, model, scaled, np.array(self.d, float))


@dataclass(frozen=True, eq=False)
class Camera:
    """The camera of images of one size; the centre of the first pixel is (0, 0).

    Attributes:
        width, height: of the images in pixels.
        model: one of :data:`COEFFICIENTS`.
        k: 3 x 3 intrinsic matrix.
        d: distortion coefficients.
    """

    width: int
    height: int
    model: str
    k: np.ndarray
    d: np.ndarray

    @property
    def focal(self) -> float:
        """Mean focal length in pixels."""
        return float(self.k[0, 0] + self.k[1, 1]) / 2

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """The rays that pixels see.

        Args:
            pixels: N x 2 float, x and y.

        Returns:
            N x 3 float64 in the camera's frame, scaled to z = 1; NaN where the distortion model cannot be
            inverted.
        """
        given = np.ascontiguousarray(pixels, float).reshape(-1, 1, 2)
        if not len(given):
            return np.empty((0, 3))
        if not self.d.any() and self.model != FISHEYE:
            flat = (given[:, 0] - self.k[:2, 2]) / self.k[[0, 1], [0, 1]]
            return np.column_stack((flat, np.ones(len(flat))))
        if self.model == FISHEYE:
            flat = cv2.fisheye.undistortPoints(given, self.k, self._fisheye_d)[:, 0]
        else:
            enough = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
            flat = cv2.undistortPointsIter(given, self.k, self.d, np.eye(3), np.eye(3), enough)[:, 0]
        found = np.column_stack((flat, np.ones(len(flat))))
        missed = np.abs(self._distort(found) - given[:, 0]).max(1)
        found[~(missed < INVERTED_WITHIN_PX)] = np.nan
        return found

    def project(self, points: np.ndarray) -> np.ndarray:
        """The pixels that see points.

        Args:
            points: N x 3 in the camera's frame [m].

        Returns:
            N x 2; NaN for points that no pixel sees, behind the camera or outside the image.
        """
        seen, found = self.seen(points)
        pixels = np.full((len(points), 2), np.nan)
        pixels[seen] = found
        return pixels

    def seen(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which points the camera sees, and where.

        Args:
            points: N x 3 in the camera's frame [m]; may hold NaN.

        Returns:
            M indices, and M x 2 pixels of the points' own type.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            x, y, z = points.T
            limit = self._widest**2
            ahead = np.flatnonzero((z > NEAREST_M) & (x * x + y * y <= limit * (z * z)))
        pixels = self._distort(points[ahead])
        inside = np.flatnonzero(
            (pixels[:, 0] >= -0.5)
            & (pixels[:, 1] >= -0.5)
            & (pixels[:, 0] < self.width - 0.5)
            & (pixels[:, 1] < self.height - 0.5)
        )
        return ahead[inside], pixels[inside]

    def _distort(self, points: np.ndarray) -> np.ndarray:
        """N x 2 pixels of N x 3 points in front of the camera, also beyond the image.

        The models' equations in NumPy: ``cv2.projectPoints`` takes ten times as long.
        """
        x, y = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
        if self.model == FISHEYE:
            x, y = _bent_fisheye(x, y, self._fisheye_d)
        elif len(self.d) > LONGEST_OWN:
            found, _ = cv2.projectPoints(points[:, None].astype(float), NO_TURN, NO_TURN, self.k, self.d)
            return np.asarray(found, points.dtype).reshape(-1, 2)
        elif self.d.any():
            x, y = _bent(x, y, self.d)
        fx, fy, cx, cy = (points.dtype.type(self.k[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
        return np.column_stack((fx * x + cx, fy * y + cy))

    @property
    def _fisheye_d(self) -> np.ndarray:
        return self.d if len(self.d) else np.zeros(4)

    @cached_property
    def _widest(self) -> float:
        """Largest tangent of the angle to the optical axis in the image: polynomials fold back beyond it."""
        x = np.linspace(-0.5, self.width - 0.5, BORDER_STEPS)
        y = np.linspace(-0.5, self.height - 0.5, BORDER_STEPS)
        border = np.vstack(
            [np.column_stack((x, np.full_like(x, edge))) for edge in (-0.5, self.height - 0.5)]
            + [np.column_stack((np.full_like(y, edge), y)) for edge in (-0.5, self.width - 0.5)]
        )
        rays = self.rays(border)
        found = np.hypot(rays[:, 0], rays[:, 1])
        return float(np.nanmax(found)) * 1.001 if np.isfinite(found).any() else math.inf


def _bent(x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radial and tangential distortion of up to 8 coefficients: k1 k2 p1 p2 k3 k4 k5 k6."""
    k1, k2, p1, p2, k3, k4, k5, k6 = (x.dtype.type(value) for value in np.pad(d, (0, 8 - len(d))))
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    if len(d) == LONGEST_OWN:
        radial /= 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    xy = 2 * x * y
    return x * radial + p1 * xy + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + p2 * xy


def _bent_fisheye(x: np.ndarray, y: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equidistant projection with a polynomial of the angle."""
    k1, k2, k3, k4 = (x.dtype.type(value) for value in d)
    r = np.hypot(x, y)
    angle = np.arctan(r)
    a2 = angle * angle
    bent = angle * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))
    scale = np.divide(bent, r, out=np.ones_like(r), where=r > 0)
    return x * scale, y * scale
