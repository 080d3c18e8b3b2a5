"""The engine on pictures: one by one, or as a clip in rendered rain."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from ros2_derain.engine import (
    Engine,
    EngineError,
    EngineSettings,
    Frame,
    RainEstimate,
    Restored,
    Restorer,
    Scene,
)
from ros2_derain.errors import EvaluationError

CAMERA = "camera"


def frame(time_s: float, image: np.ndarray) -> Frame:
    """A camera's frame at a time in seconds."""
    return Frame(round(time_s * 1e9), CAMERA, image)


def restore(engine: Engine, image: np.ndarray, path: Path, time_s: float | None = None) -> Restored:
    """The clean image of a picture; without a time it stands alone and nothing is remembered.

    Raises:
        EvaluationError: the picture is too small, or the engine failed on it.
    """
    if time_s is None:
        engine.reset()
    try:
        restored = engine.restore(frame(time_s or 0.0, image))
    except EngineError as error:
        raise EvaluationError(f"{path}: {error}") from error
    if restored.fault:
        raise EvaluationError(f"the engine failed on {path}: {restored.fault}")
    return restored


def interpret(engine: Engine, restored: Restored, path: Path) -> Scene:
    """Labels and boxes of a restored picture.

    Raises:
        EvaluationError: the parser failed on it.
    """
    scene = engine.interpret(restored)
    if scene.perception is None:
        raise EvaluationError(f"the engine failed on {path}: {scene.fault}")
    return scene


class Gauge:
    """The rain gauge alone: an engine's first half behind a gate that never opens."""

    def __init__(self, settings: EngineSettings) -> None:
        self._restorer = Restorer.load(replace(settings, prior="none", gate=True, gate_open_mm_h=math.inf))

    def read(self, image: np.ndarray) -> RainEstimate:
        """The rain in an H x W x 3 uint8 RGB picture, whatever came before it."""
        self._restorer.reset()
        return self._restorer.restore(frame(0.0, image), _NoExchange()).rain


class _NoExchange:
    """A closed gate asks for no prior."""

    def previous(self, stamp_ns: int) -> None:
        """See :class:`ros2_derain.engine.PriorSource`."""

    def parse(self, frame: Frame, clean: object) -> None:
        """See :class:`ros2_derain.engine.PriorSource`."""
