"""What a bag holds for the planner: calibrations, transforms and lidar clouds, and their frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, PointCloud2
from vision_msgs.msg import Detection3DArray

from ros2_derain import messages
from ros2_derain.engine import Scene
from ros2_derain.nodes.frames import Frames, TFMessage
from ros2_derain.nodes.outputs import IN_METRES
from ros2_derain.nodes.parameters import PlannerParameters
from ros2_derain.nodes.planning import Planner, PlannerFrame, Seen

CLOUD, TRUTH, TRANSFORMS = (
    "sensor_msgs/msg/PointCloud2",
    "vision_msgs/msg/Detection3DArray",
    "tf2_msgs/msg/TFMessage",
)
STATIC = "/tf_static"
OUR_ENDINGS = tuple(f"/{topic.name}" for topic in IN_METRES)


class PlannerInputs:
    """The planner of one camera of a bag.

    Args:
        frames: the vehicle's transforms, shared by its cameras.
        values: parameters of planner_node that differ from the defaults.
    """

    def __init__(self, frames: Frames, values: Mapping[str, Any]) -> None:
        self.parameters = PlannerParameters(**values)
        self._frames, self._planner = frames, Planner()
        self._calibrations = messages.Calibrations()
        self._cloud: PointCloud2 | None = None
        self._truth: Detection3DArray | None = None

    def calibrate(self, raw: bytes) -> None:
        """Take a serialized ``camera_info``."""
        self._calibrations.add(deserialize_message(raw, CameraInfo))

    def take(self, raw: bytes, kind: str) -> None:
        """Take a serialized cloud or true boxes."""
        if kind == CLOUD:
            self._cloud = deserialize_message(raw, PointCloud2)
        elif kind == TRUTH:
            self._truth = deserialize_message(raw, Detection3DArray)

    def frame(self, scene: Scene, class_names: Sequence[str]) -> PlannerFrame | None:
        """The scene in metres; None where it was not parsed.

        Raises:
            PlannerError: nothing true can be said; the message says why.
        """
        seen = Seen.of_scene(scene, class_names)
        if seen is None:
            return None
        info, p = self._calibrations.of(seen.header), self.parameters
        near = self._cloud is not None and self._is_near(self._cloud, scene.stamp_ns)
        expects = p.points_source == "lidar" or (p.points_source == "auto" and self._cloud is not None)
        return self._planner.frame(seen, info, self._frames, p, self._cloud if near else None, expects)

    def true_places(self, frame: PlannerFrame) -> np.ndarray:
        """N x 3 true positions of objects in base [m], of the frame's stamp."""
        truth, header = self._truth, frame.seen.header
        if truth is None or messages.stamp_ns(truth.header) != messages.stamp_ns(header):
            return np.empty((0, 3))
        centres = [box.bbox.center.position for box in truth.detections]
        places = np.array([(at.x, at.y, at.z) for at in centres]).reshape(-1, 3)
        if truth.header.frame_id == self.parameters.base_frame:
            return places
        return frame.placed.to_base.apply(places)

    def _is_near(self, cloud: PointCloud2, stamp_ns: int) -> bool:
        offset_ns = abs(messages.stamp_ns(cloud.header) - stamp_ns)
        return offset_ns <= 1e6 * self.parameters.cloud_max_offset_ms


def add_transforms(frames: Frames, raw: bytes, static: bool) -> None:
    """Take a serialized TFMessage, where tf2_msgs is installed."""
    if TFMessage is not None:
        frames.add(deserialize_message(raw, TFMessage), static)
