"""Temporal stability: flicker of labels and of pixels along the motion between frames.

The motion is measured once, on frames without rain where there are such (the dry clip that rain
was rendered onto), and then used for every output of that clip, so that all are measured at the
same pixels::

    motion = motion_between(dry[t - 1], dry[t])
    label_flicker(labels[t - 1], labels[t], motion)
    warp_error(restored[t - 1], restored[t], motion)

The value of a clip is the mean over its pairs of neighbouring frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .image import MetricError, check_pair
from .segmentation import IGNORED

LEAST_SIZE = 12  # pixels; the least that optical flow takes


@dataclass(frozen=True)
class Motion:
    """Where each pixel of a frame was in the frame before.

    Attributes:
        flow: H x W x 2 float32, pixels (right, down) from a pixel to its place in the frame before.
        seen: H x W bool, the pixels whose place is known and shows the same thing.
    """

    flow: np.ndarray
    seen: np.ndarray


def motion_between(previous: np.ndarray, current: np.ndarray) -> Motion:
    """Motion from optical flow both ways (Kroeger et al., "DIS", ECCV 2016, OpenCV's medium preset).

    A pixel counts as seen if its place lies in the image, the flow there leads back to it, and
    it lies on no edge of the motion: the tests of Sundaram et al., ECCV 2010, with the
    thresholds of Ruder et al. 2016 that Lai et al. 2018 use. About 93 % of the pixels of
    CamVid at 15 Hz pass.

    Args:
        previous, current: H x W or H x W x 3 (RGB) uint8, at least 12 x 12.

    Raises:
        MetricError: shapes or types differ, or the frames are too small.
    """
    check_pair(current, previous)
    if min(current.shape[:2]) < LEAST_SIZE:
        raise MetricError(
            f"frames are {current.shape[1]}x{current.shape[0]}, optical flow needs {LEAST_SIZE}x{LEAST_SIZE}"
        )
    before, now = _grey(previous), _grey(current)
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = finder.calc(now, before, None)  # type: ignore[call-overload]  # None: no initial flow
    onward = finder.calc(before, now, None)  # type: ignore[call-overload]
    x, y = _places(flow)
    inside = (x >= 0) & (y >= 0) & (x <= flow.shape[1] - 1) & (y <= flow.shape[0] - 1)
    back = cv2.remap(onward, x, y, cv2.INTER_LINEAR)
    returns = _square(flow + back) <= 0.01 * (_square(flow) + _square(back)) + 0.5
    slope = _square(np.diff(flow, axis=0, append=flow[-1:])) + _square(
        np.diff(flow, axis=1, append=flow[:, -1:])
    )
    smooth = slope <= 0.01 * _square(flow) + 0.002
    return Motion(flow, inside & returns & smooth)


def label_flicker(
    previous: np.ndarray,
    current: np.ndarray,
    motion: Motion,
    truth: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    tolerance: int = 1,
) -> float:
    """Share of the seen pixels whose label changed, 0..1, smaller is more stable; NaN if none is seen.

    A label has changed if the frame before does not have it within ``tolerance`` pixels of where
    the pixel was: a border that moves by a pixel is not flicker. Unlabelled (255) is a label
    like any other. With ``truth`` only the pixels count whose true label is known in both frames
    and the same. Without it real changes count too:
    CamVid's hand-drawn labels at 15 Hz themselves flicker by 1.5 %.

    Args:
        previous, current: H x W uint8 labels of two neighbouring frames.
        motion: from the frame before to this one.
        truth: true labels of both frames, H x W uint8, 255 = unknown.
        tolerance: pixels, 0 for none.

    Raises:
        MetricError: a label map is not uint8 or not of the motion's size.
    """
    counted = motion.seen
    if truth is not None:
        before, now = warp_labels(truth[0], motion), _fitting(truth[1], motion)
        counted = counted & (before == now) & (now != IGNORED)
    before, now = warp_labels(previous, motion), _fitting(current, motion)
    changed = ~_occurs_near(before, now, tolerance)[counted]
    return float(changed.mean()) if changed.size else float("nan")


def warp_error(previous: np.ndarray, current: np.ndarray, motion: Motion) -> float:
    """Mean squared difference of a frame and the warped frame before, 0..1; NaN if nothing is seen.

    Over the seen pixels and all channels, of values in 0..1. Lai et al., "Learning blind video
    temporal consistency", ECCV 2018, section 4.1 (there with another optical flow). A blurred
    video scores well: read it beside PSNR.

    Args:
        previous, current: H x W or H x W x C uint8, two neighbouring frames.
        motion: from the frame before to this one.

    Raises:
        MetricError: shapes or types differ, or are not of the motion's size.
    """
    check_pair(current, previous)
    difference = current[motion.seen].astype(np.float32) - warp_image(previous, motion)[motion.seen]
    return float(np.mean((difference / 255) ** 2, dtype=np.float64)) if difference.size else float("nan")


def warp_image(previous: np.ndarray, motion: Motion) -> np.ndarray:
    """The frame before, moved to where its pixels are now (bilinear); float32 of its own shape.

    Raises:
        MetricError: it is not uint8 or not of the motion's size.
    """
    image = _fitting(previous, motion).astype(np.float32)
    return cv2.remap(image, *_places(motion.flow), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def warp_labels(previous: np.ndarray, motion: Motion) -> np.ndarray:
    """The labels of the frame before, moved to where their pixels are now (nearest); H x W uint8.

    Raises:
        MetricError: they are not uint8 or not of the motion's size.
    """
    labels = _fitting(previous, motion)
    return cv2.remap(labels, *_places(motion.flow), cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def _places(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, H x W float32 each, of every pixel in the frame before."""
    y, x = np.indices(flow.shape[:2], dtype=np.float32)
    return x + flow[..., 0], y + flow[..., 1]


def _occurs_near(labels: np.ndarray, expected: np.ndarray, distance: int) -> np.ndarray:
    """Whether ``labels`` has a pixel's expected label no further away than ``distance`` in x and y."""
    height, width = labels.shape
    padded = np.pad(labels, distance, mode="edge")
    found = np.zeros(labels.shape, bool)
    for down in range(2 * distance + 1):
        for right in range(2 * distance + 1):
            found |= padded[down : down + height, right : right + width] == expected
    return found


def _square(vectors: np.ndarray) -> np.ndarray:
    squares: np.ndarray = np.square(vectors).sum(-1)
    return squares


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)


def _fitting(array: np.ndarray, motion: Motion) -> np.ndarray:
    if array.dtype != np.uint8 or array.shape[:2] != motion.seen.shape:
        raise MetricError(
            f"frame is {array.shape} {array.dtype}, its motion {motion.seen.shape}: give uint8 of one size"
        )
    return array
