"""Camera images: ROS messages to RGB arrays and back, without cv_bridge.

Everything behind this module is H x W x 3 uint8 RGB. Reading an ``rgb8`` message
copies nothing, any other encoding costs one pass over the pixels; a message that
cannot be read *whole* is refused with an :class:`ImageError`, never half converted.

How the encodings of ``sensor_msgs/image_encodings.hpp`` are read:

* ``rgb8 bgr8 rgba8 bgra8 mono8``: as named; alpha is dropped.
* ``rgb16 bgr16 rgba16 bgra16 mono16``: scaled and rounded, white being the parameter ``mono16_max``, or
  the depth of 12, 14 or 16 bits that the image's maximum fits into; with 16 bits as cv_bridge does.
  ``is_bigendian`` is honoured; it means nothing for 8-bit samples and is ignored there.
* ``8UC1 8UC3 8UC4``: grey, BGR, BGRA, which is what OpenCV users publish under them.
* ``32FC1 32FC3``: grey and BGR in 0..1. A value outside (a depth image in metres)
  and NaN or infinity are refused.
* ``uyvy yuv422`` and ``yuyv yuv422_yuy2``: packed 4:2:2, even width.
* ``nv12 nv21``: a luma plane and an interleaved chroma plane of the same ``step``;
  ``height`` is the image's, even like the width, and ``data`` holds
  ``step * height * 3 / 2`` bytes. A ``step`` of 3 / 2 widths, for which ``data`` holds ``step * height``
  bytes, is read as the width.
* ``bayer_{rggb,bggr,gbrg,grbg}{8,16}``: bilinear demosaicing; 16 bits as above.

Upper and lower case are the same in a name.

YUV is BT.601 in the video range (luma 16..235), as in cv_bridge and OpenCV.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ros2_derain.image_decoding import (
    CAUSES,
    MAX_PIXELS,
    MIN_SIDE,
    ImageError,
    check_size,
    decode,
    inspect,
    quote,
    reduce_16_bit,
)

__all__ = [
    "CAUSES",
    "ENCODINGS",
    "MAX_PIXELS",
    "MIN_SIDE",
    "ImageError",
    "to_rgb",
    "to_mono",
    "to_channels",
    "compressed_to_rgb",
    "from_rgb",
    "from_mono",
    "from_channels",
    "compress_rgb",
]

_HALF_A_LEVEL = 0.5 / 255.0


@dataclass(frozen=True)
class _Encoding:
    """How the bytes of one encoding lie in a row and become RGB.

    Attributes:
        channels: samples per pixel in a row.
        to_rgb: OpenCV colour conversion code; None where it is RGB already.
        sample: NumPy type of a sample: ``u1``, ``u2`` or ``f4``.
        even_width, even_height: chroma is shared by neighbouring pixels.
        planes: rows of data per row of the image.
    """

    channels: int
    to_rgb: int | None
    sample: str = "u1"
    even_width: bool = False
    even_height: bool = False
    planes: float = 1.0


def _packed_422(code: int) -> _Encoding:
    return _Encoding(2, code, even_width=True)


def _planar_420(code: int) -> _Encoding:
    return _Encoding(1, code, even_width=True, even_height=True, planes=1.5)


# OpenCV names a Bayer pattern by its second row, ROS by its first: rggb is BayerBG.
_BAYER = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}

_ENCODINGS = {
    "rgb8": _Encoding(3, None),
    "bgr8": _Encoding(3, cv2.COLOR_BGR2RGB),
    "rgba8": _Encoding(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Encoding(4, cv2.COLOR_BGRA2RGB),
    "mono8": _Encoding(1, cv2.COLOR_GRAY2RGB),
    "rgb16": _Encoding(3, None, "u2"),
    "bgr16": _Encoding(3, cv2.COLOR_BGR2RGB, "u2"),
    "rgba16": _Encoding(4, cv2.COLOR_RGBA2RGB, "u2"),
    "bgra16": _Encoding(4, cv2.COLOR_BGRA2RGB, "u2"),
    "mono16": _Encoding(1, cv2.COLOR_GRAY2RGB, "u2"),
    "8UC1": _Encoding(1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Encoding(3, cv2.COLOR_BGR2RGB),
    "8UC4": _Encoding(4, cv2.COLOR_BGRA2RGB),
    "32FC1": _Encoding(1, cv2.COLOR_GRAY2RGB, "f4"),
    "32FC3": _Encoding(3, cv2.COLOR_BGR2RGB, "f4"),
    "uyvy": _packed_422(cv2.COLOR_YUV2RGB_UYVY),
    "yuv422": _packed_422(cv2.COLOR_YUV2RGB_UYVY),
    "yuyv": _packed_422(cv2.COLOR_YUV2RGB_YUY2),
    "yuv422_yuy2": _packed_422(cv2.COLOR_YUV2RGB_YUY2),
    "nv12": _planar_420(cv2.COLOR_YUV2RGB_NV12),
    "nv21": _planar_420(cv2.COLOR_YUV2RGB_NV21),
    **{f"{pattern}8": _Encoding(1, code) for pattern, code in _BAYER.items()},
    **{f"{pattern}16": _Encoding(1, code, "u2") for pattern, code in _BAYER.items()},
}

_BY_NAME = {name.lower(): encoding for name, encoding in _ENCODINGS.items()}

ENCODINGS = tuple(_ENCODINGS)
"""The encodings that :func:`to_rgb` reads."""


def to_rgb(msg: Image, *, max_pixels: int = MAX_PIXELS, mono16_max: int = 0) -> np.ndarray:
    """The image in a ``sensor_msgs/Image``.

    Args:
        msg: the message; its header is not looked at.
        max_pixels: largest height * width that is accepted.
        mono16_max: value of white in 16-bit samples; 0: see above.

    Returns:
        H x W x 3 uint8 RGB, C-contiguous. For ``rgb8`` without row padding it is a
        view of ``msg.data``: it lives as long as the array does, and writing to the
        one changes the other. Otherwise it is new memory.

    Raises:
        ImageError: with the cause ``encoding``, ``size`` (a side under
            :data:`MIN_SIDE`, or odd where chroma is shared), ``too_large``,
            ``step`` (a row does not fit), ``length`` (not step * height bytes),
            ``not_finite`` or ``range`` (float samples).
    """
    encoding = _BY_NAME.get(msg.encoding.lower())
    if encoding is None:
        raise ImageError(
            "encoding",
            f"encoding {quote(msg.encoding)} is not supported",
            f"publish one of {', '.join(ENCODINGS)}",
        )
    check_size(msg.height, msg.width, max_pixels)
    _check_even(msg, encoding)
    samples = _samples(msg, encoding.channels, encoding.sample, encoding.planes)
    image = _to_8_bit(samples, msg.encoding, mono16_max)
    if encoding.to_rgb is None:
        return np.ascontiguousarray(image)
    return cv2.cvtColor(image, encoding.to_rgb)


def compressed_to_rgb(
    msg: CompressedImage, *, max_pixels: int = MAX_PIXELS, mono16_max: int = 0
) -> np.ndarray:
    """The image in a ``sensor_msgs/CompressedImage``.

    JPEG, PNG, TIFF and WebP are recognised by content. From ``format`` only a Bayer pattern is
    read: image_transport sends a raw mosaic as a grey PNG named, for example,
    ``bayer_rggb8; png compressed``.

    Args:
        msg: the message; its header is not looked at.
        max_pixels: largest height * width that is accepted, checked before decoding.
        mono16_max: as in :func:`to_rgb`.

    Returns:
        H x W x 3 uint8 RGB, C-contiguous. 16 bits are reduced to 8, alpha is dropped,
        an EXIF orientation is not followed.

    Raises:
        ImageError: with the cause ``length`` (empty), ``format`` (none of them),
            ``truncated``, ``size``, ``too_large`` or ``decode``.
    """
    if not len(msg.data):
        raise ImageError("length", f"compressed image {quote(msg.format)} is empty")
    image = decode(bytes(msg.data), msg.format, max_pixels=max_pixels, mono16_max=mono16_max)
    if image.ndim == 3:
        return image
    pattern = re.match("bayer_[rgb]{4}", msg.format.lower())
    return cv2.cvtColor(image, _BAYER.get(pattern[0] if pattern else "", cv2.COLOR_GRAY2RGB))


def note(msg: CompressedImage) -> str:
    """What is unusual about a compressed image that can be read; '' for nothing."""
    return inspect(bytes(msg.data), msg.format).note


def to_mono(msg: Image, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The values in a ``mono8`` (or ``8UC1``) message: a label map, a trust map.

    Returns:
        H x W uint8, C-contiguous; without row padding a view of ``msg.data``.

    Raises:
        ImageError: with the cause ``encoding``, ``size``, ``too_large``, ``step`` or
            ``length``.
    """
    if msg.encoding not in ("mono8", "8UC1"):
        raise ImageError("encoding", f"encoding {quote(msg.encoding)} is not mono8")
    check_size(msg.height, msg.width, max_pixels, min_side=1)
    return np.ascontiguousarray(_samples(msg, 1))


