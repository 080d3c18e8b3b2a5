"""JPEG, PNG, TIFF and WebP bytes to RGB arrays, complete or not at all; the errors of refused images.

OpenCV decodes what it can and does not report the rest: a truncated JPEG becomes an image with a
grey lower half. So the container is inspected here first: the size, before any memory is allocated,
and the end, before anything is decoded. Image messages (``nodes``) and image files (``data``) share
this module.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace

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
    "format",  # compressed data that is none of JPEG, PNG, TIFF and WebP
    "truncated",  # the end of the compressed data is missing
    "decode",  # damaged compressed data
)
"""Every value that :attr:`ImageError.cause` takes."""

LFS_POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS has not fetched yet."""

VIDEO_ADVICE = (
    "H.264, H.265 and other video streams must be decoded by the camera's transport: "
    "'ros2 run image_transport republish ffmpeg raw' publishes (and a recorder records) images"
)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8\xff"
JPEG_LEAD = 4096
"""Largest number of bytes before a JPEG, such as a driver's header."""
_JPEG_END = b"\xff\xd9"
_JPEG_FILL = re.compile(rb"\xff+")
_JPEG_SCAN = b"\xff\xda"
_MISSING = 128  # grey value of pixels that a JPEG does not have
_FILLER = bytes(range(255)) * 8  # changes every JPEG that is not complete
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}  # and the byte order
_VIDEO_NAMES = re.compile("h\\.?26[45]|hevc|avc|av1|vp[89]|mpeg", re.IGNORECASE)
_VIDEO_STARTS = (b"\0\0\0\x01", b"\0\0\x01")
_START_OF_SCAN = 0xDA
_PROGRESSIVE = 0xC2
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
        advice: what to do, where that is not obvious.
    """

    def __init__(self, cause: str, detail: str, advice: str = "") -> None:
        super().__init__(cause, detail, advice)
        self.cause = cause
        self.detail = detail
        self.advice = advice

    def __str__(self) -> str:
        return f"image refused: {self.detail}" + (f"; {self.advice}" if self.advice else "")


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
    """The header of compressed data.

    Attributes:
        kind: ``jpeg``, ``png``, ``tiff`` or ``webp``.
        height, width: in pixels.
        grey: one channel, no palette, no alpha.
        start: bytes before it.
        ended: whether the end marker of a JPEG is there.
    """

    kind: str
    height: int
    width: int
    grey: bool
    start: int = 0
    ended: bool = True

    @property
    def note(self) -> str:
        """What is unusual about it; '' for nothing."""
        parts = [f"{self.start} bytes before its start"] if self.start else []
        parts += [] if self.ended else ["no end marker"]
        return f"{self.kind} with {' and '.join(parts)}" if parts else ""


def decode(data: bytes, named: str, *, max_pixels: int, mono16_max: int = 0) -> np.ndarray:
    """The image in a JPEG, PNG, TIFF or WebP file.

    16 bits are reduced to 8, alpha is dropped, and an EXIF orientation is not
    applied: the calibration of a camera describes how it is mounted.

    Args:
        data: the file.
        named: the format that the sender states; used in error messages only.
        max_pixels: largest height * width that is decoded.
        mono16_max: as in :func:`reduce_16_bit`.

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
        image = decode_inspected(data, container, flags | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise ImageError("decode", f"damaged {container.kind}: {error.err}") from error
    if image is None or image.shape[:2] != (container.height, container.width):
        raise ImageError(
            "decode",
            f"damaged or unusual {container.kind} of {container.width} x "
            f"{container.height} pixels, {len(data)} bytes: OpenCV cannot decode it",
        )
    if image.dtype == np.uint16:
        image = reduce_16_bit(image, mono16_max)
    if image.dtype != np.uint8:
        raise ImageError("format", f"{container.kind} of {image.dtype} samples: it is no camera image")
    return image if container.grey else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def decode_inspected(data: bytes, container: Container, flags: int) -> np.ndarray | None:
    """What OpenCV decodes of a file; a JPEG may lack its end marker, as for every viewer, but no pixels.

    Args:
        data: the file.
        container: by :func:`inspect`.
        flags: of ``cv2.imdecode``.

    Raises:
        ImageError: with the cause ``truncated``: pixels are missing.
        cv2.error: it is damaged.
    """
    body = data[container.start :]
    if container.ended:
        return cv2.imdecode(np.frombuffer(body, np.uint8), flags)
    coded = body.rstrip(b"\0")  # zeros are padding, but for the last coded byte
    for candidate in (coded, coded + b"\0")[: 1 + len(body) - len(coded)]:
        image, longer = (
            cv2.imdecode(np.frombuffer(candidate + more + _JPEG_END, np.uint8), flags)
            for more in (b"", _FILLER)
        )
        if image is None or longer is None or _has_grey_corner(image):
            continue
        if np.array_equal(image, longer):
            return image
    raise _truncated("jpeg", data)


def _has_grey_corner(image: np.ndarray) -> bool:
    """Whether pixels are missing at the end of a JPEG (which its orientation may turn to any corner)."""
    ends = (slice(None, 4), slice(-4, None))
    return any((image[rows, columns] == _MISSING).all() for rows in ends for columns in ends)


def reduce_16_bit(samples: np.ndarray, mono16_max: int = 0) -> np.ndarray:
    """uint16 samples as uint8.

    Args:
        samples: of any shape.
        mono16_max: the value that becomes 255; 0: 4095, 16383 or 65535, the smallest that the image's
            own maximum does not exceed (cameras of 12 and 14 bits publish their values as they are).
    """
    if not mono16_max:
        largest = int(samples.max())
        mono16_max = next(value for value in (4095, 16383, 65535) if largest <= value)
    return cv2.convertScaleAbs(samples, alpha=255.0 / mono16_max)


def inspect(data: bytes, named: str) -> Container:
    """Read the container from its start to its end without decoding a pixel.

    Raises:
        ImageError: with the cause ``format`` (none of JPEG, PNG, TIFF and WebP), ``truncated``
            or ``decode`` (a JPEG without a marker where one must be).
    """
    if data.startswith(JPEG_START):
        return _inspect_jpeg(data, 0)
    if data.startswith(PNG_SIGNATURE):
        return _inspect_png(data)
    if data[:4] in _TIFF:
        return _inspect_tiff(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _inspect_webp(data)
    if _VIDEO_NAMES.search(named) or data.startswith(_VIDEO_STARTS):
        raise ImageError("format", f"content named {quote(named)} is no image: {VIDEO_ADVICE}")
    start = data.find(JPEG_START, 0, JPEG_LEAD)
    if start >= 0:
        return _inspect_jpeg(data, start)
    raise ImageError(
        "format",
        f"content named {quote(named)} is none of JPEG, PNG, TIFF and WebP: {len(data)} bytes that "
        f"begin with {data[:8].hex(' ')}",
    )


def _truncated(kind: str, data: bytes) -> ImageError:
    return ImageError("truncated", f"{kind} of {len(data)} bytes is cut off: its end is missing")


def _inspect_jpeg(data: bytes, start: int) -> Container:
    """Walk the segments to the first scan; the end marker must come after it.

    Coded pixels never contain the end marker, but a thumbnail in an earlier segment
    does. What follows the end (some cameras pad their buffers) is ignored. A baseline JPEG may lack the
    marker; of a progressive one nothing else says whether the last scan is there.
    """
    container = None
    position = start + 2
    for _ in range(_MAX_PARTS):
        if position + 4 > len(data):
            break
        fill = _JPEG_FILL.match(data, position)
        if fill is None:
            raise ImageError("decode", f"damaged jpeg: no marker at byte {position}")
        position = fill.end() - 1
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
            container = Container("jpeg", height, width, grey=components == 1, start=start)
            sequential = marker < _PROGRESSIVE
        if marker == _START_OF_SCAN:
            break
        position += 2 + length
    ended = data.find(_JPEG_END, position) >= 0
    if container is None or not (ended or sequential and data[position + 1 : position + 2] == _JPEG_SCAN[1:]):
        raise _truncated("jpeg", data)
    scans = data.count(_JPEG_SCAN, position)
    if scans > _MAX_SCANS:
        raise ImageError("decode", f"jpeg of {scans} scans; at most {_MAX_SCANS} are decoded")
    return replace(container, ended=ended)


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
    raise _truncated("png", data)


def _inspect_tiff(data: bytes) -> Container:
    """Read the first image's directory; its strips or tiles must lie inside the file."""
    order = _TIFF[data[:4]]
    tags: dict[int, tuple[int, ...]] = {}
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", data, entry)
            form = {1: "B", 3: "H", 4: "I"}.get(kind)
            if form is None or values > _MAX_PARTS:
                continue
            form = f"{order}{values}{form}"
            place = entry + 8
            if struct.calcsize(form) > 4:
                (place,) = struct.unpack_from(f"{order}I", data, place)
            tags[tag] = struct.unpack_from(form, data, place)
        (width,), (height,) = tags[256], tags[257]
        offsets, lengths = (tags.get(273) or tags[324]), (tags.get(279) or tags[325])
    except (struct.error, KeyError, ValueError) as error:
        raise _truncated("tiff", data) from error
    if any(offset + length > len(data) for offset, length in zip(offsets, lengths, strict=False)):
        raise _truncated("tiff", data)
    grey = tags.get(277, (1,)) == (1,) and tags.get(262, (1,))[0] in (0, 1)
    return Container("tiff", height, width, grey)


def _inspect_webp(data: bytes) -> Container:
    """Read the size from the first chunk; the file must be as long as it says."""
    if len(data) < 30 or len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise _truncated("webp", data)
    if data[12:16] == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    return Container("webp", height, width, grey=False)
