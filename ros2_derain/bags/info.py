"""What is in a bag, for people."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from ros2_derain.bags.images import BAD_IMAGE, COMPRESSED, IMAGE, decode, why
from ros2_derain.bags.reader import BagReader, Topic, storage_files


def describe(path: Path) -> str:
    """A bag in lines: what it is, its topics, and of image topics the first picture.

    Raises:
        EvaluationError: it cannot be read as a bag.
    """
    with BagReader(path, mend=True) as bag:
        first, last = bag.span_ns
        seconds = (last - first) / 1e9
        count = sum(topic.messages for topic in bag.topics)
        began = datetime.fromtimestamp(first / 1e9, timezone.utc)
        lines = [
            f"{path}: {bag.storage}, {_bytes(path) / 1e6:.1f} MB, {count} messages in {seconds:.1f} s, "
            f"from {began:%Y-%m-%d %H:%M:%S} UTC"
        ]
        width = max((len(topic.name) for topic in bag.topics), default=0)
        for topic in bag.topics:
            pace = f"{(topic.messages - 1) / seconds:6.1f} Hz" if seconds and topic.messages > 1 else 9 * " "
            line = (
                f"  {topic.name:<{width}}  {topic.messages:6}  {pace}  {topic.type}  {_picture(bag, topic)}"
            )
            lines.append(line.rstrip())
        return "\n".join([*lines, *(f"PROBLEM: {cut}" for cut in bag.cuts)])


def _picture(bag: BagReader, topic: Topic) -> str:
    """The first image of a topic in words; '' of other topics."""
    if topic.type not in (IMAGE, COMPRESSED):
        return ""
    for message in bag.messages([topic.name]):
        try:
            image = bag.decode(message)
            height, width = decode(image, message.type).shape[:2]
        except BAD_IMAGE as error:
            return f"not a camera image: {why(error)}"
        return f"{width}x{height} {image.encoding if topic.type == IMAGE else image.format}"
    return ""


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (storage_files(path) if path.is_dir() else [path]))
