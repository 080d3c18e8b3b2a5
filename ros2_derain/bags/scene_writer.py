"""Writes scenes into an mcap bag as the pipeline publishes them: same topics, types and headers.

For frames that were processed without a running pipeline; no node is involved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message
from rosbags.interfaces import Connection
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Float32, Header, String

from ros2_derain.bags.writing import BagWriter
from ros2_derain.engine import Mode, ModelIdentity, Scene
from ros2_derain.nodes import images, messages, outputs, overlay
from ros2_derain.nodes.calibrations import Calibrations
from ros2_derain.nodes.parameters import DerainParameters, SegmentationParameters
from ros2_derain.nodes.topics import Topic

COMPACT = (
    outputs.CLEAN_COMPRESSED, outputs.CLEAN_CAMERA_INFO, outputs.RAIN_RATE, outputs.MODE,
    outputs.LABEL_INFO, outputs.DETECTIONS, outputs.VISION_INFO,
)  # fmt: skip
"""Topics that take little space: the clean image as JPEG, no maps."""

Supply = tuple[Topic, Callable[[], Any]]
"""A topic, and what makes its message."""


class SceneBag(BagWriter):
    """A bag of the outputs of some cameras. Use it as a context manager.

    What was written before an error is kept: the bag is complete whenever it is left.

    Args:
        path: folder of the bag, which must not exist.
        kept: which topics are written.

    Raises:
        BagError: the folder exists or cannot be made.
    """

    def __init__(self, path: Path, kept: Collection[Topic] = outputs.OUTPUTS) -> None:
        super().__init__(path)
        self.kept = tuple(kept)

    def camera(self, namespace: str, identity: ModelIdentity) -> CameraScenes:
        """Declare the topics of a camera under a namespace such as ``/front``, or ``''``.

        Raises:
            BagError: the definition of a message is not installed.
        """
        connections = {topic.name: self.add(f"{namespace}/{topic.name}", topic) for topic in self.kept}
        return CameraScenes(self, namespace, identity, connections)


class CameraScenes:
    """The outputs of one camera in a :class:`SceneBag`."""

    def __init__(
        self, bag: SceneBag, namespace: str, identity: ModelIdentity, connections: dict[str, Connection]
    ) -> None:
        self._bag, self._namespace, self._identity = bag, namespace, identity
        self._connections = connections
        self._calibrations = Calibrations()
        self._mode: Mode | None = None

    def calibrate(self, info: bytes) -> None:
        """Note a serialized ``camera_info`` that was received."""
        self._calibrations.add(deserialize_message(info, CameraInfo))

    def write(self, scene: Scene, received_ns: int, confidence_threshold: float) -> None:
        """Write everything that the pipeline publishes for a frame, at the frame's time of reception.

        Raises:
            BagError: it cannot be written, for example to a full disk.
        """
        for topic, make in self._messages(scene, received_ns, confidence_threshold):
            if topic.name in self._connections:
                self._bag.write(self._connections[topic.name], received_ns, serialize_message(make()))

    def _messages(self, scene: Scene, received_ns: int, threshold: float) -> Iterator[Supply]:
        """What the nodes publish, in their order."""
        header = messages.to_header(scene.stamp_ns, scene.frame_id)
        if self._mode is None:
            yield from self._introduction(messages.to_header(received_ns, ""), threshold)
        if scene.mode is not self._mode:
            self._mode = scene.mode
            yield outputs.MODE, lambda: String(data=scene.mode.value)
        yield outputs.CLEAN_IMAGE, lambda: images.from_rgb(scene.image, header)
        yield outputs.TRUST, lambda: images.from_mono(scene.trust, header)
        yield outputs.RAIN_RATE, lambda: Float32(data=scene.rain.rate)
        info = self._calibrations.of(header)
        if info is not None:
            yield outputs.CLEAN_CAMERA_INFO, lambda: messages.to_camera_info(info, header)
        quality = DerainParameters().jpeg_quality
        yield outputs.CLEAN_COMPRESSED, lambda: images.compress_rgb(scene.image, header, quality)
        seen = scene.perception
        if seen is None:
            return
        yield outputs.SEMANTIC_PRIOR, lambda: images.from_channels(scene.prior, header)
        yield outputs.LABEL_MAP, lambda: images.from_mono(seen.labels, header)
        yield outputs.DETECTIONS, lambda: messages.to_detections(seen.detections, header)
        yield outputs.CONFIDENCE, lambda: images.from_mono(seen.confidence, header)
        names, opacity = self._identity.class_names, SegmentationParameters().overlay_opacity
        drawn = partial(overlay.draw, scene.image, seen, names, opacity)
        yield outputs.OVERLAY, lambda: images.from_rgb(drawn(), header)

    def _introduction(self, header: Header, threshold: float) -> Iterator[Supply]:
        """What is published once: the model's identity, and what its label ids mean."""
        database = f"{self._namespace}/{outputs.LABEL_INFO.name}"
        yield outputs.VISION_INFO, lambda: messages.to_vision_info(self._identity, database, header)
        names = self._identity.class_names
        yield outputs.LABEL_INFO, lambda: messages.to_label_info(names, threshold, header)
