"""Calibrated cameras on a car, for tests."""

import math

from ros2_derain.planner import OPTICAL, Calibration, Pose

K = (1000.0, 0.0, 640.0, 0.0, 1010.0, 360.0, 0.0, 0.0, 1.0)
MODELS = {
    "plumb_bob": (-0.30, 0.09, 0.0005, -0.0003, -0.01),
    "rational_polynomial": (0.5, -0.1, 0.0002, 0.0001, 0.02, 0.85, -0.05, 0.04),
    "equidistant": (0.05, -0.02, 0.004, -0.001),
}
"""Distortion coefficients of a wide lens, by model."""


def calibration(model="plumb_bob", **changed):
    """A calibration of 1280 x 720."""
    return Calibration(
        **{"width": 1280, "height": 720, "model": model, "k": K, "d": MODELS[model], **changed}
    )


def mounted(height=1.5, pitch_deg=0.0, roll_deg=0.0, x=0.0, y=0.0):
    """From the camera to base."""
    roll, pitch = math.radians(roll_deg), math.radians(pitch_deg)
    return Pose.of_angles(x, y, height, roll, pitch) @ OPTICAL
