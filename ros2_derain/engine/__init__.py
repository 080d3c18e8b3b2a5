"""One camera frame through the closed loop on one device. No ROS in here."""

from ros2_derain.models import ModelError

from .engine import Engine, interpreted, scene_of
from .interpreter import Interpretation, Interpreter
from .loaded_model import LoadedModel, ModelIdentity, Runtime, SharedModel, choose, to_image
from .restorer import PriorSource, Restorer
from .scene import (
    NOT_PARSED,
    UNLABELLED,
    Detection,
    EngineError,
    Frame,
    Mode,
    Perception,
    RainEstimate,
    Restored,
    Scene,
    fingerprint,
    passed_through,
)
from .settings import MAX_ITERATIONS, PRECISIONS, PRIORS, EngineSettings
from .sharing import CpuScheduler, GpuBatcher

__all__ = [
    "MAX_ITERATIONS",
    "NOT_PARSED",
    "PRECISIONS",
    "PRIORS",
    "UNLABELLED",
    "CpuScheduler",
    "Detection",
    "Engine",
    "EngineError",
    "EngineSettings",
    "Frame",
    "GpuBatcher",
    "Interpretation",
    "Interpreter",
    "LoadedModel",
    "Mode",
    "ModelError",
    "ModelIdentity",
    "Perception",
    "PriorSource",
    "RainEstimate",
    "Restored",
    "Restorer",
    "Runtime",
    "Scene",
    "SharedModel",
    "choose",
    "fingerprint",
    "interpreted",
    "passed_through",
    "scene_of",
    "to_image",
]
