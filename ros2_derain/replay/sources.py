"""Which topics of a bag are cameras, and under which names their outputs go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ros2_derain.bags.messages import BAD_MESSAGE, IMAGE, camera_of, cause, decode_image, reason
from ros2_derain.bags.reader import BagReader, Topic
from ros2_derain.errors import EvaluationError
from ros2_derain.nodes import outputs, topics

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
NO_CAMERA = ("encoding", "format", "range")
"""What is wrong with a topic's first image where the topic is no camera: depth, masks, video."""

_OURS = tuple(f"/{topic.name}" for topic in (*outputs.OUTPUTS, topics.PROPOSAL))


@dataclass(frozen=True)
class Source:
    """A camera of a bag.

    Attributes:
        topic, type: of its images.
        messages: how many images.
        namespace: of its outputs: what the image topic stands in, such as ``/front`` for
            ``/front/image_raw`` and ``''`` for ``/image``.
        camera_info: the topic of its calibration; '' if there is none.
    """

    topic: str
    type: str
    messages: int
    namespace: str
    camera_info: str = ""


def find(bag: BagReader, chosen: Sequence[str] = (), truth: str = "") -> tuple[list[Source], list[str]]:
    """The cameras of a bag: the chosen image topics, or all that hold camera images.

    Where a camera has raw images, its ``/compressed`` ones are left aside; so are the
    pipeline's own outputs, depth images and other pictures that no camera takes, and the topic
    ``truth``.

    Returns:
        the cameras by topic, and why topics were left aside, a sentence each.

    Raises:
        EvaluationError: there is no camera, or not each of the chosen.
    """
    found, notes = bag.image_topics(chosen), []
    if not chosen:
        found, notes = _sifted(bag, [topic for topic in found if topic.name != truth])
        if not found:
            raise EvaluationError(f"{bag.path} has no camera images: {'; '.join(notes)}")
    return _named(bag, found), notes


def _sifted(bag: BagReader, found: list[Topic]) -> tuple[list[Topic], list[str]]:
    raw = {topic.name for topic in found if topic.type == IMAGE}
    kept, notes = [], []
    for topic in found:
        if topic.name.endswith(_OURS):
            notes.append(f"{topic.name} is left aside: an output of the pipeline")
        elif topic.name not in raw and camera_of(topic.name) in raw:
            notes.append(f"{topic.name} is left aside: {camera_of(topic.name)} holds the same images")
        elif reason := _no_camera(bag, topic):
            notes.append(f"{topic.name} is left aside: {reason}")
        else:
            kept.append(topic)
    return kept, notes


def _no_camera(bag: BagReader, topic: Topic) -> str:
    """Why the topic's first image is no camera's; '' where it is, or is merely damaged."""
    for message in bag.messages([topic.name]):
        try:
            decode_image(bag.decode(message), message.type)
        except BAD_MESSAGE as error:
            return reason(error) if cause(error) in NO_CAMERA else ""
        return ""
    return "it holds no message"


def _named(bag: BagReader, found: list[Topic]) -> list[Source]:
    """Each under the shortest namespace that no other of them wants too."""
    infos = {topic.name for topic in bag.topics if topic.type == CAMERA_INFO}
    wanted = [(_parent(topic.name), camera_of(topic.name), topic.name) for topic in found]
    rivals = Counter(name for names in wanted for name in set(names))
    sources = []
    for topic, names in zip(found, wanted, strict=True):
        namespace = next((name for name in names if rivals[name] == 1), topic.name)
        info = next((name for name in (f"{name}/camera_info" for name in names) if name in infos), "")
        sources.append(Source(topic.name, topic.type, topic.messages, namespace, info))
    return sources


def _parent(topic: str) -> str:
    return camera_of(topic).rpartition("/")[0]
