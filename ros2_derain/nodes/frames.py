"""Where camera and lidar are on the vehicle: from TF, else from parameters.

The newest transforms of ``/tf`` and ``/tf_static`` are read directly: tf2_ros needs a C++ library that is
not on PyPI, while sensors on a vehicle hardly ever move. Wherever tf2_ros is installed, so is tf2_msgs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

from ros2_derain import messages
from ros2_derain.messages.topics import Topic, keep_last
from ros2_derain.nodes.parameters import PlannerParameters
from ros2_derain.planner import OPTICAL, PlannerError, Pose, TransformError, TransformTree

try:
    from tf2_msgs.msg import TFMessage
except ImportError:
    TFMessage = None

if TFMessage is None:
    TF = TF_STATIC = None
else:
    TF = Topic("/tf", TFMessage, partial(keep_last, 100, ReliabilityPolicy.RELIABLE))
    TF_STATIC = Topic(
        "/tf_static",
        TFMessage,
        partial(keep_last, 100, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL),
    )

ASSUMED_HEIGHT_M = 1.5
"""Height of a camera whose height is not known."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Where a sensor is.

    Attributes:
        to_base: from the sensor's frame to base.
        source: a phrase that says where this comes from.
        assumed: it is a guess.
    """

    to_base: Pose
    source: str
    assumed: bool = False


class Frames:
    """The transforms of one vehicle."""

    def __init__(self) -> None:
        self._tree = TransformTree()

    def add(self, message: Any, static: bool) -> str:
        """Take a TFMessage, rclpy's or a bag's; returns why some of it was refused, or ''."""
        refused = ""
        for item in message.transforms:
            moved, turned = item.transform.translation, item.transform.rotation
            try:
                pose = Pose.of_quaternion(
                    (moved.x, moved.y, moved.z), (turned.x, turned.y, turned.z, turned.w)
                )
            except TransformError as error:
                refused = f"{item.header.frame_id} to {item.child_frame_id}: {error}"
                continue
            stamp_ns = None if static else messages.stamp_ns(item.header)
            self._tree.set(item.header.frame_id, item.child_frame_id, pose, stamp_ns)
        return refused

    def camera(self, frame_id: str, stamp_ns: int, parameters: PlannerParameters) -> Placed:
        """Where the camera is.

        Raises:
            PlannerError: its transform is too old for this stamp, or it is not above the ground.
        """
        p = parameters
        placed = self._by_tf(frame_id, stamp_ns, p)
        if placed is None:
            height = p.camera_height or ASSUMED_HEIGHT_M
            angles = map(math.radians, (p.camera_roll_deg, p.camera_pitch_deg, p.camera_yaw_deg))
            body = Pose.of_angles(p.camera_x, p.camera_y, p.ground_z + height, *angles)
            text = f"parameters (camera {height:g} m above the ground, pitch {p.camera_pitch_deg:g} degrees)"
            placed = Placed(body @ OPTICAL, text, assumed=p.camera_height == 0)
        if placed.to_base.translation[2] <= p.ground_z:
            raise PlannerError(
                f"the camera is {p.ground_z - placed.to_base.translation[2]:.2f} m below the ground, by "
                f"{placed.source}: correct ground_z or the transform"
            )
        return placed

    def lidar(self, frame_id: str, stamp_ns: int, parameters: PlannerParameters) -> Placed:
        """Where the lidar is.

        Raises:
            TransformError: its transform is too old for this stamp.
        """
        p = parameters
        placed = self._by_tf(frame_id, stamp_ns, p)
        if placed is not None:
            return placed
        angles = map(math.radians, (p.lidar_roll_deg, p.lidar_pitch_deg, p.lidar_yaw_deg))
        where = (p.lidar_x, p.lidar_y, p.lidar_z)
        text = "parameters (lidar at {:g}, {:g}, {:g} m)".format(*where)
        return Placed(Pose.of_angles(*where, *angles), text)

    def _by_tf(self, frame_id: str, stamp_ns: int, parameters: PlannerParameters) -> Placed | None:
        """None where TF does not connect the frame with base_frame."""
        base = parameters.base_frame
        if not base or not self._tree.connects(base, frame_id):
            return None
        pose = self._tree.lookup(base, frame_id, stamp_ns, parameters.transform_max_age_s)
        return Placed(pose, f"TF ({frame_id} in {base})")
