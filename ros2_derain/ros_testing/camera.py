"""Cameras: a folder of images at a steady pace, or recorded messages under a simulated clock.

    python -m ros2_derain.ros_testing.camera FOLDER --fps 4 [--ros-args -r image:=/camera/image ...]

plays a folder of images on ``image`` and ``camera_info``. Every image is decoded before the first is
sent, so that reading files doesn't disturb the pace, and is stamped with the node's clock at the moment
it is sent.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ros2_derain.bags.messages import pinhole
from ros2_derain.data.images import DataError, list_images, read_image
from ros2_derain.messages import images, to_header, topics
from ros2_derain.options import positive
from ros2_derain.ros_testing import RosTestingError

FIRST_S = 5.0
"""Longest wait for the first image's acknowledgement."""

DISCOVERY_S = 0.3
"""Time for a subscriber that is known here to discover this camera, too."""

MAX_STEP_S = 0.05
"""Longest step of the simulated clock."""

OUTPUTS = (topics.Topic(topics.IMAGE.name, Image), topics.Topic(topics.CAMERA_INFO.name, CameraInfo))
"""Sent reliably, so that both best-effort and reliable subscribers receive them."""


class Camera(Node):
    """Publishes images as a camera does.

    Args:
        frame_id: name of the optical frame, in every header.
    """

    def __init__(self, frame_id: str = "camera_optical", **options) -> None:
        super().__init__("camera", **options)
        self.frame_id = frame_id
        self._images: Publisher
        self._infos: Publisher
        self._images, self._infos = (
            self.create_publisher(topic.type, topic.name, topic.qos()) for topic in OUTPUTS
        )

    def wait_for_subscribers(self, count: int, timeout_s: float) -> None:
        """Wait until ``image`` has at least ``count`` subscribers, and until they have discovered it.

        Raises:
            RosTestingError: it has fewer after ``timeout_s`` seconds.
        """
        deadline = time.monotonic() + timeout_s
        while (found := self._images.get_subscription_count()) < count:
            if time.monotonic() > deadline:
                raise RosTestingError(
                    f"{self._images.topic_name} has {found} of {count} subscribers after {timeout_s:g} s: "
                    "start a subscriber on the same ROS domain"
                )
            time.sleep(0.01)
        time.sleep(DISCOVERY_S)

    def send(self, image: np.ndarray) -> int:
        """Publish one H x W x 3 uint8 RGB image, stamped now; returns the stamp in ns."""
        header = Header(frame_id=self.frame_id)
        message, info = images.from_rgb(image, header), pinhole(header, *image.shape[:2])
        now = self.get_clock().now()
        header.stamp = now.to_msg()
        self._images.publish(message)
        self._infos.publish(info)
        return now.nanoseconds

    def play(
        self, clip: Sequence[np.ndarray], fps: float, frames: int, sent: Callable[[int, int], None]
    ) -> None:
        """Send ``frames`` images; after the last of the clip follows its first.

        The pace begins when reliable subscribers have acknowledged the first image: one that has not
        discovered this camera yet would lose the first ones.

        Args:
            clip: images, H x W x 3 uint8 RGB each.
            fps: frames per second. A late frame is sent at once; later ones keep
                their times.
            frames: how many to send.
            sent: called with the image's index and the stamp of each frame.
        """
        start = time.monotonic()
        for count in range(frames):
            time.sleep(max(0.0, start + count / fps - time.monotonic()))
            index = count % len(clip)
            sent(index, self.send(clip[index]))
            if not count:
                self.flush(FIRST_S)
                start = time.monotonic()

    def flush(self, timeout_s: float) -> None:
        """Wait until reliable subscribers have acknowledged everything that was sent."""
        deadline = time.monotonic() + timeout_s
        for publisher in (self._images, self._infos):
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, deadline - time.monotonic())))


