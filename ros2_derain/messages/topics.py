"""Topics: names, types, quality of service; the inputs. What is published: :mod:`ros2_derain.nodes.outputs`.

Names are relative, so that a namespace or a remapping gives each camera its own.
Quality of service can be overridden by parameters, for example
``qos_overrides./derain/image.publisher.depth``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2


def keep_last(
    depth: int, reliability: ReliabilityPolicy, durability: DurabilityPolicy = DurabilityPolicy.VOLATILE
) -> QoSProfile:
    """A quality of service that keeps the last ``depth`` messages."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability
    )


newest = partial(keep_last, 1, ReliabilityPolicy.BEST_EFFORT)
"""For camera images: a new one replaces the one that waits."""
best_effort = partial(keep_last, 5, ReliabilityPolicy.BEST_EFFORT)
"""For what accompanies camera images."""
recent = partial(keep_last, 5, ReliabilityPolicy.RELIABLE)
"""For outputs."""
newest_reliable = partial(keep_last, 1, ReliabilityPolicy.RELIABLE)
"""For requests that the next one makes pointless."""
latched = partial(keep_last, 1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
"""For what a late joiner must know: the last message is sent to it."""

QOS_OVERRIDES = QoSOverridingOptions(
    (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)
)
"""What ``qos_overrides.<resolved topic>.<publisher or subscription>.<policy>`` may change."""


@dataclass(frozen=True)
class Topic:
    """A topic of the pipeline.

    Attributes:
        name: relative name.
        type: message class.
        qos: makes the publisher's quality of service; for an input, the subscriber's.
    """

    name: str
    type: type
    qos: Callable[[], QoSProfile] = recent


IMAGE = Topic("image", Image, newest)
IMAGE_COMPRESSED = Topic("image/compressed", CompressedImage, newest)
CAMERA_INFO = Topic("camera_info", CameraInfo, best_effort)
CAMERA_INFO_LATCHED = Topic("camera_info", CameraInfo, latched)
"""The same topic for a calibration that is published once; only such a publisher matches."""

POINTS_IN = Topic("points", PointCloud2, best_effort)
"""Of a lidar, for planner_node."""

PROPOSAL = Topic("derain/proposal", Image, newest_reliable)
"""Private to the two nodes: an intermediate image for segmentation_node to parse."""

DIAGNOSTICS = Topic("/diagnostics", DiagnosticArray)
