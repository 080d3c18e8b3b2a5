"""Malformed messages are read completely or refused by name, and quickly."""

import struct
import time
from array import array

import cv2
import numpy as np
import pytest
import rig
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage

from ros2_derain.messages import images
from ros2_derain.nodes import outputs
from ros2_derain.ros_testing import malformed_messages

LIMIT = 1 << 20


def read_or_refused(convert, message):
    """Convert; the image, or None where it was refused with a known cause."""
    try:
        image = convert(message, max_pixels=LIMIT)
    except images.ImageError as error:
        assert error.cause in images.CAUSES and str(error).startswith("image refused")
        return None
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert min(image.shape[:2]) >= images.MIN_SIDE and image.shape[0] * image.shape[1] <= LIMIT
    return image


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_any_image_is_read_or_refused(seed):
    message = malformed_messages.image(np.random.default_rng(seed))
    image = read_or_refused(images.to_rgb, message)
    if image is not None:
        assert image.shape[:2] == (message.height, message.width)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_any_compressed_image_is_read_or_refused(seed):
    read_or_refused(images.compressed_to_rgb, malformed_messages.compressed(np.random.default_rng(seed)))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_any_bytes_after_a_valid_signature_are_refused(tail, start):
    assert read_or_refused(images.compressed_to_rgb, CompressedImage(data=array("B", start + tail))) is None


def test_both_generators_also_make_valid_messages():
    random = np.random.default_rng(0)
    for make, convert in (
        (malformed_messages.image, images.to_rgb),
        (malformed_messages.compressed, images.compressed_to_rgb),
    ):
        read = [read_or_refused(convert, make(random)) is not None for _ in range(200)]
        assert 10 < sum(read) < 190


def jpeg():
    return cv2.imencode(".jpg", rig.noise_image())[1].tobytes()


PNG, END = b"\x89PNG\r\n\x1a\n", struct.pack(">I4sI", 0, b"IEND", 0)
SIDES = (2**31 - 1, 2**31 - 1)
BOMBS = {
    "segments": (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 1_000_000, "truncated"),
    "fill": (b"\xff\xd8" + b"\xff" * 5_000_000, "truncated"),
    "markers": (b"\xff\xd8\xff\xd0" + b"\xff\xd0" * 1_000_000, "truncated"),
    "chunks": (PNG + b"\x00\x00\x00\x00tEXt\x00\x00\x00\x00" * 1_000_000, "truncated"),
    "scans": (jpeg()[:-2] + b"\xff\xda\x00\x02" * 101 + b"\xff\xd9", "decode"),
    "no length": (b"\xff\xd8\xff\xe0\x00\x00" + jpeg()[2:], "decode"),
    "sides": (PNG + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", *SIDES, 8, 2, 0, 0, 0, 0) + END, "too_large"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_costs_time(name):
    data, cause = BOMBS[name]
    message, began = CompressedImage(data=array("B", data)), time.process_time()
    with pytest.raises(images.ImageError) as refused:
        images.compressed_to_rgb(message, max_pixels=LIMIT)
    assert refused.value.cause == cause
    assert time.process_time() - began < 1.0


def came_out(made, message):
    return message.header in [output.header for output in made.client.got[outputs.CLEAN_IMAGE.name]]


def test_valid_images_between_malformed_ones_come_out(active):
    made, random = active(max_pixels=LIMIT), np.random.default_rng(1)
    for _ in range(5):
        for _ in range(20):
            malformed = malformed_messages.image(random)
            malformed.header = made.next_header()
            made.client.image.publish(malformed)
        made.pass_through()
    assert made.counters().dropped.get("error", 0) == 0


def test_valid_compressed_images_between_malformed_ones_come_out(active):
    made, random = active(input_transport="compressed", max_pixels=LIMIT), np.random.default_rng(2)
    for _ in range(5):
        for _ in range(20):
            malformed = malformed_messages.compressed(random)
            malformed.header = made.next_header()
            made.client.jpeg.publish(malformed)
        good = images.compress_rgb(rig.noise_image(), made.next_header())
        made.client.jpeg.publish(good)
        assert made.client.until(lambda good=good: came_out(made, good))
    assert made.counters().dropped.get("error", 0) == 0


def test_a_path_to_a_model_is_accepted_at_the_start_only(make_rig, tmp_path):
    made = make_rig()
    for path in (str(tmp_path), "../elsewhere", "~/model", "./here"):
        refused = made.set_parameter(made.derain, "model", path)
        assert not refused.successful and "at start-up only" in refused.reason
    assert made.set_parameter(made.derain, "model", "loopnet").successful
    assert made.set_parameter(made.derain, "model", made.derain._trusted_model).successful
