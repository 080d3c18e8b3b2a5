"""The probe: numbered images, message templates, and outputs that belong to no frame or to another one."""

import time

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from ros2_derain import messages
from ros2_derain.messages import images
from ros2_derain.ros_testing import probe as probe_module
from ros2_derain.ros_testing.probe import (
    MessageTemplate,
    Probe,
    Received,
    Sent,
    numbered_image,
    read_number,
)


@pytest.mark.parametrize("number", [0, 1, 777, 2**16 - 1])
def test_the_number_of_an_image_is_readable_after_restoration(number):
    image = numbered_image(number).astype(float)
    noisy = image * 0.8 + 20 + np.random.default_rng(0).normal(0, 15, image.shape)
    assert read_number(numbered_image(number)) == number
    assert read_number(noisy.clip(0, 255).astype(np.uint8)) == number
    assert read_number(numbered_image(number, 64, 96)) is None


def test_a_message_template_makes_messages_with_stamps_and_numbers():
    template = MessageTemplate("front", 64, 256)
    for stamp, number in ((10**18 + 1, 5), (3 * 10**9 + 7, 60000)):
        message = deserialize_message(template.fill(stamp, number), Image)
        image = numbered_image(number, 64, 256)
        assert message == images.from_rgb(image, messages.to_header(stamp, "front"))


@pytest.fixture
def probe():
    with Probe("/nowhere") as made:
        yield made


def errors_of(probe, *received):
    probe.sent = {1: Sent(10, "front", time.monotonic()), 2: Sent(11, "front", time.monotonic())}
    probe.received["derain/image"] = [Received(*fields, time.monotonic()) for fields in received]
    return probe.stamp_errors()


def test_outputs_of_sent_frames_are_no_errors(probe):
    assert errors_of(probe, (1, "front", 10), (2, "front", 11)) == []
    assert errors_of(probe, (1, "front", None)) == []


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ((3, "front", 10), "the stamp 3, which was never sent"),
        ((1, "left", 10), "frame_id 'left' instead of 'front'"),
        ((1, "front", 11), "shows image 11 under the stamp of 10"),
    ],
)
def test_an_output_under_a_wrong_stamp_is_found(probe, output, expected):
    (found,) = errors_of(probe, output)
    assert expected in found


def test_a_repeated_output_is_found_unless_two_are_expected(probe):
    assert "has a stamp 2 times" in errors_of(probe, (1, "front", 10), (1, "front", 10))[0]
    assert probe.stamp_errors(instances=2) == []
    probe.repeated[1].append(probe.sent[1])
    assert probe.stamp_errors() == []


def test_reset_keeps_frames_whose_output_may_still_come(probe, monkeypatch):
    errors_of(probe, (1, "front", 10))
    probe.reset()
    assert set(probe.sent) == {1, 2} and not probe.received
    monkeypatch.setattr(probe_module, "KEPT_S", -1.0)
    probe.reset()
    assert not probe.sent
