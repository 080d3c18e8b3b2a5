"""From the camera's pixels to metres, for planners: cameras, ground, lidar, boxes and tracks.

Functions and records on NumPy arrays; no ROS in here. Frames of reference are ROS's (REP 103, REP 105):

* *camera*: the camera's optical frame, x right, y down, z forward;
* *base*: the vehicle's frame, x forward, y left, z up.
"""

from .boxes3d import PRIORS, BoxSigmas, Lifted, Lifter, SizePrior
from .camera import Calibration, CalibrationError, Camera
from .ground import GroundGrid, on_ground
from .lidar import UNSEEN, Painted, View, paint
from .pose import OPTICAL, PlannerError, Pose, TransformError, TransformTree
from .tracks import Tracker

__all__ = [
    "OPTICAL",
    "PRIORS",
    "UNSEEN",
    "BoxSigmas",
    "Calibration",
    "CalibrationError",
    "Camera",
    "GroundGrid",
    "Painted",
    "View",
    "Lifted",
    "Lifter",
    "PlannerError",
    "Pose",
    "SizePrior",
    "Tracker",
    "TransformError",
    "TransformTree",
    "on_ground",
    "paint",
]
