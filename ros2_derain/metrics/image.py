"""Image quality against a reference: PSNR and SSIM, on RGB and on Y; FSIM and FSIMc.

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

FSIM is feature similarity from phase congruency (after Kovesi, 1999, with the paper's parameters) and
gradient magnitude: Zhang, Zhang, Mou and Zhang, "FSIM: a feature similarity index for image quality
assessment", TIP 2011. On the pairs for which piq's tests state what the authors' MATLAB program gives,
this gives the same to 1e-5: goldhill and its JPEG 0.89691; I01 and i01_01_5 of TID2013 0.93674, FSIMc
0.92587. Untouched rain, mean FSIM and FSIMc over the 30 pairs: L 0.876 and 0.876, H 0.628 and 0.625.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""Of SSIM."""

SCALES, ORIENTATIONS = 4, 4
SHORTEST_WAVELENGTH, SCALE_STEP = 6, 2  # pixels; ratio of neighbouring scales
BANDWIDTH = 0.55  # sigma of the log-Gabor filter over its centre frequency
ANGLE_SPREAD = math.pi / ORIENTATIONS / 1.2  # sigma of a filter's orientation, radians
NOISE_DEVIATIONS, NOISE_SCALE = 2.0, 1.7
T1, T2, T3, T4, CHROMA_POWER = 0.85, 160.0, 200.0, 200.0, 0.03
LEAST_SIZE = 8  # pixels

SCHARR = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]], np.float32) / 16
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)
"""Of FSIM."""


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


def fsim(image: np.ndarray, reference: np.ndarray) -> float:
    """Feature similarity of the luminance, 0..1, 1 when equal (equation 9).

    Images of more than 384 pixels on the shorter side are reduced to about 256 first,
    as the paper does.

    Args:
        image, reference: H x W or H x W x 3 (RGB) uint8, of equal shape, at least 8 x 8.

    Raises:
        MetricError: shapes or types differ, or the images are too small.
    """
    similarity, weight, _, _ = _compare(image, reference)
    return _weighted_mean(similarity, weight)


def fsimc(image: np.ndarray, reference: np.ndarray) -> float:
    """FSIM with the chrominance in YIQ, 0..1, 1 when equal (equation 13).

    Args:
        image, reference: H x W x 3 (RGB) uint8, of equal shape, at least 8 x 8.

    Raises:
        MetricError: shapes or types differ, or the images are grey or too small.
    """
    similarity, weight, ours, theirs = _compare(image, reference)
    if len(ours) == 1:
        raise MetricError(f"images are {image.shape}: FSIMc needs colour, H x W x 3; use fsim")
    chroma = _similarity(ours[1], theirs[1], T3) * _similarity(ours[2], theirs[2], T4)
    # A negative product has a complex power, of which the authors' program takes the real part.
    sign = np.where(chroma < 0, math.cos(math.pi * CHROMA_POWER), 1.0)
    return _weighted_mean(similarity * sign * np.abs(chroma) ** CHROMA_POWER, weight)


def _compare(image: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray, list, list]:
    """Similarity and weight of each pixel, and the planes of both images (Y, or Y, I, Q)."""
    check_pair(image, reference)
    if min(image.shape[:2]) < LEAST_SIZE or (image.ndim == 3 and image.shape[2] != 3):
        raise MetricError(
            f"images are {image.shape}, FSIM needs H x W or H x W x 3 of at least {LEAST_SIZE} pixels"
        )
    ours, theirs = _planes(image), _planes(reference)
    congruency, congruency_other = phase_congruency(ours[0]), phase_congruency(theirs[0])
    similarity = _similarity(congruency, congruency_other, T1)
    similarity *= _similarity(_gradient(ours[0]), _gradient(theirs[0]), T2)
    return similarity, np.maximum(congruency, congruency_other), ours, theirs


