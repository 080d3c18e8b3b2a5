"""The pipeline's records as ROS messages; images are in :mod:`~ros2_derain.nodes.images`."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from vision_msgs.msg import (
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    VisionClass,
    VisionInfo,
)

from ros2_derain.engine import Detection, ModelIdentity

NANOSECONDS = 1_000_000_000


def stamp_ns(header: Header) -> int:
    """A header's stamp in nanoseconds."""
    return header.stamp.sec * NANOSECONDS + header.stamp.nanosec


def to_header(stamp: int, frame_id: str) -> Header:
    """The header of a frame: its stamp in nanoseconds and its frame_id, untouched."""
    seconds, nanoseconds = divmod(stamp, NANOSECONDS)
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


def to_camera_info(info: CameraInfo, header: Header) -> CameraInfo:
    """The same calibration under the frame's header."""
    copied = copy.copy(info)
    copied.header = header
    return copied


def to_detections(detections: Sequence[Detection], header: Header) -> Detection2DArray:
    """Boxes in pixels of the input image; ``class_id`` is the class's name."""
    return Detection2DArray(header=header, detections=[_to_detection(found, header) for found in detections])


def to_label_info(class_names: Sequence[str], threshold: float, header: Header) -> LabelInfo:
    """What the ids of the label map mean.

    Args:
        class_names: by id.
        threshold: confidence below which a pixel is unlabelled, 0..1.
        header: when it was said.
    """
    classes = [VisionClass(class_id=id_, class_name=name) for id_, name in enumerate(class_names)]
    return LabelInfo(header=header, class_map=classes, threshold=threshold)


def to_class_names(info: LabelInfo) -> tuple[str, ...]:
    """The class names in the order of their ids."""
    return tuple(item.class_name for item in sorted(info.class_map, key=lambda item: item.class_id))


def to_vision_info(identity: ModelIdentity, database: str, header: Header) -> VisionInfo:
    """Which model speaks.

    Args:
        identity: name and sha256 of the model.
        database: where its class names are to be had: the topic of the label info.
        header: when it was said.
    """
    return VisionInfo(
        header=header,
        method=f"{identity.name} sha256:{identity.sha256}",
        database_location=database,
    )


def _to_detection(found: Detection, header: Header) -> Detection2D:
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = found.class_name
    result.hypothesis.score = float(found.score)
    message = Detection2D(header=header, results=[result])
    message.bbox.center.position.x = (found.x0 + found.x1) / 2
    message.bbox.center.position.y = (found.y0 + found.y1) / 2
    message.bbox.size_x = float(found.x1 - found.x0)
    message.bbox.size_y = float(found.y1 - found.y0)
    return message
