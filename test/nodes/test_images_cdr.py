"""Serialised images read and written in place, against rclpy's own serialisation."""

import struct

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ros2_derain.nodes import cdr, images
from ros2_derain.nodes.images import ImageError

UINT32 = st.integers(0, 2**32 - 1)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
HEADERS = st.builds(
    Header, frame_id=TEXT,
    stamp=st.builds(Time, sec=st.integers(-2**31, 2**31 - 1), nanosec=UINT32))
FIELDS = ("header", "height", "width", "encoding", "is_bigendian", "step")


def message(header, encoding, data, height=3, width=5, step=7, is_bigendian=0):
    msg = Image(header=header, encoding=encoding, height=height, width=width)
    msg.step, msg.is_bigendian = step, is_bigendian
    msg.data.frombytes(data)
    return msg


@settings(max_examples=200, deadline=None)
@given(st.builds(message, HEADERS, TEXT, st.binary(max_size=50),
                 UINT32, UINT32, UINT32, st.integers(0, 255)))
def test_reads_what_rclpy_writes(msg):
    view = cdr.read_image(serialize_message(msg))
    for name in FIELDS:
        assert getattr(view, name) == getattr(msg, name)
    assert bytes(view.data) == msg.data.tobytes()


@settings(max_examples=200, deadline=None)
@given(HEADERS, TEXT, st.sampled_from([(64, 64, 3), (65, 71), (9, 13, 19), (1, 1)]))
def test_rclpy_reads_what_is_written(header, encoding, shape):
    array = np.random.default_rng(4).integers(0, 256, shape, np.uint8)
    msg = deserialize_message(cdr.write_image(array, header, encoding), Image)
    assert (msg.header, msg.encoding, msg.is_bigendian) == (header, encoding, 0)
    assert (msg.height, msg.width, msg.step) == (*shape[:2], array.strides[0])
    assert msg.data.tobytes() == array.tobytes()


def big_endian(header, encoding, rows):
    """The same message as a big-endian machine serialises it."""
    raw = struct.pack(">iI", header.stamp.sec, header.stamp.nanosec)
    for text, after in ((header.frame_id, struct.pack(">II", *rows.shape)), (encoding, b"\1")):
        raw += struct.pack(">I", len(text) + 1) + text.encode() + b"\0"
        raw += b"\0" * (-len(raw) % 4 if after != b"\1" else 0) + after
    raw += b"\0" * (-len(raw) % 4) + struct.pack(">II", rows.shape[1], rows.size)
    return b"\0\0\0\0" + raw + rows.tobytes()


@pytest.mark.parametrize("frame_id", ["", "c", "ca", "cam", "came", "camera_front"])
@pytest.mark.parametrize("version", [b"\0\0", b"\0\6"])
def test_reads_big_endian(frame_id, version):
    rows = np.arange(70 * 66, dtype=np.uint16).astype(np.uint8).reshape(70, 66)
    header = Header(frame_id=frame_id, stamp=Time(sec=-3, nanosec=5))
    view = cdr.read_image(version + big_endian(header, "mono8", rows)[2:])
    assert (view.header, view.is_bigendian, view.step) == (header, 1, 66)
    assert np.array_equal(images.to_rgb(view)[..., 0], rows)


def test_pixels_are_not_copied():
    array = np.random.default_rng(1).integers(0, 256, (64, 80, 3), np.uint8)
    raw = cdr.write_image(array, Header(), "rgb8")
    rgb = images.to_rgb(cdr.read_image(raw))
    assert np.array_equal(rgb, array)
    assert np.shares_memory(rgb, np.frombuffer(raw, np.uint8))


def test_a_cropped_array_is_written_without_its_surroundings():
    crop = np.random.default_rng(1).integers(0, 256, (80, 90, 3), np.uint8)[3:70, 5:80]
    assert np.array_equal(images.to_rgb(cdr.read_image(cdr.write_image(crop, Header(), "rgb8"))), crop)


def test_cut_messages_are_refused_at_every_length():
    raw = cdr.write_image(np.zeros((4, 4), np.uint8), Header(frame_id="camera"), "mono8")
    assert len(cdr.read_image(raw).data) == 16
    for size in range(len(raw)):
        with pytest.raises(ImageError, match="cut off|not plain CDR") as caught:
            cdr.read_image(raw[:size])
        assert caught.value.cause == "message"


@pytest.mark.parametrize("start", [b"\0\2", b"\0\3", b"\0\x09", b"\xff\xff"])
def test_other_representations_are_refused(start):
    raw = cdr.write_image(np.zeros((4, 4), np.uint8), Header(), "mono8")
    with pytest.raises(ImageError, match="not plain CDR") as caught:
        cdr.read_image(start + raw[2:])
    assert caught.value.cause == "message"


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 90), st.binary(min_size=1, max_size=8))
def test_damaged_messages_are_read_or_refused(at, damage):
    raw = cdr.write_image(np.zeros((8, 8), np.uint8), Header(frame_id="camera"), "mono8")
    try:
        view = cdr.read_image(raw[:at] + damage + raw[at + len(damage):])
        images.to_rgb(view)
    except ImageError as error:
        assert error.cause in images.CAUSES
