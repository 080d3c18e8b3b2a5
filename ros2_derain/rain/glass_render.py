"""Renders wet glass onto images: spray and film, drops, the wiper's smear and blade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .glass import Glass
from .glass_lens import FIELD_WIDTH, DropLayer
from .glass_water import MAX_SWING, Water, Wiper
from .render import RainError

MAX_DROPS = 8000
CALIBRATION_WIDTH = 160
"""Pixels of the image on which the number of drops is found."""

HAZE = 0.8
"""Share of the contrast that a film of 1 takes where it is thickest."""

SPRAY_AHEAD = (0.38, 0.42, 0.62, 0.68)
"""Left, top, right, bottom, in shares of the image, of the vehicle assumed where no boxes are known."""

SPRAY_SPEED = (0.35, 0.5)
"""Of the turbulence, in image widths and heights per second."""

BLADE_WIDTH = 0.014
"""Half width of the wiper's blade, in image widths."""

BLADE_LIGHT = 400.0
"""Light (0..255^2) of the wiper's blade."""

SMEAR = 0.8
"""Largest share of a pixel that the smear hides."""

SMEAR_S = 0.35
"""Seconds in which the smear behind the wiper dries to a third."""


@dataclass(frozen=True)
class GlassView:
    """An image through wet glass, and what it still shows of the scene.

    Attributes:
        image: H x W x 3 uint8 RGB.
        mask: H x W uint8, how much of each pixel is no longer the scene: 255 all of it. Drops, trails,
            smear and the wiper's blade; not film and spray.
        coverage: share of the pixels whose mask is at least 128 (more than a half hidden).
        contrast_loss: share of the scene's contrast that film and spray take, mean over all pixels, 0..1.
    """

    image: np.ndarray
    mask: np.ndarray
    coverage: float
    contrast_loss: float


class GlassRenderer:
    """Water on the glass before a camera, for images of one size, at any time and in any order of times.

    Args:
        glass: the handles.
        height, width: of the images, in pixels.

    Raises:
        RainError: the size is not of an image.
    """

    def __init__(self, glass: Glass, height: int, width: int):
        if height < 16 or width < 16:
            raise RainError(f"glass for an image of {width} x {height}: at least 16 x 16 pixels are needed")
        self.glass, self.height, self.width = glass, height, width
        self._layer = DropLayer(glass, height, width)
        self._water = Water(glass, height / width, _count(glass, height / width))
        self._haze = _Haze(glass, height, width) if glass.film or glass.spray else None
        self._stroke = _Stroke(glass, self._water.wiper, height, width) if self._water.wiper else None

    def render(
        self,
        image: np.ndarray,
        time_s: float = 0.0,
        boxes: Sequence[Sequence[float]] | np.ndarray | None = None,
    ) -> GlassView:
        """The image through the glass; the same image, time and boxes give the same view.

        Args:
            image: H x W x 3 uint8 RGB.
            time_s: seconds; with a wiper, time 0 is midway between two strokes.
            boxes: N x 4 left, top, right, bottom of vehicles in pixels, behind which spray rises. None: not
                known, one vehicle is assumed ahead.

        Raises:
            RainError: the image has another size or type, or the boxes are not N x 4.
        """
        if image.shape != (self.height, self.width, 3) or image.dtype != np.uint8:
            raise RainError(
                f"image is {image.shape} {image.dtype}, the glass is for "
                f"({self.height}, {self.width}, 3) uint8"
            )
        light = np.square(image, dtype=np.float32)
        contrast_loss = 0.0
        if self._haze:
            contrast_loss = self._haze.add(light, time_s, self._boxes(boxes))
        mask = np.zeros((self.height, self.width), np.float32)
        drops = self._water.at(time_s)
        if drops.x.size:
            shown, mask = self._layer.draw(drops, light)
            light *= _three(1 - mask)
            light += shown
        if self._stroke:
            self._stroke.add(light, mask, time_s)
        hidden = cv2.convertScaleAbs(mask, alpha=255)
        return GlassView(
            image=cv2.convertScaleAbs(cv2.sqrt(light)),
            mask=hidden,
            coverage=np.count_nonzero(hidden >= 128) / hidden.size,
            contrast_loss=contrast_loss,
        )

    def _boxes(self, boxes: Sequence[Sequence[float]] | np.ndarray | None) -> np.ndarray:
        if boxes is None:
            return np.array([SPRAY_AHEAD]) * (self.width, self.height, self.width, self.height)
        found = np.asarray(boxes, np.float64)
        if found.size == 0:
            return np.zeros((0, 4))
        if found.ndim != 2 or found.shape[1] != 4 or not np.isfinite(found).all():
            raise RainError(f"boxes are {found.shape}, expected N x 4: left, top, right, bottom in pixels")
        return found


