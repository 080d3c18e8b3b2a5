"""Topics: names, types, quality of service; the inputs. What is published: :mod:`.outputs`.

Names are relative, so that a namespace or a remapping gives each camera its own.
Quality of service can be overridden by parameters, for example
``qos_overrides./derain/image.publisher.depth``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image


def newest() -> QoSProfile:
    """For camera images: best effort, and a new one replaces the one that waits."""
    return _keep_last(1, ReliabilityPolicy.BEST_EFFORT)


def best_effort() -> QoSProfile:
    """For what accompanies camera images: best effort, the last five."""
    return _keep_last(5, ReliabilityPolicy.BEST_EFFORT)


def recent() -> QoSProfile:
    """For outputs: reliable, the last five."""
    return _keep_last(5, ReliabilityPolicy.RELIABLE)


def newest_reliable() -> QoSProfile:
    """For requests that the next one makes pointless: reliable, the last one."""
    return _keep_last(1, ReliabilityPolicy.RELIABLE)


def latched() -> QoSProfile:
    """For what a late joiner must know: reliable, the last one is sent to it."""
    return _keep_last(1, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)


def _keep_last(
    depth: int,
    reliability: ReliabilityPolicy,
    durability: DurabilityPolicy = DurabilityPolicy.VOLATILE,
) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=reliability,
        durability=durability,
    )


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

PROPOSAL = Topic("derain/proposal", Image, newest_reliable)
"""Private to the two nodes: an intermediate image for segmentation_node to parse."""

DIAGNOSTICS = Topic("/diagnostics", DiagnosticArray)