def to_channels(msg: Image, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The channels of an ``8UC<K>`` message, as :func:`from_channels` made it.

    Returns:
        K x h x w uint8, C-contiguous, in memory of its own.

    Raises:
        ImageError: with the cause ``encoding``, ``size``, ``too_large``, ``step`` or
            ``length``.
    """
    found = re.fullmatch(r"8UC([1-9][0-9]{0,3})", msg.encoding)
    if found is None:
        raise ImageError("encoding", f"encoding {quote(msg.encoding)} is not 8UC<number of channels>")
    check_size(msg.height, msg.width, max_pixels, min_side=1)
    samples = _samples(msg, int(found[1])).reshape(msg.height, msg.width, -1)
    return samples.transpose(2, 0, 1).copy()


def from_rgb(image: np.ndarray, header: Header, encoding: str = "rgb8") -> Image:
    """A ``sensor_msgs/Image`` of an image array.

    Args:
        image: H x W x 3 uint8 RGB.
        header: becomes the message's header as it is.
        encoding: ``rgb8`` or ``bgr8``.

    Raises:
        ImageError: with the cause ``size`` (not such an array) or ``encoding``.
    """
    _check_array(image, "H x W x 3", channels=3)
    if encoding not in ("rgb8", "bgr8"):
        raise ImageError("encoding", f"cannot write {quote(encoding)}; use rgb8 or bgr8")
    if encoding == "bgr8":
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return _message(image, header, encoding)


def from_mono(image: np.ndarray, header: Header) -> Image:
    """A ``mono8`` message of H x W uint8 values.

    Raises:
        ImageError: with the cause ``size`` where it is not such an array.
    """
    _check_array(image, "H x W")
    return _message(image, header, "mono8")


def from_channels(channels: np.ndarray, header: Header) -> Image:
    """An ``8UC<K>`` message of K x h x w uint8 values: the semantic prior.

    On the wire the channels of a pixel lie side by side, as in any ROS image.

    Raises:
        ImageError: with the cause ``size`` where it is not such an array.
    """
    if channels.ndim != 3:
        raise ImageError("size", f"expected K x h x w uint8, got {_kind(channels)}")
    interleaved = channels.transpose(1, 2, 0)
    _check_array(interleaved, "h x w x K", channels=len(channels))
    return _message(interleaved, header, f"8UC{len(channels)}")


def compress_rgb(image: np.ndarray, header: Header, quality: int = 90) -> CompressedImage:
    """A JPEG ``sensor_msgs/CompressedImage`` of an image array.

    Args:
        image: H x W x 3 uint8 RGB.
        header: becomes the message's header as it is.
        quality: 1 (smallest) to 100 (best).

    Raises:
        ImageError: with the cause ``size`` where it is not such an array.
    """
    _check_array(image, "H x W x 3", channels=3)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))
    msg = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    msg.data.frombytes(jpeg)
    return msg


def _check_even(msg: Image, encoding: _Encoding) -> None:
    odd_width = encoding.even_width and msg.width % 2
    odd_height = encoding.even_height and msg.height % 2
    if odd_width or odd_height:
        raise ImageError(
            "size",
            f"{msg.width} x {msg.height} pixels: {msg.encoding} shares chroma between "
            f"neighbours and needs an even {'width' if odd_width else 'height'}",
        )


def _samples(msg: Image, channels: int, sample: str = "u1", planes: float = 1.0) -> np.ndarray:
    """A view of the message's samples, rows x W (x channels where more than one).

    Multi-byte samples come aligned and in the machine's byte order, copied if need be.
    """
    dtype = np.dtype(sample).newbyteorder(">" if msg.is_bigendian else "<")
    row = msg.width * channels * dtype.itemsize
    if msg.step < row:
        raise ImageError(
            "step",
            f"step {msg.step} is less than width {msg.width} * {channels * dtype.itemsize} "
            f"bytes of encoding {msg.encoding}",
        )
    rows, step = int(msg.height * planes), msg.step
    if planes != 1.0 and step == int(row * planes) and len(msg.data) == step * msg.height:
        step = row
    if len(msg.data) != step * rows:
        raise ImageError(
            "length",
            f"{len(msg.data)} bytes of data; step {step} * {rows} rows of encoding "
            f"{msg.encoding} at {msg.width} x {msg.height} are {step * rows}",
        )
    table = np.frombuffer(msg.data, np.uint8).reshape(rows, step)[:, :row]
    samples = np.require(table.view(dtype), dtype.newbyteorder("="), "A")
    return samples if channels == 1 else samples.reshape(rows, msg.width, channels)


def _to_8_bit(samples: np.ndarray, encoding: str, mono16_max: int) -> np.ndarray:
    """Samples of any supported type as uint8, full scale to full scale."""
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype == np.uint16:
        return reduce_16_bit(samples, mono16_max)
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite([low, high]).all():
        raise ImageError("not_finite", f"{encoding} image has NaN or infinite values")
    if low < -_HALF_A_LEVEL or high > 1.0 + _HALF_A_LEVEL:
        raise ImageError(
            "range",
            f"{encoding} values span {low:g} to {high:g}; a camera image has 0 to 1",
        )
    return cv2.convertScaleAbs(samples, alpha=255.0)


def _check_array(image: np.ndarray, shape: str, channels: int | None = None) -> None:
    fits = image.dtype == np.uint8 and image.size > 0
    fits = fits and image.ndim == (2 if channels is None else 3)
    if not fits or (channels is not None and image.shape[2] != channels):
        raise ImageError("size", f"expected {shape} uint8, got {_kind(image)}")


def _kind(image: np.ndarray) -> str:
    return f"{' x '.join(map(str, image.shape)) or 'a scalar'} {image.dtype}"


def _message(image: np.ndarray, header: Header, encoding: str) -> Image:
    """H x W (x channels) uint8 as a message without row padding."""
    image = np.ascontiguousarray(image)
    msg = Image(header=header, encoding=encoding)
    msg.height, msg.width = image.shape[:2]
    msg.step = image.strides[0]
    # Appending to the message's own array is the one way that copies only once.
    msg.data.frombytes(image.data.cast("B"))
    return msg
