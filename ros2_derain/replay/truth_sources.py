"""Finds the ground truth of a camera's frames, in a topic or in a folder, and matches it with the frames."""

from __future__ import annotations

import struct
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ros2_derain.bags.messages import BAD_MESSAGE, COMPRESSED, IMAGE, decode_image, reason
from ros2_derain.bags.reader import BagReader, Message
from ros2_derain.data.images import (
    check_unique_stems,
    list_files,
    list_images,
    natural_order,
    read_image,
    read_label_map,
)
from ros2_derain.engine import Detection, Frame
from ros2_derain.evaluate.labelled_clip import boxes_by_name
from ros2_derain.evaluate.scores import to_boxes
from ros2_derain.messages import from_detections
from ros2_derain.messages.images import to_mono
from ros2_derain.metrics import Boxes
from ros2_derain.replay import ReplayError

DETECTIONS = "vision_msgs/msg/Detection2DArray"
STAMP_DIGITS = 10
"""A name of this many digits or more is a stamp in ns, a shorter one a name in order."""
AHEAD = 16
"""Messages of a topic that are kept: its stamps need not be in the order of the frames."""


@dataclass(frozen=True)
class Entry:
    """The truth of one frame.

    Attributes:
        name: of its file or message, for people.
        stamp_ns: of its frame; None: only its place in the order says which frame it belongs to.
        read: gives it; raises DataError or ReplayError where that is impossible.
    """

    name: str
    stamp_ns: int | None
    read: Callable[[], Any]


class Entries:
    """The truth of a camera's frames: matched by stamp, or by order where stamps cannot be used.

    Stamps that are 0 or occur more than once cannot.

    Args:
        entries: in order.
        frames: of the camera.
    """

    def __init__(self, entries: Sequence[Entry], frames: int) -> None:
        self._entries, self._frames = entries, frames
        self._uses = Counter(entry.stamp_ns for entry in entries)
        self._by_stamp = {e.stamp_ns: e for e in entries if e.stamp_ns and self._uses[e.stamp_ns] == 1}

    def of(self, frame: Frame, index: int) -> Entry | None:
        """The entry of a frame that is the ``index``-th of its camera; None if there is none.

        Raises:
            ReplayError: only the order could show it, and there are not as many entries as frames.
        """
        if frame.stamp_ns in self._by_stamp:
            return self._by_stamp[frame.stamp_ns]
        if self._by_stamp and frame.stamp_ns and not self._uses[frame.stamp_ns]:
            return None
        if len(self._entries) != self._frames:
            raise ReplayError(
                f"the stamp {frame.stamp_ns} ns does not show which of the {len(self._entries)} belongs to "
                f"the frame, nor does the order of {self._frames} frames: give one for each frame"
            )
        return self._entries[index]


class TopicImages:
    """The images of a topic, read along with the frames, a few of them at a time.

    Args:
        bag: decodes the messages.
        topic: of its images.
    """

    def __init__(self, bag: BagReader, topic: str) -> None:
        self._bag, self._messages = bag, self._read(bag.path, topic)
        self._recent: deque[Message] = deque(maxlen=AHEAD)
        self._count = 0

    def take(self, number: int) -> np.ndarray:
        """An image by its number, H x W x 3 uint8 RGB.

        Raises:
            ReplayError: it cannot be read, or one that is :data:`AHEAD` later was taken already.
        """
        while self._count <= number:
            self._recent.append(next(self._messages))
            self._count += 1
        if self._count - number > len(self._recent):
            raise ReplayError(f"reference image {number} of the topic is far out of the order of the frames")
        message = self._recent[number - self._count]
        try:
            return decode_image(self._bag.decode(message), message.type)
        except BAD_MESSAGE as error:
            raise ReplayError(f"reference image {number} cannot be read: {reason(error)}") from error

    @staticmethod
    def _read(path: Path, topic: str) -> Iterator[Message]:
        with BagReader(path) as bag:
            yield from bag.messages([topic])


def label_maps(bag: BagReader, source: str, frames: int) -> Entries:
    """The label maps that ``--truth`` names."""
    if _is_topic(bag, "--truth", source, IMAGE):
        entries = _of_topic(bag, source, _packed)
    else:
        files = list_files(Path(source), (".png",))
        entries = _of_files({path: partial(read_label_map, path) for path in files}, frames, source)
    if not entries:
        raise ReplayError(f"--truth {source} holds no label map: mono8 images, or PNG files")
    return Entries(entries, frames)


