"""Which ``camera_info`` goes with a frame."""

from __future__ import annotations

from collections import deque

from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

KEPT = 8
"""How many of the latest messages are searched for a frame's stamp."""


class Calibrations:
    """The latest ``camera_info`` messages of one camera."""

    def __init__(self) -> None:
        self._known: deque[CameraInfo] = deque(maxlen=KEPT)

    def __len__(self) -> int:
        return len(self._known)

    def add(self, info: CameraInfo) -> None:
        """Take note of one."""
        self._known.append(info)

    def of(self, header: Header) -> CameraInfo | None:
        """The one of the frame with this header, else the latest; None before the first."""
        known = list(self._known)  # another thread may add one meanwhile
        same = [info for info in known if info.header.stamp == header.stamp]
        return (same or known or [None])[-1]
