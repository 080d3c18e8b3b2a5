"""One camera frame through the closed loop on one device. No ROS in here."""

from ros2_derain.models import ModelError

from .cpu_scheduler import Seats
from .device import Runtime, choose, to_image
from .engine import UNPARSED, Engine, LocalExchange
from .gpu_batcher import Rounds
from .interpreter import Interpretation, Interpreter
from .loaded_model import LoadedModel, ModelIdentity, Turns
from .restorer import PriorExchange, Restored, Restorer, passed_through
from .scene import (
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
    "LoadedModel",
    "LocalExchange",
    "Mode",
    "ModelError",
    "ModelIdentity",
    "Perception",
    "PriorExchange",
    "RainEstimate",
    "Restored",
    "Restorer",
    "Rounds",
    "Runtime",
    "Scene",
    "Seats",
    "Turns",
    "choose",
    "fingerprint",
    "passed_through",
    "to_image",
]
