"""Writes scenes into an mcap bag as the pipeline publishes them: same topics, types and headers.

For frames that were processed without a running pipeline; no node is involved.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message
from rosbags.interfaces import Connection
from sensor_msgs.msg import CameraInfo

from ros2_derain import messages
from ros2_derain.bags.writing import BagWriter
from ros2_derain.engine import Mode, ModelIdentity, Scene
from ros2_derain.messages.topics import Topic
from ros2_derain.nodes import outputs
from ros2_derain.nodes.outputs import Context, Output
from ros2_derain.nodes.planning import PlannerFrame

EVERY: tuple[outputs.AnyOutput, ...] = (*outputs.OUTPUTS, *outputs.IN_METRES)
COMPACT = tuple(output for output in EVERY if output.compact)
"""Outputs that take little space: the clean image as JPEG, no maps."""


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

    def camera(self, namespace: str, identity: ModelIdentity, in_metres: bool = False) -> CameraScenes:
        """Declare the topics of a camera under a namespace such as ``/front``, or ``''``.

        Args:
            namespace: of the topics.
            identity: of the model.
            in_metres: also the topics of planner_node.

        Raises:
            BagError: the definition of a message is not installed.
        """
        kept = [topic for topic in self.kept if in_metres or topic not in outputs.IN_METRES]
        connections = {topic.name: self.add(f"{namespace}/{topic.name}", topic) for topic in kept}
        return CameraScenes(self, namespace, identity, connections)


class CameraScenes:
    """The outputs of one camera in a :class:`SceneBag`."""

    def __init__(
        self, bag: SceneBag, namespace: str, identity: ModelIdentity, connections: dict[str, Connection]
    ) -> None:
        self._bag, self._namespace, self._identity = bag, namespace, identity
        self._connections = connections
        self._calibrations = messages.Calibrations()
        self._mode: Mode | None = None

    def calibrate(self, info: bytes) -> None:
        """Note a serialized ``camera_info`` that was received."""
        self._calibrations.add(deserialize_message(info, CameraInfo))

    def write(
        self,
        scene: Scene,
        received_ns: int,
        confidence_threshold: float,
        metres: PlannerFrame | None = None,
    ) -> None:
        """Write everything that the pipeline publishes for a frame, at the frame's time of reception.

        Raises:
            BagError: it cannot be written, for example to a full disk.
        """
        header = messages.to_header(scene.stamp_ns, scene.frame_id)
        context = Context(
            header,
            self._identity,
            camera_info=self._calibrations.of(header),
            confidence_threshold=confidence_threshold,
            label_info_topic=f"{self._namespace}/{outputs.LABEL_INFO.name}",
        )
        if self._mode is None:
            on_start = replace(context, header=messages.to_header(received_ns, ""))
            for latched in outputs.ON_START:
                if latched.name in self._connections:
                    self._write(latched, received_ns, latched.make(on_start))
        for mode in (scene.derain_mode, scene.mode):
            if mode is not self._mode:
                self._mode = mode
                changed = replace(scene, mode=mode)
                self._write_scene(outputs.MODE, received_ns, changed, context)
        for output in outputs.PER_FRAME:
            self._write_scene(output, received_ns, scene, context)
        if metres is not None:
            self._write_in_metres(metres, received_ns)

    def _write_in_metres(self, metres: PlannerFrame, received_ns: int) -> None:
        for topic in outputs.IN_METRES:
            if topic.name in self._connections:
                message = topic.make(metres)
                if message is not None:
                    self._write(topic, received_ns, message)

    def _write_scene(self, output: Output, received_ns: int, scene: Scene, context: Context) -> None:
        """Write a frame on an output, if it is recorded and has a message."""
        if output.name in self._connections:
            message = output.make(scene, context)
            if message is not None:
                self._write(output, received_ns, message)

    def _write(self, output: Topic, received_ns: int, message: Any) -> None:
        self._bag.write(self._connections[output.name], received_ns, serialize_message(message))
