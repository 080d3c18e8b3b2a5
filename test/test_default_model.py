"""What the shipped weights must not do, whatever they score."""

import cv2
import numpy as np
import pytest

from ros2_derain import models
from ros2_derain.engine import Engine, EngineSettings, Frame
from ros2_derain.rain import Rain, RainRenderer

STRIDE = 8
"""Of the prior, and of the coarsest layers that write into the image."""


def grid(change: np.ndarray) -> float:
    """Grey levels (root mean square) of the part of a change that repeats every :data:`STRIDE` pixels."""
    height, width = (side // STRIDE for side in change.shape[:2])
    blocks = change.mean(2).reshape(height, STRIDE, width, STRIDE)
    blocks = blocks - blocks.mean((1, 3), keepdims=True)
    return float(np.sqrt(np.square(blocks.mean((0, 2))).mean()))


@pytest.mark.parametrize("iterations", [1, 3])
def test_deraining_leaves_no_grid(iterations):
    """Which PSNR hardly notices, and people do at once."""
    settings = EngineSettings(
        str(models.find("loopnet")), "cpu", runtime="torch", prior="closed_loop", iterations=iterations
    )
    engine = Engine.load(settings)
    for seed in range(3):
        colours = np.random.default_rng(seed).integers(60, 220, (5, 7, 3), np.uint8)
        scene = cv2.resize(colours, (384, 256), interpolation=cv2.INTER_CUBIC)
        rainy = RainRenderer(Rain(100.0), 256, 384, seed=seed).render(scene, 0.0)
        engine.reset()
        found = engine.process(Frame(1, "camera", rainy))
        assert found.iterations == iterations
        assert grid(found.image.astype(float) - rainy) < 1.0
