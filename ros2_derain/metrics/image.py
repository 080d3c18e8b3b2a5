"""Image quality against a reference: PSNR and SSIM, on RGB and on Y.

The deraining literature has two protocols, and their values must not be mixed:

* **Y** (``psnr_y``, ``ssim_y``): on the luma of MATLAB's ``rgb2ycbcr``. MSPFN (CVPR 2020),
  DANet (IJCAI 2022) and most others.
* **RGB** (``psnr``, ``ssim``): on all three channels, as scikit-image does with
  ``channel_axis``. SAPNet (WACVW 2022).

The untouched input of Rain100L and Rain100H scores, mean over images:

=========================== ============ ============ ============ ============
\\                           PSNR Y       SSIM Y       PSNR RGB     SSIM RGB
=========================== ============ ============ ============ ============
L, published (100 pairs)    26.90        0.838        25.52        0.825
L, here (30 of them)        26.51        0.837        25.12        0.822
H, published (100 pairs)    13.55        0.378        12.13        0.349
H, here (30 of them)        13.42        0.375        12.02        0.341
=========================== ============ ============ ============ ============

SSIM is the Gaussian variant of the original paper, and of MATLAB's ``ssim_index.m``. It equals
scikit-image's ``structural_similarity(..., gaussian_weights=True, sigma=1.5,
use_sample_covariance=False)``. scikit-image's default, a uniform 7x7 window, lies further from
the published figures: 0.811 (L) and 0.335 (H) on RGB over the same 30 pairs.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class MetricError(ValueError):
    """Arrays that cannot be measured; the message says what was given and what is expected."""


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, 0 and up; inf when equal.

    ``10 log10(255^2 / mean squared error)`` over all pixels and channels.

    Args:
        image, reference: H x W or H x W x C uint8, of equal shape.

    Raises:
        MetricError: shapes or types differ.
    """
    check_pair(image, reference)
    difference = cv2.absdiff(image, reference).astype(np.float32)
    error = np.mean(np.square(difference), dtype=np.float64)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def psnr_y(image: np.ndarray, reference: np.ndarray) -> float:
    """:func:`psnr` of the luma of two H x W x 3 uint8 RGB images."""
    return psnr(luma(image), luma(reference))


def ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """Structural similarity, -1..1, 1 when equal; the mean over the channels.

    An 11x11 Gaussian window of sigma 1.5, K 0.01 and 0.03, and only the pixels whose
    whole window lies in the image. Wang et al., "Image quality assessment: from error
    visibility to structural similarity", TIP 2004, equation 13.

    Args:
        image, reference: H x W or H x W x C uint8, of equal shape, at least 11 x 11.

    Raises:
        MetricError: shapes or types differ, or the images are too small.
    """
    check_pair(image, reference)
    if min(image.shape[:2]) < WINDOW:
        raise MetricError(
            f"images are {image.shape[1]}x{image.shape[0]}, SSIM needs {WINDOW}x{WINDOW} at least"
        )
    x, y = image.astype(np.float64), reference.astype(np.float64)
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    means = mean_x * mean_y
    squared_means = mean_x * mean_x + mean_y * mean_y
    covariance = _window_mean(x * y) - means
    variances = _window_mean(x * x + y * y) - squared_means
    similarity = (2 * means + C1) * (2 * covariance + C2) / ((squared_means + C1) * (variances + C2))
    return float(similarity.mean())


def ssim_y(image: np.ndarray, reference: np.ndarray) -> float:
    """:func:`ssim` of the luma of two H x W x 3 uint8 RGB images."""
    return ssim(luma(image), luma(reference))


def luma(image: np.ndarray) -> np.ndarray:
    """H x W uint8 luma (16..235) of an H x W x 3 uint8 RGB image, as MATLAB's ``rgb2ycbcr`` rounds it.

    ITU-R BT.601: ``Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255``.

    Raises:
        MetricError: the image is no H x W x 3 uint8 array.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise MetricError(f"image is {image.shape} {image.dtype}, expected H x W x 3 uint8 RGB")
    weights = np.array([[65.481, 128.553, 24.966, 0]]) / 255
    weights[0, 3] = 16.5  # 16, and a half so that truncation rounds
    return cv2.transform(image.astype(np.float64), weights).astype(np.uint8)


def check_pair(image: np.ndarray, reference: np.ndarray) -> None:
    """
    Raises:
        MetricError: shapes differ, are not those of an image, or the types are not uint8.
    """
    if image.shape != reference.shape:
        raise MetricError(f"image is {image.shape}, its reference {reference.shape}: they must be equal")
    if image.ndim not in (2, 3) or image.size == 0:
        raise MetricError(f"image and reference are {image.shape}, expected H x W or H x W x C")
    if image.dtype != np.uint8 or reference.dtype != np.uint8:
        raise MetricError(f"image is {image.dtype}, its reference {reference.dtype}: both must be uint8")


def _window_mean(values: np.ndarray) -> np.ndarray:
    """Gaussian-weighted mean around each pixel whose window lies in the image."""
    edge = WINDOW // 2
    return cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA)[edge:-edge, edge:-edge]
