"""Bags of a few small images, for tests."""

from pathlib import Path

import cv2
import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ros2_derain.bags.messages import define

STORE = get_typestore(Stores.ROS2_KILTED)
TYPES = STORE.types
SCENE = cv2.resize(np.random.default_rng(1).integers(0, 160, (8, 8, 3), np.uint8), (128, 96))
FIRST_NS = 1_700_000_000_000_000_000
STEP_NS = 40_000_000


def header(stamp_ns: int, frame: str = "cam"):
    stamp = TYPES["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def raw_image(stamp_ns: int, pixels: np.ndarray = SCENE, encoding: str = "rgb8"):
    return TYPES["sensor_msgs/msg/Image"](
        header=header(stamp_ns),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels[0].nbytes,
        data=np.frombuffer(pixels.tobytes(), np.uint8),
    )


def compressed_image(stamp_ns: int, data: bytes, named: str = "jpeg"):
    return TYPES["sensor_msgs/msg/CompressedImage"](
        header=header(stamp_ns), format=named, data=np.frombuffer(data, np.uint8)
    )


def encoded(kind: str, pixels: np.ndarray = SCENE) -> bytes:
    """An image as the bytes of a JPEG or PNG file."""
    return cv2.imencode(f".{kind}", pixels[:, :, ::-1])[1].tobytes()


def camera_info(stamp_ns: int, width: int = 128, height: int = 96):
    return TYPES["sensor_msgs/msg/CameraInfo"](
        header=header(stamp_ns),
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.eye(3).ravel(),
        r=np.eye(3).ravel(),
        p=np.eye(3, 4).ravel(),
        binning_x=0,
        binning_y=0,
        roi=TYPES["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )


def pixels(image) -> np.ndarray:
    """The pixels of a raw image message: H x W x 3, or H x W."""
    return image.data.reshape(image.height, image.width, *([] if image.encoding == "mono8" else [3]))


def stamp_ns(message) -> int:
    """A message's stamp."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def detections(stamp: int, *boxes: tuple[str, float, float, float, float]):
    """A Detection2DArray of boxes: class, x0, y0, x1, y1."""
    define("vision_msgs/msg/Detection2DArray", STORE)
    vision, point = "vision_msgs/msg/", TYPES["geometry_msgs/msg/Point"](0.0, 0.0, 0.0)
    still = TYPES["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    pose = TYPES["geometry_msgs/msg/PoseWithCovariance"](
        TYPES["geometry_msgs/msg/Pose"](point, still), np.zeros(36)
    )
    made = []
    for name, x0, y0, x1, y1 in boxes:
        known = TYPES[vision + "ObjectHypothesis"](class_id=name, score=1.0)
        centre = TYPES[vision + "Pose2D"](
            position=TYPES[vision + "Point2D"]((x0 + x1) / 2, (y0 + y1) / 2), theta=0.0
        )
        made.append(
            TYPES[vision + "Detection2D"](
                header=header(stamp),
                results=[TYPES[vision + "ObjectHypothesisWithPose"](known, pose)],
                bbox=TYPES[vision + "BoundingBox2D"](center=centre, size_x=x1 - x0, size_y=y1 - y0),
                id="",
            )
        )
    return TYPES[vision + "Detection2DArray"](header=header(stamp), detections=made)


def text(data: str):
    return TYPES["std_msgs/msg/String"](data=data)


def drive(count: int, topic: str = "/image") -> list[tuple[str, object]]:
    """A camera's messages: the scene moves by a pixel from frame to frame."""
    return [
        (topic, raw_image(FIRST_NS + index * STEP_NS, np.roll(SCENE, index, 1))) for index in range(count)
    ]


def write_bag(
    path: Path,
    listed: list[tuple[str, object]],
    plugin=StoragePlugin.MCAP,
    begin_ns: int = FIRST_NS,
    apart_ns: int = 1000,
) -> Path:
    """A bag of messages, received ``apart_ns`` after one another."""
    with Writer(path, version=9, storage_plugin=plugin) as bag:
        connections = {}
        for index, (topic, message) in enumerate(listed):
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = bag.add_connection(topic, kind, typestore=STORE)
            bag.write(connections[topic], begin_ns + index * apart_ns, STORE.serialize_cdr(message, kind))
    return path


def big_bag(path: Path) -> Path:
    """Some megabytes that do not compress, in several chunks."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 96, 128, 3), np.uint8)
    return write_bag(path, [("/image", raw_image(FIRST_NS + i, image)) for i, image in enumerate(noise)])


def read_bag(path: Path) -> list[tuple[str, int, bytes, object]]:
    """Topic, time of reception, serialized and deserialized message of all that is in a bag."""
    with AnyReader([path]) as bag:
        return [(c.topic, t, raw, bag.deserialize(raw, c.msgtype)) for c, t, raw in bag.messages()]


def of(bag: list, topic: str) -> list:
    """The messages of one topic of what :func:`read_bag` has read."""
    return [message for name, _, _, message in bag if name == topic]
