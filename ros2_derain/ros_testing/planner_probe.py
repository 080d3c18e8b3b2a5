"""A :class:`~ros2_derain.ros_testing.probe.Probe` that also sends what planner_node needs, and hears it."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo

from ros2_derain import messages
from ros2_derain.messages import point_clouds, topics
from ros2_derain.nodes import outputs, runtime
from ros2_derain.nodes.frames import TFMessage
from ros2_derain.ros_testing.probe import Probe

FOCAL = 0.9
"""Focal length in image widths."""


class PlannerProbe(Probe):
    """Adds calibration, transforms and clouds to a camera. Use it as a context manager."""

    def __init__(self, namespace: str = "") -> None:
        super().__init__(namespace)
        make = self._node.create_publisher
        quiet = PublisherEventCallbacks(use_default_callbacks=False)  # planner_node asks for latched ones too
        self._info = make(CameraInfo, topics.CAMERA_INFO.name, topics.recent(), event_callbacks=quiet)
        self._points: Publisher = make(topics.POINTS_IN.type, topics.POINTS_IN.name, topics.recent())
        self._transforms = make(TFMessage, "/tf", topics.recent()) if TFMessage else None
        for topic in (outputs.POINTS, outputs.DETECTIONS_3D):
            callback = runtime.with_info(self._on_output(topic))
            self._node.create_subscription(topic.type, topic.name, callback, topic.qos())

    def connected(self) -> bool:
        """Also whether planner_node has subscribed to the calibration and publishes points."""
        heard = self._info.get_subscription_count() and self.publishers(outputs.POINTS)
        return super().connected() and bool(heard)

    def calibrate(self, width: int, height: int) -> None:
        """Send a calibration of images of this size."""
        focal = FOCAL * width
        k = [focal, 0.0, (width - 1) / 2, 0.0, focal, (height - 1) / 2, 0.0, 0.0, 1.0]
        self._info.publish(CameraInfo(width=width, height=height, k=k))

    def send_cloud(self, points: np.ndarray, stamp_ns: int) -> None:
        """Send N x 3 points in the vehicle's frame."""
        made = np.zeros(len(points), [("x", "<f4"), ("y", "<f4"), ("z", "<f4")])
        for axis, name in enumerate("xyz"):
            made[name] = points[:, axis]
        self._points.publish(point_clouds.to_cloud(made, messages.to_header(stamp_ns, "lidar")))

    def send_transform(self, frame_id: str, stamp_ns: int) -> bool:
        """Send where a camera is, 1.5 m above the vehicle's frame; False where tf2_msgs is not installed."""
        if self._transforms is None:
            return False
        sent = TransformStamped(header=messages.to_header(stamp_ns, "base_link"), child_frame_id=frame_id)
        sent.transform.translation.z = 1.5
        turned = sent.transform.rotation
        turned.x, turned.y, turned.z, turned.w = -0.5, 0.5, -0.5, 0.5
        self._transforms.publish(TFMessage(transforms=[sent]))
        return True