def _planes(image: np.ndarray) -> list[np.ndarray]:
    grey_or_colour = image.astype(np.float32)
    planes = [grey_or_colour]
    if image.ndim == 3:
        planes = [np.asarray(plane) for plane in cv2.split(cv2.transform(grey_or_colour, YIQ))]
    step = max(1, int(min(image.shape[:2]) / 256 + 0.5))
    if step == 1:
        return planes
    # MATLAB's conv2(..., 'same') puts the window of even size one pixel later than OpenCV.
    anchor = ((step - 1) // 2, (step - 1) // 2)
    border = cv2.BORDER_CONSTANT
    return [
        cv2.boxFilter(p, -1, (step, step), anchor=anchor, borderType=border)[::step, ::step] for p in planes
    ]


def _similarity(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
    similarity: np.ndarray = (2 * a * b + constant) / (a * a + b * b + constant)
    return similarity


def _weighted_mean(similarity: np.ndarray, weight: np.ndarray) -> float:
    total = float(weight.sum(dtype=np.float64))
    if total == 0:  # no feature in either image: all that is left to compare is equal weights
        return float(similarity.mean(dtype=np.float64))
    return float((similarity * weight).sum(dtype=np.float64) / total)


def _gradient(plane: np.ndarray) -> np.ndarray:
    across = cv2.filter2D(plane, -1, SCHARR, borderType=cv2.BORDER_CONSTANT)
    down = cv2.filter2D(plane, -1, SCHARR.T.copy(), borderType=cv2.BORDER_CONSTANT)
    return cv2.magnitude(across, down)


def phase_congruency(plane: np.ndarray) -> np.ndarray:
    """Phase congruency of an H x W float image, 0..1, H x W float32 (equations 1 to 4).

    Kovesi, "Image features from phase congruency", 1999, with noise compensated from the
    median response of the smallest scale.
    """
    spectrum = np.fft.fft2(plane.astype(np.float32))
    energy = np.zeros(plane.shape, np.float32)
    amplitude = np.full(plane.shape, np.float32(1e-12))
    for filters, power, spread in _filter_bank(*plane.shape):
        responses = np.fft.ifft2(spectrum * filters).astype(np.complex64)
        amplitudes = np.abs(responses)
        noise_power = np.median(amplitudes[0] ** 2) / math.log(2) / power
        energy += np.maximum(_local_energy(responses) - _noise_threshold(noise_power * spread), 0)
        amplitude += amplitudes.sum(0)
    return energy / amplitude


def _local_energy(responses: np.ndarray) -> np.ndarray:
    """Energy in the direction of the mean phase, less the deviation from it; summed over scales."""
    total = responses.sum(0)
    direction = np.conj(total) / (np.abs(total) + np.float32(1e-4))
    turned = responses * direction
    energy: np.ndarray = (turned.real - np.abs(turned.imag)).sum(0)
    return energy


def _noise_threshold(energy: float) -> float:
    """Rayleigh-distributed noise: its mean plus two standard deviations, rescaled."""
    tau = math.sqrt(energy)
    return tau * (math.sqrt(math.pi / 2) + NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2)) / NOISE_SCALE


@lru_cache(maxsize=4)
def _filter_bank(height: int, width: int) -> list[tuple[np.ndarray, float, float]]:
    """For each orientation: its filters (scales x H x W), power of the first, energy of their sum.

    The energy of the sum's real impulse response stands for the noise that all scales pass
    together: ``sum A_s^2 + 2 sum A_s A_t`` in Kovesi's terms.
    """
    y, x = np.meshgrid(_frequencies(height), _frequencies(width), indexing="ij")
    radius, angle = np.hypot(x, y), np.arctan2(-y, x)
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    radius[0, 0] = 1
    bank = []
    for orientation in range(ORIENTATIONS):
        away = angle - orientation * math.pi / ORIENTATIONS
        away = np.abs(np.arctan2(np.sin(away), np.cos(away)))
        spread = np.exp(-(away**2) / (2 * ANGLE_SPREAD**2))
        filters = np.stack([_log_gabor(radius, scale) * low_pass * spread for scale in range(SCALES)])
        filters[:, 0, 0] = 0
        impulse = np.fft.ifft2(filters.sum(0)).real * math.sqrt(height * width)
        bank.append((filters.astype(np.float32), float((filters[0] ** 2).sum()), float((impulse**2).sum())))
    return bank


def _log_gabor(radius: np.ndarray, scale: int) -> np.ndarray:
    centre = 1 / (SHORTEST_WAVELENGTH * SCALE_STEP**scale)
    response: np.ndarray = np.exp(-(np.log(radius / centre) ** 2) / (2 * math.log(BANDWIDTH) ** 2))
    return response


def _frequencies(size: int) -> np.ndarray:
    """Frequencies of a discrete Fourier transform, cycles per pixel, on the authors' grid."""
    if size % 2:
        return np.fft.ifftshift(np.arange(-(size - 1) / 2, (size + 1) / 2) / (size - 1))
    return np.fft.fftfreq(size)