class Player:
    """Publishes ``/clock``, an image topic and a ``camera_info``. Use it as a context manager.

    All are sent reliably, so that both best-effort and reliable subscribers receive them.

    Args:
        image: name of the image topic.
        compressed: whether it carries CompressedImage.
        camera_info: name of the calibration's topic.
    """

    def __init__(self, image: str, compressed: bool, camera_info: str) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("player", context=self._context)
        kind = CompressedImage if compressed else Image
        self._images = self._node.create_publisher(kind, image, topics.recent())
        self._infos = self._node.create_publisher(CameraInfo, camera_info, topics.recent())
        self._clock = self._node.create_publisher(Clock, "/clock", QoSProfile(depth=10))

    def subscribers(self) -> int:
        """Number of subscribers to the images."""
        return self._images.get_subscription_count()

    def tick(self, time_ns: int) -> None:
        """Set the simulated clock."""
        self._clock.publish(Clock(clock=to_header(time_ns, "").stamp))

    def send(self, image: bytes) -> int:
        """Publish a serialized image; returns the time in ns of the system's clock."""
        now = time.time_ns()
        self._images.publish(image)
        return now

    def calibrate(self, info: bytes) -> None:
        """Publish a serialized ``camera_info``."""
        self._infos.publish(info)

    def until(self, due_s: float, now_ns: Callable[[], int], wait: Callable[[float], None]) -> None:
        """Advance the simulated clock until a deadline.

        Args:
            due_s: the deadline, by ``time.monotonic``.
            now_ns: the simulated time.
            wait: is called with the seconds to the next step, and should take about as long.
        """
        while (left_s := due_s - time.monotonic()) > 0:
            wait(min(left_s, MAX_STEP_S))
            self.tick(now_ns())

    def close(self) -> None:
        """Leave the ROS graph."""
        self._node.destroy_node()
        self._context.try_shutdown()

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def read_folder(folder: Path, limit: int | None = None) -> list[np.ndarray]:
    """The first ``limit`` images of a folder, in natural order of their names: H x W x 3 uint8 RGB.

    Raises:
        DataError: the folder holds no image, or one that cannot be read.
    """
    return [read_image(path) for path in list_images(folder)[:limit]]


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="camera",
        description="Plays a folder of images as a camera: image and camera_info, at a steady pace.",
    )
    parser.add_argument("folder", type=Path, help="images, played in the order of their names")
    parser.add_argument(
        "--fps", type=positive(float), default=25.0, help="frames per second (default: %(default)s)"
    )
    parser.add_argument("--frames", type=positive(int), help="how many to send (default: each image once)")
    parser.add_argument("--frame-id", default="camera_optical", help="optical frame (default: %(default)s)")
    parser.add_argument(
        "--log", type=Path, help="write index and stamp_ns of every sent frame to this CSV file"
    )
    parser.add_argument(
        "--subscribers", type=int, default=1, help="wait for this many (default: %(default)s)"
    )
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Play the clip that the command line names; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    begin = arguments.index("--ros-args") if "--ros-args" in arguments else len(arguments)
    rclpy.init(args=arguments[begin:])  # which refuses file names that are not UTF-8
    args = _parse([*arguments[:begin], *rclpy.utilities.remove_ros_args(["camera", *arguments[begin:]])[1:]])
    try:
        with contextlib.ExitStack() as stack:
            _play(args, stack)
    except (RosTestingError, DataError) as error:
        print(f"camera: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


def _play(args: argparse.Namespace, stack: contextlib.ExitStack) -> None:
    clip = read_folder(args.folder, args.frames)
    camera = Camera(args.frame_id)
    stack.callback(camera.destroy_node)
    if args.log:
        rows = csv.writer(stack.enter_context(args.log.open("w", newline="", buffering=1)))
        rows.writerow(("index", "stamp_ns"))
    camera.wait_for_subscribers(args.subscribers, args.timeout)
    camera.play(
        clip,
        args.fps,
        args.frames or len(clip),
        lambda index, stamp: rows.writerow((index, stamp)) if args.log else None,
    )
    camera.flush(args.timeout)


if __name__ == "__main__":
    sys.exit(main())
