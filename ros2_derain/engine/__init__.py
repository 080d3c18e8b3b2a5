"""One camera frame through the closed loop on one device. No ROS in here."""

from ros2_derain.models import ModelError

from .data import (
    UNLABELLED,
    Detection,
    EngineError,
    Frame,
    Mode,
    Perception,
    RainEstimate,
    Scene,
    fingerprint,
)
from .device import Runtime, choose, to_image
from .engine import UNPARSED, Engine, LocalExchange
from .interpreter import Interpretation, Interpreter
from .restorer import ModelIdentity, PriorExchange, Restored, Restorer
from .settings import MAX_ITERATIONS, PRECISIONS, PRIORS, EngineSettings

__all__ = [
    "MAX_ITERATIONS",
    "PRECISIONS",
    "PRIORS",
    "UNLABELLED",
    "UNPARSED",
    "Detection",
    "Engine",
    "EngineError",
    "EngineSettings",
    "Frame",
    "Interpretation",
    "Interpreter",
    "LocalExchange",
    "Mode",
    "ModelError",
    "ModelIdentity",
    "Perception",
    "PriorExchange",
    "RainEstimate",
    "Restored",
    "Restorer",
    "Runtime",
    "Scene",
    "choose",
    "fingerprint",
    "to_image",
]
