"""JPEG and PNG bytes to RGB arrays, complete or not at all; the errors of images that are refused.

OpenCV decodes what it can and does not report the rest: a truncated JPEG becomes an image with a
grey lower half. So the container is inspected here first: the size, before any memory is allocated,
and the end, before anything is decoded. Image messages (``nodes``) and image files (``data``) share
this module.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np

MAX_PIXELS = 8192 * 8192
"""Largest image that is accepted by default."""

MIN_SIDE = 64
"""Smallest height and width that the networks accept."""

CAUSES = (
    "encoding",  # not one that is read
    "size",  # no pixels, too few, or an odd side where it must be even
    "too_large",  # more pixels than accepted
    "step",  # a row of pixels does not fit into step
    "length",  # data is not as long as step and height say, or empty
    "not_finite",  # NaN or infinity among float samples
    "range",  # float samples that are no camera image
    "format",  # compressed data that is neither JPEG nor PNG
    "truncated",  # the end of a JPEG or PNG is missing
    "decode",  # a damaged JPEG or PNG
)
"""Every value that :attr:`ImageError.cause` takes."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = b"\xff\xda"
_START_OF_SCAN = 0xDA
_MAX_PARTS = 100_000  # segments or chunks: bounds the time spent on a malicious file
_MAX_SCANS = 100  # of a progressive JPEG: each costs a pass over the whole image
_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # not DHT, JPG, DAC


class ImageError(ValueError):
    """An image that cannot be converted completely.

    Attributes:
        cause: one of :data:`CAUSES`, the same for the same kind of fault whatever
            its values: the key for counting and for throttling messages.
        detail: what was wrong, with the values.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(cause, detail)
        self.cause = cause
        self.detail = detail

    def __str__(self) -> str:
        return f"image refused: {self.detail}"


def check_size(height: int, width: int, max_pixels: int, min_side: int = MIN_SIDE) -> None:
    """Refuse an image that is empty, too small or too large.

    Raises:
        ImageError: with the cause ``size`` or ``too_large``.
    """
    if min(height, width) < min_side:
        raise ImageError("size", f"{width} x {height} pixels; each side must be at least {min_side}")
    if height * width > max_pixels:
        raise ImageError("too_large", f"{width} x {height} pixels; at most {max_pixels} are accepted")


def quote(text: str) -> str:
    """Quoted, and shortened where the sender's text is unreasonably long."""
    return repr(text if len(text) <= 40 else text[:40] + "...")


@dataclass(frozen=True)
class Container:
    """The header of a JPEG or PNG.

    Attributes:
        kind: ``jpeg`` or ``png``.
        height, width: in pixels.
        grey: one channel, no palette, no alpha.
    """

    kind: str
    height: int
    width: int
    grey: bool


def decode(data: bytes, named: str, *, max_pixels: int) -> np.ndarray:
    """The image in a JPEG or PNG file.

    16 bits are reduced to 8, alpha is dropped, and an EXIF orientation is not
    applied: the calibration of a camera describes how it is mounted.

    Args:
        data: the file.
        named: the format that the sender states; used in error messages only.
        max_pixels: largest height * width that is decoded.

    Returns:
        H x W x 3 uint8 RGB, or H x W uint8 where the file is grey.

    Raises:
        ImageError: with the cause ``format``, ``truncated``, ``size``, ``too_large``
            or ``decode``.
    """
    container = inspect(data, named)
    check_size(container.height, container.width, max_pixels)
    flags = cv2.IMREAD_GRAYSCALE if container.grey else cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError("decode", f"damaged {container.kind}: {error.err}") from error
    if image is None or image.shape[:2] != (container.height, container.width):
        raise ImageError(
            "decode",
            f"damaged or unusual {container.kind} of {container.width} x "
            f"{container.height} pixels, {len(data)} bytes: OpenCV cannot decode it",
        )
    return image if container.grey else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def inspect(data: bytes, named: str) -> Container:
    """Read the container from its start to its end without decoding a pixel.

    Raises:
        ImageError: with the cause ``format`` (neither JPEG nor PNG), ``truncated``
            or ``decode`` (a JPEG without a marker where one must be).
    """
    if data.startswith(JPEG_START):
        return _inspect_jpeg(data)
    if data.startswith(PNG_SIGNATURE):
        return _inspect_png(data)
    raise ImageError(
        "format",
        f"content named {quote(named)} is neither JPEG nor PNG: {len(data)} bytes that "
        f"begin with {data[:8].hex(' ')}",
    )


def _inspect_jpeg(data: bytes) -> Container:
    """Walk the segments to the first scan; the end marker must come after it.

    Coded pixels never contain the end marker, but a thumbnail in an earlier segment
    does. What follows the end (some cameras pad their buffers) is ignored.
    """
    container = None
    position = 2
    for _ in range(_MAX_PARTS):
        if position + 4 > len(data):
            break
        if data[position] != 0xFF:
            raise ImageError("decode", f"damaged jpeg: no marker at byte {position}")
        while position + 1 < len(data) and data[position + 1] == 0xFF:
            position += 1
        if position + 4 > len(data):
            break
        marker = data[position + 1]
        if marker in _STANDALONE:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if length < 2:
            raise ImageError("decode", f"damaged jpeg: a segment of {length} bytes at byte {position}")
        if marker in _START_OF_FRAME and position + 10 <= len(data):
            height, width, components = struct.unpack_from(">HHB", data, position + 5)
            container = Container("jpeg", height, width, grey=components == 1)
        if marker == _START_OF_SCAN:
            break
        position += 2 + length
    if container is None or data.find(_JPEG_END, position) < 0:
        raise ImageError("truncated", f"jpeg of {len(data)} bytes is cut off: its end is missing")
    scans = data.count(_JPEG_SCAN, position)
    if scans > _MAX_SCANS:
        raise ImageError("decode", f"jpeg of {scans} scans; at most {_MAX_SCANS} are decoded")
    return container


def _inspect_png(data: bytes) -> Container:
    """Walk the chunks to IEND; the decoder checks their checksums."""
    container = None
    position = len(PNG_SIGNATURE)
    for _ in range(_MAX_PARTS):
        if position + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        if position + 12 + length > len(data):
            break
        if kind == b"IHDR" and length == 13:
            width, height, _, colour = struct.unpack_from(">IIBB", data, position + 8)
            container = Container("png", height, width, grey=colour == 0)
        if kind == b"IEND" and container is not None:
            return container
        position += 12 + length
    raise ImageError("truncated", f"png of {len(data)} bytes is cut off: its end is missing")