class _Haze:
    """Film and spray: light of the surroundings, scattered into every pixel."""

    def __init__(self, glass: Glass, height: int, width: int):
        self.glass, self.height, self.width = glass, height, width
        self._clouds = _clouds(glass.seed, height, width)
        self._through_film = 1 - HAZE * glass.film * (0.75 + 0.25 * self._clouds)

    def add(self, light: np.ndarray, time_s: float, boxes: np.ndarray) -> float:
        """Veil the H x W x 3 light in place; returns the mean loss of contrast."""
        contrast = self._through_film
        if self.glass.spray:
            contrast = contrast * (1 - self.glass.spray * self._spray(time_s, boxes))
        small = cv2.resize(light, (16, max(4, 16 * self.height // self.width)), interpolation=cv2.INTER_AREA)
        sky = small[: max(1, len(small) // 3)].mean(axis=(0, 1))
        scattered = 0.45 * cv2.GaussianBlur(small, (0, 0), 2.5) + 0.55 * (0.6 * sky + 0.4 * sky.mean())
        veil = cv2.resize(scattered, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        light -= veil
        light *= _three(contrast)
        light += veil
        return float(1 - contrast.mean())

    def _spray(self, time_s: float, boxes: np.ndarray) -> np.ndarray:
        """H x W float32 0..1: density of the spray, densest at the bottom of each box."""
        clear = np.ones((self.height, self.width), np.float32)
        rows, columns = np.arange(self.height) + 0.5, np.arange(self.width) + 0.5
        for left, top, right, bottom in boxes:
            across = (columns - (left + right) / 2) / max(0.75 * (right - left), 1)
            up = (bottom - rows) / max(bottom - top, 1) - 0.15
            rise = 0.9 * np.exp(-0.5 * (up / np.where(up > 0, 0.55, 0.25)) ** 2)
            clear *= 1 - np.outer(rise, np.exp(-0.5 * across**2)).astype(np.float32)
        left, up = (
            int(time_s * speed) for speed in (SPRAY_SPEED[0] * self.width, SPRAY_SPEED[1] * self.height)
        )
        turbulence = np.roll(self._clouds, (-up % self.height, -left % self.width), axis=(0, 1))
        return (1 - clear) * (0.5 + 0.5 * turbulence)


class _Stroke:
    """The wiper's blade, and the smear that it leaves."""

    def __init__(self, glass: Glass, wiper: Wiper, height: int, width: int):
        self.glass, self.wiper = glass, wiper
        rows, columns = np.mgrid[:height, :width]
        swing, self._distance = wiper.polar((columns + 0.5) / width, (rows + 0.5) / width)
        self._swing = swing.astype(np.float32)
        edge = np.clip((wiper.outer - self._distance) * 25, 0, 1) * wiper.reaches(swing, self._distance)
        self._reached = edge.astype(np.float32)
        grooves = np.random.default_rng((glass.seed, 3)).random(400) ** 2
        grooves = cv2.GaussianBlur(grooves[None], (0, 0), 0.8 + glass.focus / 3)[0]
        streaks = np.interp(self._distance, np.linspace(0, 2, grooves.size), grooves)
        self._smear = (SMEAR * glass.smear * streaks).astype(np.float32) * self._reached
        self._soft = 2 * glass.focus / FIELD_WIDTH + 1 / width

    def add(self, light: np.ndarray, mask: np.ndarray, time_s: float) -> None:
        """Smear and blade over H x W x 3 light and the mask, in place."""
        height, width = mask.shape
        since = self.wiper.last(self._swing, time_s)[1] if self.glass.smear else np.inf
        smeared = self._smear * np.exp(-since / SMEAR_S, dtype=np.float32)
        if smeared.max() > 1 / 255:
            small = cv2.resize(light, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
            blurred = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
            _cover(light, mask, blurred, smeared)
        blade = self.wiper.blade(time_s)
        if blade is not None:
            beside = np.abs(self._swing - blade) * (2 * MAX_SWING) * self._distance
            hidden = np.clip((BLADE_WIDTH - beside) / self._soft + 0.5, 0, 1) * self._reached
            hidden *= min(1.0, 2 * BLADE_WIDTH / self._soft)
            _cover(light, mask, BLADE_LIGHT, hidden.astype(np.float32))


def _cover(light: np.ndarray, mask: np.ndarray, shown: np.ndarray | float, opacity: np.ndarray) -> None:
    """Put something over H x W x 3 light and the mask, in place."""
    light += (shown - light) * _three(opacity)
    mask += (1 - mask) * opacity


def _three(plane: np.ndarray) -> np.ndarray:
    """A plane three times, H x W x 3: faster than broadcasting."""
    return cv2.merge((plane, plane, plane))


def _clouds(seed: int, height: int, width: int) -> np.ndarray:
    """H x W float32 smooth noise 0..1 in three octaves, periodic."""
    random = np.random.default_rng((seed, 2))
    total = np.zeros((height, width), np.float32)
    for columns in (4, 8, 16):
        cells = random.random((max(2, columns * height // width), columns)).astype(np.float32)
        nine = cv2.resize(np.tile(cells, (3, 3)), (3 * width, 3 * height), interpolation=cv2.INTER_CUBIC)
        total += 4 / columns * nine[height : 2 * height, width : 2 * width]
    return np.clip(total / 1.75, 0, 1)


def _count(glass: Glass, aspect: float) -> int:
    """Number of drops that makes the mean coverage, found on a small image.

    Drops that lie at random hide ``1 - exp(-k N)`` of the image; k follows from N and what they hide.
    """
    if not glass.coverage:
        return 0
    layer = DropLayer(glass, max(16, round(CALIBRATION_WIDTH * aspect)), CALIBRATION_WIDTH)
    times = np.array([-0.375, 0.875, 0.125, 1.375]) * glass.wiper if glass.wiper else np.array([0.0, 50.0])
    required = -np.log1p(-glass.coverage)
    count = required * aspect / (np.pi / 4 * glass.size**2 * np.exp(2 * glass.spread**2))
    for _ in range(4):
        count = min(max(count, 1.0), MAX_DROPS)
        water = Water(glass, aspect, round(count))
        covered = np.mean([np.mean(layer.opacity(water.at(time)) >= 0.5) for time in times])
        count *= np.clip(required / -np.log1p(-np.clip(covered, 1e-4, 0.99)), 0.25, 4)
    return round(float(min(max(count, 1.0), MAX_DROPS)))
