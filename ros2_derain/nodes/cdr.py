"""``sensor_msgs/Image`` in its serialised form, read in place and written in one copy.

A subscription with ``raw=True`` hands over the bytes as they came off the wire, and
``publish`` takes such bytes. Skipping the message class in between saves copies of
the picture and nothing else: :func:`read_image` gives :func:`~.images.to_rgb` and
the other readers what they need, :func:`write_image` stands for ``from_rgb``.

The form is CDR (OMG DDS-XTypes 1.3, 7.4.1 and 7.4.2): four bytes that name the
variant, then the fields in order, each aligned to its size. Nothing in an Image is
wider than four bytes, so the first version and the plain second version are alike.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from ros2_derain.nodes.image_errors import ImageError

_BYTE_ORDER = {  # representation identifier: plain CDR and plain CDR2
    b"\x00\x00": ">", b"\x00\x01": "<", b"\x00\x06": ">", b"\x00\x07": "<",
}
_START = 4
_LITTLE = b"\x00\x01\x00\x00"


@dataclass(frozen=True)
class ImageView:
    """The fields of a ``sensor_msgs/Image``; ``data`` is a view of the received bytes."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


def read_image(raw: bytes) -> ImageView:
    """The image in a serialised message, without copying its pixels.

    Args:
        raw: what a subscription with ``raw=True`` receives. The view keeps it alive.

    Raises:
        ImageError: with the cause ``message`` where the bytes are cut off or are no
            plain CDR. Whether size, step and encoding make sense is not looked at
            here but by the conversions.
    """
    order = _BYTE_ORDER.get(bytes(raw[:2]))
    if order is None or len(raw) < _START:
        raise ImageError(
            "message",
            f"serialised message of {len(raw)} bytes that begins with "
            f"{bytes(raw[:4]).hex(' ')!r} is not plain CDR; subscribe without raw=True",
        )
    fields = _Reader(raw, order)
    try:
        stamp = Time(sec=fields.number("i"), nanosec=fields.number("I"))
        return ImageView(
            header=Header(stamp=stamp, frame_id=fields.text()),
            height=fields.number("I"),
            width=fields.number("I"),
            encoding=fields.text(),
            is_bigendian=fields.number("B"),
            step=fields.number("I"),
            data=fields.take(fields.number("I")),
        )
    except (struct.error, UnicodeDecodeError) as error:
        raise ImageError(
            "message", f"serialised image of {len(raw)} bytes is cut off or damaged: {error}"
        ) from error


def write_image(image: np.ndarray, header: Header, encoding: str) -> bytes:
    """A serialised ``sensor_msgs/Image`` for ``publish``, the pixels copied once.

    Args:
        image: H x W or H x W x channels uint8, in memory as ``encoding`` wants it.
        header: stamp and frame_id of the message.
        encoding: ``rgb8``, ``mono8``, ``8UC19``, ...
    """
    image = np.ascontiguousarray(image)
    height, width = image.shape[:2]
    head = _LITTLE + struct.pack("<iI", header.stamp.sec, header.stamp.nanosec)
    head = _padded(head + _text(header.frame_id)) + struct.pack("<II", height, width)
    head = _padded(head + _text(encoding) + b"\0")  # the zero is is_bigendian
    head += struct.pack("<II", image.strides[0], image.nbytes)
    return b"".join((head, memoryview(image).cast("B")))


class _Reader:
    """Takes one field after the other; every position counts from after the start."""

    def __init__(self, raw: bytes, order: str) -> None:
        self._raw = memoryview(raw)
        self._order = order
        self._position = _START

    def number(self, code: str) -> int:
        size = struct.calcsize(code)
        self._position += -self._position % size
        (value,) = struct.unpack_from(self._order + code, self._raw, self._position)
        self._position += size
        return value

    def take(self, size: int) -> memoryview:
        if self._position + size > len(self._raw):
            raise struct.error(f"{size} bytes announced, {len(self._raw) - self._position} left")
        self._position += size
        return self._raw[self._position - size:self._position]

    def text(self) -> str:
        return str(self.take(self.number("I")), "utf-8").rstrip("\0")


def _text(value: str) -> bytes:
    encoded = value.encode() + b"\0"
    return struct.pack("<I", len(encoded)) + encoded


def _padded(head: bytes) -> bytes:
    return head + b"\0" * (-len(head) % 4)
