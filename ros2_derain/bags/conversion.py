"""Converts images and videos to bags, and bags to videos."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage

from ros2_derain.bags import BagError
from ros2_derain.bags.messages import BAD_MESSAGE, decode_image, pinhole, reason, stamp_ns
from ros2_derain.bags.reader import BagReader
from ros2_derain.bags.writing import BagWriter
from ros2_derain.data.clips import Video, VideoWriter, frame_rate
from ros2_derain.data.images import UnreadableError, read_image
from ros2_derain.messages import images, to_header
from ros2_derain.messages.topics import Topic
from ros2_derain.nodes.outputs import CLEAN_IMAGE

FPS = 10.0
"""Frames per second of a video where the stamps give none."""

MAX_GAP_S = 60.0
"""A longer gap between stamps, like a step back, is none of the scene: a video shows the frame as usual."""

Frame = tuple[float, np.ndarray, CompressedImage | None]
"""Time since the first [s], pixels, and the message where it is not made of the pixels."""


@dataclass(frozen=True)
class NewCamera:
    """The camera that the images of a new bag are attributed to.

    Attributes:
        topic: of its images, such as ``/camera/image_raw``; ``/compressed`` is added for compressed ones.
        frame_id: of its headers.
        fps: frames per second.
        start_ns: stamp of the first.
        focal: in pixels; None: as for :func:`messages.pinhole`.
    """

    topic: str
    frame_id: str
    fps: float
    start_ns: int
    focal: float | None = None

    def stamp_ns(self, time_s: float) -> int:
        """Stamp of an image by its time since the first."""
        return self.start_ns + round(time_s * 1e9)


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

    Raises:
        BagError: the bag cannot be written, no file can be read, or one to be copied is neither JPEG nor PNG.
    """
    left_out: list[str] = []

    def frames() -> Iterator[Frame]:
        for index, path in enumerate(files):
            try:
                yield index / camera.fps, read_image(path), _file(path) if compressed else None
            except UnreadableError as error:
                left_out.append(str(error))

    count = _write(frames(), camera, bag, step)
    if not count:
        raise BagError(f"no image can be read; the first: {left_out[0]}")
    return count, left_out


def from_video(video: Video, camera: NewCamera, bag: Path, step: Callable[[], None]) -> int:
    """Write a video's frames as messages with a ``camera_info`` each, at their times; returns how many."""
    frames = ((time_s, image, None) for time_s, image in video.frames())
    return _write(frames, camera, bag, step)


def _write(frames: Iterable[Frame], camera: NewCamera, path: Path, step: Callable[[], None]) -> int:
    """Write frames with a ``camera_info`` each; returns how many."""
    count, connections = 0, {}
    info_topic = f"{camera.topic.rpartition('/')[0]}/camera_info"
    with BagWriter(path, compressed=False) as bag:
        for time_s, image, file in frames:
            time_ns = camera.stamp_ns(time_s)
            header = to_header(time_ns, camera.frame_id)
            height, width = image.shape[:2]
            info = pinhole(header, height, width, camera.focal)
            if file is None:
                name, message = camera.topic, images.from_rgb(image, header)
            else:
                name, message = f"{camera.topic}/compressed", file
                message.header = header
            for topic in (Topic(info_topic, CameraInfo), Topic(name, type(message))):
                if topic.name not in connections:
                    connections[topic.name] = bag.add(topic.name, topic)
            bag.write(connections[info_topic], time_ns, serialize_message(info))
            bag.write(connections[name], time_ns, serialize_message(message))
            count += 1
            step()
    return count


def _file(path: Path) -> CompressedImage:
    kind = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}.get(path.suffix.lower())
    if kind is None:
        raise BagError(f"{path} is neither JPEG nor PNG: leave out --compressed")
    return CompressedImage(format=f"rgb8; {kind} compressed bgr8", data=array("B", path.read_bytes()))


def to_video(path: Path, topic: str, fps: float | None, target: Path, step: Callable[[], None]) -> str:
    """Write the images of a topic as a video, at their stamps; images that cannot be read are left out.

    Args:
        path: the bag.
        topic: '' for a bag with one camera or with the pipeline's outputs.
        fps: constant frames per second; None: by the stamps.
        target: .mp4 or .avi.
        step: called after each image.

    Returns:
        a summary: a line, and one for each thing that is missing from the bag.

    Raises:
        BagError: no image can be read, or the topic is ambiguous.
    """
    unread, first_reason = 0, ""
    with BagReader(path) as bag:
        topic = topic or _only_topic(bag)
        pace = fps or _pace(bag, topic)
        time_s, before_ns = 0.0, 0
        with VideoWriter(target, pace) as video:
            for message in bag.messages([topic]):
                try:
                    decoded = bag.decode(message)
                    image = decode_image(decoded, message.type)
                    now_ns = stamp_ns(decoded, message.received_ns)
                    if video.count:
                        gap_s = (now_ns - before_ns) / 1e9
                        time_s += gap_s if 0 < gap_s <= MAX_GAP_S else 1 / pace
                    video.write(image, None if fps else time_s)
                    before_ns = now_ns
                except BAD_MESSAGE as error:
                    unread, first_reason = unread + 1, first_reason or reason(error)
                step()
            if not video.count:
                raise BagError(
                    f"{path} has no image on {topic} that can be read: {first_reason or 'it is empty'}"
                )
    left_out = f", {unread} left out: {first_reason}" if unread else ""
    written = f"{video.count} frames of {topic} at {pace:.3g} frames per second{left_out}"
    return "\n".join([written, *(f"  {cut}" for cut in bag.cuts)])


def _only_topic(bag: BagReader) -> str:
    names = [topic.name for topic in bag.image_topics()]
    clean = [name for name in names if name.endswith(f"/{CLEAN_IMAGE.name}")]
    for candidates in (clean, names):
        if len(candidates) == 1:
            return candidates[0]
    raise BagError(f"{bag.path} has several image topics: choose with --topic one of {', '.join(names)}")


def _pace(bag: BagReader, topic: str) -> float:
    """Frames per second by the intervals of the stamps."""
    stamps = []
    for message in bag.messages([topic]):
        try:
            stamps.append(stamp_ns(bag.decode(message), message.received_ns))
        except BAD_MESSAGE:
            continue
    return frame_rate([stamp / 1e9 for stamp in stamps]) or FPS
