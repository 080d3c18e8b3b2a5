"""One camera frame through the closed loop on one device. No ROS in here."""

from ros2_derain.models import ModelError

from .engine import Engine, interpreted, scene_of
from .interpreter import Interpreter
from .loaded_model import LoadedModel, ModelIdentity, SharedModel, choose, load_graph, to_image
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

__all__ = [
    "MAX_ITERATIONS",
    "NOT_PARSED",
    "PRECISIONS",
    "PRIORS",
    "UNLABELLED",
    "Detection",
    "Engine",
    "EngineError",
    "EngineSettings",
    "Frame",
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
    "Scene",
    "SharedModel",
    "choose",
    "fingerprint",
    "interpreted",
    "load_graph",
    "passed_through",
    "scene_of",
    "to_image",
]
