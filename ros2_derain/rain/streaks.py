"""Periodic tiles of rain streaks, made once and cropped many times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

TILE = 512
"""Side of a tile in pixels; a tile wraps around on both axes."""


@dataclass(frozen=True)
class StreakLayer:
    """Drops of one distance.

    Attributes:
        per_megapixel: streaks in a million pixels.
        length, width: of a streak, in pixels.
        angle: degrees from the vertical, clockwise seen by the camera.
        opacity: peak brightness of a streak that is one pixel wide or more, 0..1.
        seed: of the drops' positions.
    """

    per_megapixel: float
    length: float
    width: float
    angle: float
    opacity: float
    seed: int


@lru_cache(maxsize=64)
def tile(layer: StreakLayer) -> np.ndarray:
    """TILE x TILE float32 streak brightness >= 0, periodic; read-only because it is shared."""
    random = np.random.default_rng(layer.seed)
    drops = np.zeros((TILE, TILE), np.float32)
    count = random.poisson(layer.per_megapixel * TILE * TILE / 1e6)
    rows, columns = random.integers(0, TILE, (2, count))
    np.add.at(drops, (rows, columns), random.gamma(4.0, 0.25, count).astype(np.float32))
    spectrum = np.fft.rfft2(drops) * _kernel_spectrum(layer.length, layer.width, layer.angle)
    streaks = np.fft.irfft2(spectrum, (TILE, TILE)).astype(np.float32)
    streaks *= layer.opacity * min(1.0, layer.width)
    np.clip(streaks, 0, 1, out=streaks)
    streaks.setflags(write=False)
    return streaks


@lru_cache(maxsize=16)
def _kernel_spectrum(length: float, width: float, angle: float) -> np.ndarray:
    """Spectrum of one streak of peak 1: a soft-ended line with a Gaussian profile, centred on 0."""
    offset = np.fft.fftfreq(TILE, 1.0 / TILE).astype(np.float32)
    x, y = np.meshgrid(offset, offset)
    radians = np.deg2rad(angle)
    along = x * np.sin(radians) + y * np.cos(radians)
    across = x * np.cos(radians) - y * np.sin(radians)
    sigma = max(width, 0.8) / 2.0
    end = max(1.0, 0.15 * length)
    profile = np.exp(-0.5 * (across / sigma) ** 2)
    profile *= 1.0 / (1.0 + np.exp(np.clip((np.abs(along) - length / 2.0) / (0.3 * end), -60, 60)))
    return np.fft.rfft2(profile / profile.max())


def cut(streaks: np.ndarray, height: int, width: int, shift_x: float, shift_y: float) -> np.ndarray:
    """A height x width window of a tile, the pattern moved by (shift_x, shift_y) pixels."""
    top, left = int(round(-shift_y)) % TILE, int(round(-shift_x)) % TILE
    bottom, right = max(0, top + height - TILE), max(0, left + width - TILE)
    if not (bottom or right):
        return streaks[top : top + height, left : left + width]
    wrapped = cv2.copyMakeBorder(streaks, 0, bottom, 0, right, cv2.BORDER_WRAP)
    return wrapped[top : top + height, left : left + width]
