"""Picture files as arrays and back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ros2_derain.errors import EvaluationError

JPEG_QUALITY = 95
_LOSSLESS_WEBP = 101
_QUICK_PNG = 1


def read(path: Path) -> np.ndarray:
    """A picture file as H x W x 3 uint8 RGB; alpha is dropped.

    Raises:
        EvaluationError: it cannot be decoded.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise EvaluationError(f"{path} is not an image that can be decoded: restore it or leave it out")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def write(path: Path, picture: np.ndarray, quality: int = JPEG_QUALITY, quick: bool = False) -> None:
    """An H x W x 3 RGB or H x W uint8 picture as a file of the kind that its suffix says.

    JPEG at a quality of 1..100; PNG, BMP, TIFF and WebP without loss. ``quick`` PNG files are
    larger ones.

    Raises:
        EvaluationError: it cannot be written.
    """
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    options = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, _LOSSLESS_WEBP],
        ".png": [cv2.IMWRITE_PNG_COMPRESSION, _QUICK_PNG] if quick else [],
    }
    if not cv2.imwrite(str(path), bgr, options.get(path.suffix.lower(), [])):
        raise EvaluationError(f"{path} cannot be written: is the disk full, or the folder read-only?")
