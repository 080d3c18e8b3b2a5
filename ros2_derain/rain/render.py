"""Rain on a clean image or clip: physics of the drops, streaks of several distances, motion and veil.

Sources of the physics: Marshall & Palmer 1948 (drop sizes), Atlas, Srivastava & Sekhon 1973
(terminal velocity), Weber et al. as used by Tremblay et al. 2021 (extinction).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

MAX_RATE = 250.0
"""mm/h; beyond a tropical cloudburst the size distribution is not known."""

INTERCEPT = 8000.0
"""N0 of the Marshall-Palmer distribution in drops per m3 and mm."""

BLENDINGS = ("screen", "additive")
DISTANCES_M = (0.8, 1.5, 2.8, 5.0)
"""Distances of the streak layers; anything farther is veil."""

MAX_ANGLE = 75.0
"""Degrees from the vertical that drops may fall in."""

MAX_LAYERS = 16
"""Streak layers of one rain; the seeds of the next rain begin behind them."""

MAX_PER_MEGAPIXEL = 9000.0
"""Streaks in a million pixels: more cannot be distinguished."""

MAX_LENGTH = 160.0
"""Pixels; a longer streak would overlap itself in its tile."""

REFERENCE_FOCAL = 0.9
"""Focal length in image widths (a 58 degree lens)."""

FARTHEST_M = 80.0
"""Depth of everything above the horizon in the depth proxy."""

VISIBLE_MM = 1.5
"""Drops below this diameter leave no streak of their own."""

TILE = 512
"""Side in pixels of a periodic tile of streaks, made once and cropped many times."""


class RainError(ValueError):
    """A rain parameter is out of range; the message names it."""


@dataclass(frozen=True)
class Rain:
    """Rain and the camera's view of it.

    Attributes:
        rate: mm/h, 0..250.
        wind: horizontal speed across the image in m/s, positive to the right.
        exposure: shutter time in seconds: the length of the streaks.
        visibility: factor on the streaks' brightness. 1 is a bright sky before a dark
            scene; physically thin streaks are about 0.1, public data sets about 1 to 2.
        breadth: factor on the streaks' width (defocus of near drops).
        crossing: spread in degrees between the directions of the layers (gusts, or the
            crossing streaks of Rain100H).
        veil: factor on the extinction; 0 = no haze.
        airlight: brightness of the veil, 0..1.
        camera_height: metres above a flat road with the horizon at 45 % of the height:
            the depth proxy.
        blending: ``screen`` (O = B + R - BR; Luo 2015, UBCN) or ``additive`` (O = B + R,
            cut off at white; Xu, Rain100L, Rain100H).
        directions: degrees from the vertical, positive to the right as the drops fall. Where
            given, they replace the one that the wind makes: the drops of every distance are divided
            among them. At most 16 directions x distances.
        distances: of the streak layers in metres, nearest first; anything farther is veil.
    """

    rate: float = 50.0
    wind: float = 1.0
    exposure: float = 1 / 60
    visibility: float = 0.6
    breadth: float = 1.0
    crossing: float = 4.0
    veil: float = 1.0
    airlight: float = 0.75
    camera_height: float = 1.4
    blending: str = "screen"
    directions: tuple[float, ...] = ()
    distances: tuple[float, ...] = DISTANCES_M

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= MAX_RATE:
            raise RainError(f"rate {self.rate} mm/h is outside 0..{MAX_RATE:g}")
        if self.blending not in BLENDINGS:
            raise RainError(f"blending {self.blending!r} is not one of {', '.join(BLENDINGS)}")
        for name in ("exposure", "breadth", "camera_height"):
            if not getattr(self, name) > 0:
                raise RainError(f"{name} {getattr(self, name)} must be > 0")
        for name in ("visibility", "veil", "airlight"):
            if not getattr(self, name) >= 0:
                raise RainError(f"{name} {getattr(self, name)} must be >= 0")
        for name in ("wind", "exposure", "visibility", "breadth", "crossing", "veil", "airlight"):
            if not math.isfinite(getattr(self, name)):
                raise RainError(f"{name} {getattr(self, name)} must be a finite number")
        self._check_layers()

    def _check_layers(self) -> None:
        for angle in self.directions:
            if not abs(angle) <= MAX_ANGLE:
                raise RainError(f"directions {angle} degrees is outside -{MAX_ANGLE:g}..{MAX_ANGLE:g}")
        if not self.distances or not all(0 < distance < math.inf for distance in self.distances):
            raise RainError(f"distances {self.distances} must be metres > 0, at least one")
        count = len(self.distances) * max(1, len(self.directions))
        if count > MAX_LAYERS:
            raise RainError(
                f"directions x distances make {count} streak layers; at most {MAX_LAYERS} are rendered"
            )


@dataclass(frozen=True)
class StreakLayer:
    """Drops of one distance.

    Attributes:
        per_megapixel: streaks in a million pixels.
        length, width: of a streak, in pixels.
        angle: degrees from the vertical, clockwise seen by the camera.
        opacity: peak brightness of a streak that is one pixel wide or more, 0..1.
        seed: of the drops' positions.
    """

    per_megapixel: float
    length: float
    width: float
    angle: float
    opacity: float
    seed: int


def layers(rain: Rain, width: int, seed: int) -> list[tuple[StreakLayer, float, float]]:
    """The streak layers for an image ``width`` pixels wide, nearest first.

    Returns:
        for each its :class:`StreakLayer` and its velocity (x, y) in pixels per second.
    """
    if rain.rate == 0:
        return []
    focal = REFERENCE_FOCAL * width
    diameter = mean_diameter_mm(rain.rate)
    speed = fall_speed(diameter)
    density = drops_per_m3(rain.rate, VISIBLE_MM)
    directions = rain.directions or (math.degrees(math.atan2(rain.wind, speed)),)
    random = np.random.default_rng(seed)
    result: list[tuple[StreakLayer, float, float]] = []
    for depth, distance in enumerate(rain.distances):
        scale = focal / distance
        shell_m3 = 1e6 / scale**2 * 0.6 * distance
        velocity = speed * scale
        for direction in directions:
            angle = direction + random.uniform(-rain.crossing, rain.crossing)
            streak = StreakLayer(
                per_megapixel=round(min(density * shell_m3, MAX_PER_MEGAPIXEL) / len(directions), 1),
                length=round(min(speed * rain.exposure * scale, MAX_LENGTH), 1),
                width=round(rain.breadth * diameter / 1000 * scale, 2),
                angle=round(angle, 1),
                opacity=round(0.62 * rain.visibility * 0.75**depth, 3),
                seed=seed * MAX_LAYERS + len(result),
            )
            result.append((streak, velocity * math.tan(math.radians(angle)), velocity))
    return result


@lru_cache(maxsize=64)
def tile(layer: StreakLayer) -> np.ndarray:
    """TILE x TILE float32 streak brightness >= 0, periodic; read-only because it is shared."""
    random = np.random.default_rng(layer.seed)
    drops = np.zeros((TILE, TILE), np.float32)
    count = random.poisson(layer.per_megapixel * TILE * TILE / 1e6)
    rows, columns = random.integers(0, TILE, (2, count))
    np.add.at(drops, (rows, columns), random.gamma(4.0, 0.25, count).astype(np.float32))
    spectrum = np.fft.rfft2(drops) * _kernel_spectrum(layer.length, layer.width, layer.angle)
    streaks = np.fft.irfft2(spectrum, (TILE, TILE)).astype(np.float32)
    streaks *= layer.opacity * min(1.0, layer.width)
    np.clip(streaks, 0, 1, out=streaks)
    streaks.setflags(write=False)
    return streaks


@lru_cache(maxsize=16)
def _kernel_spectrum(length: float, width: float, angle: float) -> np.ndarray:
    """Spectrum of one streak of peak 1: a soft-ended line with a Gaussian profile, centred on 0."""
    offset = np.fft.fftfreq(TILE, 1.0 / TILE).astype(np.float32)
    x, y = np.meshgrid(offset, offset)
    radians = np.deg2rad(angle)
    along = x * np.sin(radians) + y * np.cos(radians)
    across = x * np.cos(radians) - y * np.sin(radians)
    sigma = max(width, 0.8) / 2.0
    end = max(1.0, 0.15 * length)
    profile = np.exp(-0.5 * (across / sigma) ** 2)
    profile *= 1.0 / (1.0 + np.exp(np.clip((np.abs(along) - length / 2.0) / (0.3 * end), -60, 60)))
    return np.fft.rfft2(profile / profile.max())


def cut(streaks: np.ndarray, height: int, width: int, shift_x: float, shift_y: float) -> np.ndarray:
    """A height x width window of a tile, the pattern moved by (shift_x, shift_y) pixels."""
    top, left = int(round(-shift_y)) % TILE, int(round(-shift_x)) % TILE
    bottom, right = max(0, top + height - TILE), max(0, left + width - TILE)
    if not (bottom or right):
        return streaks[top : top + height, left : left + width]
    wrapped = cv2.copyMakeBorder(streaks, 0, bottom, 0, right, cv2.BORDER_WRAP)
    return wrapped[top : top + height, left : left + width]


@dataclass(frozen=True)
class Window:
    """A part of the full image: its top left corner and its size, in pixels."""

    top: int
    left: int
    height: int
    width: int


class RainRenderer:
    """Rain for images of one size; the same seed and time give the same rain.

    Args:
        rain: how it rains.
        height, width: of the full image, in pixels.
        seed: of everything random.
    """

    def __init__(self, rain: Rain, height: int, width: int, seed: int = 0):
        self.rain, self.height, self.width = rain, height, width
        self._layers = [(tile(streak), x, y) for streak, x, y in layers(rain, width, seed)]
        self._transmission = _transmission(rain, height, width) if rain.rate and rain.veil else None

    def streaks(self, time_s: float = 0.0, window: Window | None = None) -> np.ndarray:
        """H x W float32 brightness of all streaks, 0..1, at a time in seconds."""
        window = window or Window(0, 0, self.height, self.width)
        total = np.zeros((window.height, window.width), np.float32)
        for streaks, velocity_x, velocity_y in self._layers:
            layer = cut(
                streaks,
                window.height,
                window.width,
                velocity_x * time_s - window.left,
                velocity_y * time_s - window.top,
            )
            if self.rain.blending == "screen":
                total += layer * (1 - total)
            else:
                total += layer
        return np.minimum(total, 1.0, out=total)

    def render(self, image: np.ndarray, time_s: float = 0.0, window: Window | None = None) -> np.ndarray:
        """Rain on an H x W x 3 uint8 image; returns a new one of the same shape.

        With ``window``, the image is that part of the full image.

        Raises:
            RainError: the image has another size or type.
        """
        window = window or Window(0, 0, self.height, self.width)
        if image.shape != (window.height, window.width, 3) or image.dtype != np.uint8:
            raise RainError(
                f"image is {image.shape} {image.dtype}, the renderer expects "
                f"({window.height}, {window.width}, 3) uint8"
            )
        if not self._layers:
            return image.copy()
        scene = image.astype(np.float32)
        if self._transmission is not None:
            air = 255.0 * self.rain.airlight
            scene = air + (scene - air) * self._transmission[window.top : window.top + window.height, :, None]
        streaks = self.streaks(time_s, window)[:, :, None]
        if self.rain.blending == "screen":
            scene += (255.0 - scene) * streaks
        else:
            scene += 255.0 * streaks
        return np.clip(scene + 0.5, 0, 255, out=scene).astype(np.uint8)


def _transmission(rain: Rain, height: int, width: int) -> np.ndarray:
    """H x 1 share of light that comes through the rain, from the flat-road depth proxy.

    ``1 / d = 1 / 80 m + rows below the horizon / (camera height * focal length)``.
    """
    softness = 0.04 * height
    below = softness * np.logaddexp(0, (np.arange(height, dtype=np.float32) - 0.45 * height) / softness)
    depth = 1.0 / (1.0 / FARTHEST_M + below / (rain.camera_height * REFERENCE_FOCAL * width))
    light: np.ndarray = np.exp(-rain.veil * extinction_per_m(rain.rate) * depth)
    return light.astype(np.float32)[:, None]


def slope(rate: float) -> float:
    """Lambda of ``N(D) = N0 exp(-Lambda D)`` in 1/mm for a rate in mm/h."""
    return 4.1 * math.pow(rate, -0.21)


def drops_per_m3(rate: float, larger_than_mm: float) -> float:
    """Number of drops above a diameter in a cubic metre of air."""
    return INTERCEPT / slope(rate) * math.exp(-slope(rate) * larger_than_mm)


def mean_diameter_mm(rate: float) -> float:
    """Mass-weighted mean diameter in mm: 4 / Lambda."""
    return 4.0 / slope(rate)


def fall_speed(diameter_mm: float) -> float:
    """Terminal velocity in m/s."""
    return max(0.5, 9.65 - 10.3 * math.exp(-0.6 * diameter_mm))


def extinction_per_m(rate: float) -> float:
    """Extinction coefficient of rain in 1/m; a contrast at d metres falls by exp(-beta d)."""
    return 0.312 * math.pow(rate, 0.67) / 1000.0
