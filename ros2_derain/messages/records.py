"""The pipeline's records as ROS messages; images are in :mod:`.images`, clouds in :mod:`.point_clouds`."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Pose
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

from ros2_derain import planner
from ros2_derain.engine import Detection, Mode, ModelIdentity
from ros2_derain.planner import Calibration

NANOSECONDS = 1_000_000_000

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
LEVELS = {
    Mode.LOOP: OK,
    Mode.DRY: OK,
    Mode.ONE_ITERATION: WARN,
    Mode.DERAIN_ONLY: WARN,
    Mode.PASS_THROUGH: ERROR,
}
"""How degraded a frame is in each mode."""


def stamp_ns(header: Header) -> int:
    """A header's stamp in nanoseconds."""
    return header.stamp.sec * NANOSECONDS + header.stamp.nanosec


def to_header(stamp: int, frame_id: str) -> Header:
    """The header of a frame: its stamp in nanoseconds and its frame_id, untouched."""
    seconds, nanoseconds = divmod(stamp, NANOSECONDS)
    return Header(stamp=Time(sec=seconds, nanosec=nanoseconds), frame_id=frame_id)


class Calibrations:
    """The latest ``camera_info`` messages of one camera."""

    KEPT = 8

    def __init__(self) -> None:
        self._known: deque[CameraInfo] = deque(maxlen=self.KEPT)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, info: CameraInfo) -> None:
        """Add a message."""
        self._known.append(info)

    def size(self) -> str:
        """Width and height of the latest, such as ``1280x720``; '' before the first."""
        return f"{self._known[-1].width}x{self._known[-1].height}" if self._known else ""

    def mismatch(self, size: tuple[int, int]) -> str:
        """How the latest calibration does not fit images of this height and width; or ''."""
        known = list(self._known)
        if not known or not known[-1].width:
            return ""
        info = known[-1]
        width = (info.roi.width or info.width) // max(1, info.binning_x)
        height = (info.roi.height or info.height) // max(1, info.binning_y)
        if (height, width) == size:
            return ""
        return f"camera_info is of {width}x{height} pixels, the images are of {size[1]}x{size[0]}"

    def of(self, header: Header) -> CameraInfo | None:
        """The one with the stamp of this header, else the latest; None before the first."""
        known = list(self._known)  # another thread may add one meanwhile
        same = [info for info in known if info.header.stamp == header.stamp]
        return (same or known or [None])[-1]


def to_calibration(info: CameraInfo, rectified: bool = False) -> Calibration:
    """A calibration without ROS; of the rectified image (P, no distortion) or of the raw one (K and D)."""
    roi = info.roi
    p = info.p
    k = (p[0], p[1], p[2], p[4], p[5], p[6], p[8], p[9], p[10]) if rectified else info.k
    return Calibration(
        info.width,
        info.height,
        "" if rectified else info.distortion_model,
        tuple(map(float, k)),
        () if rectified else tuple(map(float, info.d)),
        (info.binning_x, info.binning_y),
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def set_pose(message: Pose, frame: planner.Pose, position: np.ndarray) -> None:
    """Fill a pose: a position in a frame, and that frame's own axes, both taken to another by ``frame``."""
    placed = frame.apply(position)
    message.position.x, message.position.y, message.position.z = map(float, placed)
    turned = message.orientation
    turned.x, turned.y, turned.z, turned.w = frame.quaternion


def to_camera_info(info: CameraInfo, header: Header) -> CameraInfo:
    """The same calibration under the frame's header."""
    copied = copy.copy(info)
    copied.header = header
    return copied


def to_detections(detections: Sequence[Detection], header: Header) -> Detection2DArray:
    """Boxes in pixels of the input image; ``class_id`` is the class's name, ``id`` that of the track."""
    return Detection2DArray(header=header, detections=[_to_detection(found, header) for found in detections])


def from_detections(message: Any) -> tuple[Detection, ...]:
    """The boxes of a ``vision_msgs/Detection2DArray``, rclpy's or a bag's, each of its best class.

    Raises:
        IndexError: one has no class.
    """
    return tuple(map(_from_detection, message.detections))


def to_label_info(class_names: Sequence[str], threshold: float, header: Header) -> LabelInfo:
    """What the ids of the label map mean.

    Args:
        class_names: by id.
        threshold: confidence below which a pixel is unlabelled, 0..1.
        header: of the present moment.
    """
    classes = [VisionClass(class_id=id_, class_name=name) for id_, name in enumerate(class_names)]
    return LabelInfo(header=header, class_map=classes, threshold=threshold)


def to_class_names(info: LabelInfo) -> tuple[str, ...]:
    """The class names in the order of their ids."""
    return tuple(item.class_name for item in sorted(info.class_map, key=lambda item: item.class_id))


def to_vision_info(identity: ModelIdentity, database: str, header: Header) -> VisionInfo:
    """Which model runs.

    Args:
        identity: name, sha256 and runtime of the model.
        database: where its class names are found: the topic of the label info.
        header: of the present moment.
    """
    return VisionInfo(
        header=header,
        method=f"{identity.name} sha256:{identity.sha256} runtime:{identity.runtime}",
        database_location=database,
    )


def to_frame_status(
    node: str, header: Header, level: bytes, text: str, values: Mapping[str, str]
) -> DiagnosticArray:
    """What a node did with one frame, as one status under the frame's header."""
    status = DiagnosticStatus(
        level=level,
        name=f"{node}: frame",
        message=text,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    return DiagnosticArray(header=header, status=[status])


def frame_values(message: DiagnosticArray) -> dict[str, str]:
    """The keys and values of a frame's status."""
    return {pair.key: pair.value for status in message.status for pair in status.values}


def _from_detection(box: Any) -> Detection:
    x, y, best = box.bbox.center.position.x, box.bbox.center.position.y, box.results[0].hypothesis
    half_width, half_height = box.bbox.size_x / 2, box.bbox.size_y / 2
    corners = (x - half_width, y - half_height, x + half_width, y + half_height)
    return Detection(best.class_id, best.score, *corners, id=getattr(box, "id", ""))


def _to_detection(found: Detection, header: Header) -> Detection2D:
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = found.class_name
    result.hypothesis.score = float(found.score)
    message = Detection2D(header=header, results=[result], id=found.id)
    message.bbox.center.position.x = (found.x0 + found.x1) / 2
    message.bbox.center.position.y = (found.y0 + found.y1) / 2
    message.bbox.size_x = float(found.x1 - found.x0)
    message.bbox.size_y = float(found.y1 - found.y0)
    return message
