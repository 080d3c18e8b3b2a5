"""ROS messages from and to arrays and records, and the topics that they come on."""

from ros2_derain import environment

environment.prepare()  # before message packages are loaded

from .records import (  # noqa: E402
    ERROR,
    LEVELS,
    NANOSECONDS,
    OK,
    WARN,
    Calibrations,
    frame_values,
    from_detections,
    set_pose,
    stamp_ns,
    to_calibration,
    to_camera_info,
    to_class_names,
    to_detections,
    to_frame_status,
    to_header,
    to_label_info,
    to_vision_info,
)

__all__ = [
    "ERROR",
    "LEVELS",
    "NANOSECONDS",
    "OK",
    "WARN",
    "Calibrations",
    "frame_values",
    "from_detections",
    "set_pose",
    "stamp_ns",
    "to_calibration",
    "to_camera_info",
    "to_class_names",
    "to_detections",
    "to_frame_status",
    "to_header",
    "to_label_info",
    "to_vision_info",
]
