"""Image quality against a reference."""

from __future__ import annotations

import math

import numpy as np


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 images of equal shape; inf when equal.

    ``10 log10(255^2 / mean squared error)`` over all pixels and channels.

    Raises:
        ValueError: shapes or types differ.
    """
    _check(image, reference)
    error = np.mean((image.astype(np.float32) - reference) ** 2, dtype=np.float64)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def psnr_y(image: np.ndarray, reference: np.ndarray) -> float:
    """PSNR in dB of the luma of two H x W x 3 uint8 RGB images; the deraining literature's protocol."""
    return psnr(luma(image), luma(reference))


def luma(image: np.ndarray) -> np.ndarray:
    """H x W uint8 luma (16..235) of an H x W x 3 uint8 RGB image, as MATLAB's ``rgb2ycbcr`` rounds it.

    ITU-R BT.601: ``Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255``.
    """
    weights = np.array([65.481, 128.553, 24.966]) / 255
    return np.floor(16 + image @ weights + 0.5).astype(np.uint8)


def _check(image: np.ndarray, reference: np.ndarray) -> None:
    if image.shape != reference.shape:
        raise ValueError(f"image is {image.shape}, its reference {reference.shape}")
    if image.dtype != np.uint8 or reference.dtype != np.uint8:
        raise ValueError(f"images are {image.dtype} and {reference.dtype}, wanted are uint8")
