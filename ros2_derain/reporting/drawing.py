"""Pictures inside HTML."""

from __future__ import annotations

import base64

import cv2
import numpy as np


def data_uri(picture: np.ndarray, width: int = 800, quality: int = 82) -> str:
    """A picture as a JPEG that an HTML attribute holds.

    Args:
        picture: H x W x 3 uint8 RGB.
        width: a wider picture is scaled down to it, in pixels.
        quality: of the JPEG, 1..100.
    """
    if picture.shape[1] > width:
        size = (width, round(picture.shape[0] * width / picture.shape[1]))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
