"""Converts images and videos to bags, and bags to videos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from ros2_derain.bags import BagError
from ros2_derain.bags.messages import (
    BAD_MESSAGE,
    COMPRESSED,
    HEADER,
    IMAGE,
    TYPES,
    decode_image,
    reason,
    stamp_ns,
)
from ros2_derain.bags.reader import BagReader
from ros2_derain.data.clips import Video, VideoWriter
from ros2_derain.data.images import UnreadableError, read_image
from ros2_derain.nodes.outputs import CLEAN_IMAGE

INFO = "sensor_msgs/msg/CameraInfo"
FOCAL = 0.9
"""Focal length in image widths (a lens of 58 degrees) where none is given."""
FPS = 10.0

_T = TYPES.types


@dataclass(frozen=True)
class NewCamera:
    """The camera that the images of a new bag are attributed to.

    Attributes:
        topic: of its images, such as ``/camera/image_raw``; ``/compressed`` is added for compressed ones.
        frame_id: of its headers.
        fps: frames per second.
        start_ns: stamp of the first.
        focal: in pixels; None: :data:`FOCAL` of the width.
    """

    topic: str
    frame_id: str
    fps: float
    start_ns: int
    focal: float | None = None

    def stamp_ns(self, index: int) -> int:
        """Stamp of an image by its index."""
        return self.start_ns + round(index * 1e9 / self.fps)


def from_files(
    files: Iterable[Path], camera: NewCamera, compressed: bool, bag: Path, step: Callable[[], None]
) -> tuple[int, list[str]]:
    """Write image files as messages with a ``camera_info`` each.

    Returns:
        number of images, and the errors of the files that cannot be read and are left out.

    Args:
        files: in order.
        camera: that they are attributed to.
        compressed: JPEG and PNG files are copied into the bag byte by byte.
        bag: folder that must not exist.
        step: called after each.
    """

    left_out: list[str] = []

    def messages() -> Iterator[tuple[str, Any, tuple[int, int]]]:
        for index, path in enumerate(files):
            try:
                image, header = read_image(path), _header(camera, index)
            except UnreadableError as error:
                left_out.append(str(error))
                continue
            if compressed:
                yield f"{camera.topic}/compressed", _file(path, header), image.shape[:2]
            else:
                yield camera.topic, _image(image, header), image.shape[:2]
            step()

    count = _write(messages(), camera, bag)
    if not count:
        raise BagError(f"no image can be read; the first: {left_out[0]}")
    return count, left_out


def from_video(video: Video, camera: NewCamera, bag: Path, step: Callable[[], None]) -> int:
    """Write a video's frames as messages with a ``camera_info`` each; returns how many."""

    def messages() -> Iterator[tuple[str, Any, tuple[int, int]]]:
        for index, frame in enumerate(video.frames()):
            yield camera.topic, _image(frame, _header(camera, index)), frame.shape[:2]
            step()

    return _write(messages(), camera, bag)


def to_video(path: Path, topic: str, fps: float | None, target: Path, step: Callable[[], None]) -> str:
    """Write the images of a topic as a video; images that cannot be read are left out.

    Args:
        path: the bag.
        topic: '' for a bag with one camera or with the pipeline's outputs.
        fps: frames per second; None: by the stamps.
        target: .mp4 or .avi.
        step: called after each image.

    Returns:
        a summary in one line.

    Raises:
        BagError: no image can be read, or the topic is ambiguous.
    """
    unread, first_reason = 0, ""
    with BagReader(path, recover=True) as bag:
        topic = topic or _only_topic(bag)
        pace = fps or _pace(bag, topic)
        with VideoWriter(target, pace) as video:
            for message in bag.messages([topic]):
                try:
                    video.write(decode_image(bag.decode(message), message.type))
                except BAD_MESSAGE as error:
                    unread, first_reason = unread + 1, first_reason or reason(error)
                step()
            if not video.count:
                raise BagError(
                    f"{path} has no image on {topic} that can be read: {first_reason or 'it is empty'}"
                )
    left_out = f", {unread} left out: {first_reason}" if unread else ""
    return f"{video.count} frames of {topic} at {pace:.3g} frames per second{left_out}"


def _only_topic(bag: BagReader) -> str:
    names = [topic.name for topic in bag.image_topics()]
    clean = [name for name in names if name.endswith(f"/{CLEAN_IMAGE.name}")]
    for candidates in (clean, names):
        if len(candidates) == 1:
            return candidates[0]
    raise BagError(f"{bag.path} has several image topics: choose with --topic one of {', '.join(names)}")


def _pace(bag: BagReader, topic: str) -> float:
    """Frames per second by the median interval of the stamps."""
    stamps = []
    for message in bag.messages([topic]):
        try:
            stamps.append(stamp_ns(bag.decode(message), message.received_ns))
        except BAD_MESSAGE:
            continue
    intervals = [b - a for a, b in zip(stamps, stamps[1:], strict=False) if b > a]
    return min(1e9 / median(intervals), 240.0) if intervals else FPS


def _write(messages: Iterable[tuple[str, Any, tuple[int, int]]], camera: NewCamera, path: Path) -> int:
    count, connections = 0, {}
    info_topic = f"{camera.topic.rpartition('/')[0]}/camera_info"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        for topic, message, size in messages:
            stamp = message.header.stamp
            time_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
            for name, sent in ((info_topic, _info(camera, message.header, *size)), (topic, message)):
                kind = sent.__msgtype__
                if name not in connections:
                    connections[name] = bag.add_connection(name, kind, typestore=TYPES)
                bag.write(connections[name], time_ns, TYPES.serialize_cdr(sent, kind))
            count += 1
    return count


def _header(camera: NewCamera, index: int):
    seconds, nanoseconds = divmod(camera.stamp_ns(index), 1_000_000_000)
    stamp = _T["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return _T[HEADER](stamp=stamp, frame_id=camera.frame_id)


def _image(image: np.ndarray, header):
    height, width = image.shape[:2]
    data = np.ascontiguousarray(image).reshape(-1)
    return _T[IMAGE](
        header=header, height=height, width=width, encoding="rgb8", is_bigendian=0, step=3 * width, data=data
    )


def _file(path: Path, header):
    kind = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}.get(path.suffix.lower())
    if kind is None:
        raise BagError(f"{path} is neither JPEG nor PNG: leave out --compressed")
    data = np.frombuffer(path.read_bytes(), np.uint8)
    return _T[COMPRESSED](header=header, format=f"rgb8; {kind} compressed bgr8", data=data)


def _info(camera: NewCamera, header, height: int, width: int):
    """Calibration of an ideal camera: square pixels, centred, without distortion."""
    focal = camera.focal or FOCAL * width
    k = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return _T[INFO](
        header=header,
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k.ravel(),
        r=np.eye(3).ravel(),
        p=np.column_stack((k, np.zeros(3))).ravel(),
        binning_x=0,
        binning_y=0,
        roi=_T["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )
