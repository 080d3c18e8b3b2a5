"""One rain for many pictures: of any size, of several cameras, at any time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ros2_derain.rain import Rain, RainRenderer

CAMERA_SEEDS = 1000
"""Distance between the seeds of two cameras, so that each sees drops of its own."""


@dataclass(frozen=True)
class Shower:
    """A rain with a name and a seed.

    Attributes:
        label: what tells it from others that fall on the same pictures: a folder's name.
        rain: how it rains.
        seed: of the first camera's rain.
    """

    label: str
    rain: Rain
    seed: int = 0
    _renderers: dict = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of_rate(cls, rate: float, seed: int = 0) -> Shower:
        """Natural rain of a rate in mm/h."""
        return cls(f"{rate:g}", Rain(rate), seed)

    @property
    def caption(self) -> str:
        """For people, under a picture."""
        rate = f"{self.rain.rate:g} mm/h"
        return rate if self.label == f"{self.rain.rate:g}" else f"{self.label.split('_')[0]}, {rate}"

    def over(self, picture: np.ndarray, time_s: float = 0.0, camera: int = 0) -> np.ndarray:
        """The H x W x 3 uint8 RGB picture with the rain of that time; a new one."""
        return self._renderer(picture, camera).render(picture, time_s)

    def streaks(self, picture: np.ndarray, time_s: float = 0.0) -> np.ndarray:
        """H x W uint8 brightness of the streaks that :meth:`over` puts onto the picture."""
        return np.round(255 * self._renderer(picture, 0).streaks(time_s)).astype(np.uint8)

    def camera_seed(self, camera: int) -> int:
        """Seed of a camera's rain, by its number."""
        return self.seed + CAMERA_SEEDS * camera

    def _renderer(self, picture: np.ndarray, camera: int) -> RainRenderer:
        key = (*picture.shape[:2], camera)
        if key not in self._renderers:
            self._renderers[key] = RainRenderer(self.rain, *picture.shape[:2], seed=self.camera_seed(camera))
        return self._renderers[key]
