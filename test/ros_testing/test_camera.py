"""A clip played as a camera over DDS, and recorded."""

import csv
import subprocess
import sys

import cv2
import numpy as np
import pytest
from limits import HANG_S
from rosbags.highlevel import AnyReader

from ros2_derain.bags import BagError
from ros2_derain.bags.messages import raw_stamp_ns
from ros2_derain.data.images import DataError
from ros2_derain.messages import topics
from ros2_derain.nodes import outputs
from ros2_derain.ros_testing import camera
from ros2_derain.ros_testing.camera import read_folder
from ros2_derain.ros_testing.observer import Observer

HEIGHT, WIDTH = 72, 96


@pytest.fixture
def clip(tmp_path):
    """Three images in one colour each: red, green, blue."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for index in range(3):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[:, :, 2 - index] = 200
        cv2.imwrite(str(folder / f"{index:06d}.png"), image)
    return folder


def play(clip, tmp_path, frames, subscribers=1, timeout=HANG_S):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ros2_derain.ros_testing.camera",
            str(clip),
            "--fps",
            "40",
            "--frames",
            str(frames),
            "--subscribers",
            str(subscribers),
            "--timeout",
            str(timeout),
            "--log",
            str(tmp_path / "sent.csv"),
            "--ros-args",
            "-r",
            "__ns:=/front",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )


def sent(tmp_path):
    with (tmp_path / "sent.csv").open() as lines:
        return [(int(row["index"]), int(row["stamp_ns"])) for row in csv.DictReader(lines)]


def test_every_frame_is_recorded_with_the_stamp_that_the_camera_logged(clip, tmp_path):
    with Observer("/front") as observer:
        recorder = observer.record(tmp_path / "bag", camera.OUTPUTS)
        player = play(clip, tmp_path, frames=7)
        complete = observer.spin_until(lambda: recorder.counts == {"image": 7, "camera_info": 7}, HANG_S)
        assert player.wait(HANG_S) == 0, player.stderr.read()
        assert complete, recorder.counts

    log = sent(tmp_path)
    assert [index for index, _ in log] == [0, 1, 2, 0, 1, 2, 0]
    stamps = [stamp for _, stamp in log]
    assert stamps == sorted(set(stamps))

    with AnyReader([tmp_path / "bag"]) as bag:
        assert {(c.topic, c.msgtype) for c in bag.connections} == {
            ("/front/image", "sensor_msgs/msg/Image"),
            ("/front/camera_info", "sensor_msgs/msg/CameraInfo"),
        }
        images, infos = [], []
        for connection, received, raw in bag.messages():
            message = bag.deserialize(raw, connection.msgtype)
            assert raw_stamp_ns(raw) == message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            assert received >= raw_stamp_ns(raw)
            (images if connection.topic.endswith("image") else infos).append(message)
    assert [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in images] == stamps
    assert [m.header.frame_id for m in images] == ["camera_optical"] * 7
    for message, (index, _) in zip(images, log, strict=True):
        image = np.asarray(message.data).reshape(HEIGHT, WIDTH, 3)
        assert message.encoding == "rgb8"
        assert image[0, 0].tolist() == [200 * (channel == index) for channel in range(3)]
    assert [(m.height, m.width, m.k[2]) for m in infos] == [(HEIGHT, WIDTH, (WIDTH - 1) / 2)] * 7


def test_a_camera_without_subscribers_reports_it(clip, tmp_path):
    player = play(clip, tmp_path, frames=1, timeout=0.5)
    assert player.wait(HANG_S) == 2
    assert "/front/image has 0 of 1 subscribers after 0.5 s" in player.stderr.read()


def test_folder_without_images_is_named(tmp_path):
    with pytest.raises(DataError, match="holds no image"):
        read_folder(tmp_path)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "000000.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="000000.jpg"):
        read_folder(tmp_path)


def test_a_bag_is_never_written_over(tmp_path):
    (tmp_path / "bag").mkdir()
    with Observer() as observer, pytest.raises(BagError, match="exists already"):
        observer.record(tmp_path / "bag", camera.OUTPUTS)


def test_a_late_recorder_gets_what_was_latched(tmp_path):
    """``derain/mode`` and the like are published once, before anybody subscribes."""
    import rclpy
    from rosbags.rosbag2.reader import Reader

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("publishes_once", context=context)
    try:
        node.create_publisher(outputs.MODE.type, outputs.MODE.name, topics.latched()).publish(
            outputs.MODE.type(data="dry")
        )
        with Observer() as observer:
            recorder = observer.record(tmp_path / "bag", (outputs.MODE,))
            assert observer.spin_until(lambda: recorder.counts["derain/mode"] == 1, HANG_S)
    finally:
        node.destroy_node()
        context.try_shutdown()
    with Reader(tmp_path / "bag") as bag:
        offered = bag.connections[0].ext.offered_qos_profiles[0]
        assert offered.durability.name == "TRANSIENT_LOCAL"
