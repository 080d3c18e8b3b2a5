"""What a model costs: parameters, multiply-accumulates, and milliseconds of a frame on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ros2_derain import machine, models, networks, provenance, resources
from ros2_derain.bench import engine_timing
from ros2_derain.data.clips import Clip
from ros2_derain.engine import Engine, EngineSettings
from ros2_derain.evaluate.result_cache import Journal
from ros2_derain.model_tools import sizes
from ros2_derain.rain_media.rendering import RainOverlay

RATE_MM_H = 150.0
PICTURES = 4
WARM = 2
LEAST, MOST, SECONDS = 3, 20, 15.0
"""Frames that are timed: as many as these seconds have, but no fewer and no more."""


@dataclass(frozen=True)
class Cost:
    """A model that is to be timed on the sample clip in rain.

    Attributes:
        card: its own.
        engine: with the gate off: every frame is derained.
        size: width and height of the frames in pixels.
        head: what the figures are taken of, with and on.
    """

    card: models.ModelCard
    engine: Engine
    size: tuple[int, int]
    head: dict

    @classmethod
    def open(cls, card: models.ModelCard, settings: EngineSettings, size: tuple[int, int]) -> Cost:
        """Load the model that the settings name; raises as :meth:`Engine.load`."""
        engine = Engine.load(settings)
        used = {"size": list(size), "prior": settings.prior, "iterations": settings.iterations}
        head = provenance.describe("compare", {}, used | {"machine": machine.describe()}, engine.identity)
        return cls(card, engine, size, head)

    def measured(self, journal: Journal) -> dict:
        """Million parameters and GMAC of the derainer, and the times of the engine; JSON-ready.

        GMAC is that of one pass, and of a refinement where the network has one.
        """
        width, height = self.size
        described = self.card.networks["derainer"]
        with torch.device("meta"):
            derainer = networks.create(described["network"], **described.get("options", {})).eval()
        self.engine.warm_up(height, width)
        return {
            **self.head,
            "parameters_m": sum(p.numel() for p in derainer.parameters()) / 1e6,
            "gmac": sizes.gmac(derainer, (height, width)),
            "engine": engine_timing.timed(self.engine, self._pictures(), WARM, _frames),
        }

    def _pictures(self) -> Sequence[np.ndarray]:
        clip, overlay = (
            Clip.open(resources.path("samples/highway"), self.size),
            RainOverlay.of_rate(RATE_MM_H),
        )
        return [overlay.render(clip.read(index), index / clip.fps) for index in range(PICTURES)]


def _frames(fps: float) -> int:
    return min(MOST, max(LEAST, round(SECONDS * fps)))