def _packed(message: Any) -> Callable[[], np.ndarray]:
    """What unpacks the labels of a message; packed they take a few kB."""
    labels = to_mono(message)
    packed, shape = zlib.compress(labels.tobytes(), 1), labels.shape
    return lambda: np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape)


def boxes(bag: BagReader, source: str, frames: int, objects: Sequence[str]) -> Entries:
    """The boxes that ``--truth-boxes`` names."""

    def read(message: Any) -> Callable[[], Boxes]:
        found = _true_boxes(from_detections(message), objects, source)
        return lambda: found

    if _is_topic(bag, "--truth-boxes", source, DETECTIONS):
        entries = _of_topic(bag, source, read)
    else:
        listed = {Path(name): boxes for name, boxes in boxes_by_name(Path(source), objects).items()}
        in_order = {path: partial(listed.__getitem__, path) for path in sorted(listed, key=natural_order)}
        entries = _of_files(in_order, frames, source)
    if not entries:
        raise ReplayError(f"--truth-boxes {source} holds no boxes that can be read")
    return Entries(entries, frames)


def _true_boxes(found: Sequence[Detection], objects: Sequence[str], topic: str) -> Boxes:
    known = {name.casefold(): name for name in objects}
    unknown = [box.class_name for box in found if box.class_name.casefold() not in known]
    if unknown:
        raise ReplayError(
            f"{topic}: the model does not detect class {unknown[0]!r}; it detects {', '.join(objects)}"
        )
    named = [replace(box, class_name=known[box.class_name.casefold()]) for box in found]
    return to_boxes(named, objects, scored=False)


def reference_images(bag: BagReader, source: str, frames: int) -> Entries:
    """The images that ``--references`` names."""
    if _is_topic(bag, "--references", source, IMAGE, COMPRESSED):
        images = TopicImages(bag, source)
        messages = enumerate(bag.messages([source]))
        entries = [_entry(message, partial(images.take, number)) for number, message in messages]
    else:
        files = {path: partial(read_image, path) for path in list_images(Path(source))}
        entries = _of_files(files, frames, source)
    return Entries(entries, frames)


def _is_topic(bag: BagReader, option: str, source: str, *types: str) -> bool:
    """Whether an option names a topic of these types, True, or a folder, False.

    Raises:
        ReplayError: it names neither.
    """
    if any(topic.name == source and topic.type in types for topic in bag.topics):
        return True
    if not Path(source).is_dir():
        kind = "an image" if IMAGE in types else f"a {types[0]}"
        raise ReplayError(f"{option} {source} is neither {kind} topic of {bag.path} nor a folder")
    return False


def _of_topic(bag: BagReader, topic: str, decode: Callable[[Any], Callable[[], Any]]) -> list[Entry]:
    """The entries of a topic; nothing where no message can be read."""
    entries, readable = [], False
    for message in bag.messages([topic]):
        try:
            read, readable = decode(bag.decode(message)), True
        except BAD_MESSAGE as error:
            read = partial(_refuse, f"a message of {topic} cannot be read: {reason(error)}")
        entries.append(_entry(message, read))
    return entries if readable else []


def _refuse(why: str) -> None:
    raise ReplayError(why)


def _entry(message: Message, read: Callable[[], Any]) -> Entry:
    try:
        stamp_ns = message.stamp_ns
    except struct.error:
        stamp_ns = 0
    return Entry(f"the truth of {stamp_ns} ns", stamp_ns, read)


def _of_files(files: Mapping[Path, Callable[[], Any]], frames: int, source: str) -> list[Entry]:
    """The entries of files: by their stamps in ns, where all names are stamps; else by their order.

    Args:
        files: in order.
        frames: of the camera.
        source: where they are from, for the message.

    Raises:
        ReplayError: the names are no stamps, and there are not as many as frames.
        DataError: two files have one name but for the suffix.
    """
    check_unique_stems(files)
    stamped = all(path.stem.isdigit() and len(path.stem) >= STAMP_DIGITS for path in files)
    if files and not stamped and len(files) != frames:
        raise ReplayError(
            f"{source} holds {len(files)} images for {frames} frames, so that their order does not show "
            "which is whose: name them by the frames' stamps in ns"
        )
    return [Entry(str(path), int(path.stem) if stamped else None, read) for path, read in files.items()]
