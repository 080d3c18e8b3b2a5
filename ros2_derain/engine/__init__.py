"""One camera frame through the closed loop on one device. No ROS in here."""

from ros2_derain.models import ModelError

from .engine import Engine, interpreted, scene_of
from .interpreter import Interpreter
from .loaded_model import LoadedModel, ModelIdentity, SharedModel, choose, load_graph, to_image
from .restorer import PriorSource, Restorer
from .scene import (
    NOT_PARSED,
    REGIONS,
    UNLABELLED,
    Detection,
    EngineError,
    Frame,
    Mode,
    Perception,
    RainEstimate,
    Restored,
    Scene,
    View,
    fingerprint,
    passed_through,
)
from .settings import GATE_MEASURES, MAX_ITERATIONS, PRECISIONS, PRIORS, RUNTIMES, EngineSettings

__all__ = [
    "GATE_MEASURES",
    "MAX_ITERATIONS",
    "NOT_PARSED",
    "PRECISIONS",
    "PRIORS",
    "REGIONS",
    "RUNTIMES",
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
    "View",
    "choose",
    "fingerprint",
    "interpreted",
    "load_graph",
    "passed_through",
    "scene_of",
    "to_image",
]
