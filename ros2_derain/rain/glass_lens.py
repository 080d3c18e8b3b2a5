"""Drops on glass as lenses: their joined surface, what it refracts, and defocus.

A drop is a cap of a sphere: where its surface is inclined by an angle a, light is bent by
``asin(n sin a) - a`` towards the axis (Halimeh & Roser 2009), and the share that Fresnel's equations leave
comes through; beyond the critical angle there is none, which makes the dark rim. What lies on the glass is
then spread over the circle of confusion (von Bernuth et al. 2019): a pixel is the sum, in linear light, of
what the drops within the circle show and, for the rest of the circle, the scene.
"""

from __future__ import annotations

import cv2
import numpy as np

from .glass import Glass
from .glass_water import Drops
from .render import REFERENCE_FOCAL

WATER_INDEX = 1.33
REACH = 1.35
"""Radii to which a drop attracts its neighbours: closer ones join."""

EDGE = (1 - 1 / REACH**2) ** 2
"""Value of a lone drop's field at its outline."""

FIELD_WIDTH = 640
"""Width in pixels of the images that ``focus`` is meant for."""

SHARP_PIXELS = 2.5
"""Largest blur radius of a layer: a softer layer is drawn smaller and enlarged."""

SURROUNDINGS = 0.6
"""Widths of the surroundings beyond each edge of the image that drops may show."""

SAG = 0.15
"""How much wider a drop is at its bottom than in the middle."""

INNER_LIGHT = 0.03
"""Share of light that still comes from where no ray passes: reflections within the drop."""

LAMP_GAIN = 8.0
"""How much brighter a white lamp is than the image can show."""

_LAMPS = ((np.arange(256) / 255.0) ** 20).astype(np.float32)
"""How much of a lamp a linear brightness is."""


class _Field:
    """Drops drawn on a grid: how much water is there, and how steep its surface is.

    A drop's field is ``(1 - (d / (REACH radius))^2)^2`` at the distance d from its centre. Fields add up, and
    water is where the sum is above :data:`EDGE`: neighbours join. A lone drop has the slopes of a cap.
    """

    def __init__(self, glass: Glass, height: int, width: int):
        self.height, self.width = height, width
        wave = max(4.0, 0.8 * glass.size * width)
        size = max(2, round(width / wave)), max(2, round(height / wave))
        random = np.random.default_rng((glass.seed, 1))
        waves = random.normal(0, 0.3 * glass.irregular, (*size[::-1], 2)).astype(np.float32)
        bends = cv2.resize(waves, (width, height), interpolation=cv2.INTER_CUBIC)
        self._bend_x, self._bend_y = np.ascontiguousarray(bends.reshape(-1, 2).T)

    def draw(self, drops: Drops) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Indices of the pixels with water, its opacity there, and the sine of its slope along x and y."""
        x, y, half_x, half_y = (
            (self.width * values).astype(np.float32)
            for values in (
                drops.x,
                drops.y,
                drops.radius / np.sqrt(drops.stretch),
                drops.radius * np.sqrt(drops.stretch),
            )
        )
        left, columns = _span(x - 0.5, half_x, self.width)
        top, rows = _span(y - 0.5, half_y, self.height)
        which = np.repeat(np.arange(rows.size, dtype=np.int32), rows)
        row = _counted(rows) + top[which]
        row_columns = columns[which]
        first = row * self.width + left[which]
        down_row = (row + 0.5 - y[which]) / half_y[which]
        which = np.repeat(which, row_columns)
        column = _counted(row_columns)
        pixel = column + np.repeat(first, row_columns)
        scale = 1 / half_x
        across = (column + (left + 0.5 - x)[which]) * scale[which] + self._bend_x[pixel]
        down = np.repeat(down_row.astype(np.float32), row_columns) + self._bend_y[pixel]
        across *= 1 - SAG * down
        inside = 1 - (across**2 + down**2) / REACH**2
        kept = inside > 0
        pixel, inside = pixel[kept], inside[kept]
        steep = inside * drops.sine.astype(np.float32)[which[kept]]
        count = self.height * self.width
        field = np.bincount(pixel, inside * inside, count)
        wet = np.flatnonzero(field > 0.7 * EDGE)
        slope = 1 / np.sqrt(field[wet])
        slope_x = np.bincount(pixel, steep * across[kept], count)[wet] * slope
        slope_y = np.bincount(pixel, steep * down[kept], count)[wet] * slope
        opacity = np.clip((field[wet] / EDGE - 0.7) / 0.6, 0, 1)
        return wet, opacity.astype(np.float32), slope_x.astype(np.float32), slope_y.astype(np.float32)


class DropLayer:
    """Draws drops as lenses, out of focus, for images of one size.

    Args:
        glass: the handles.
        height, width: of the images, in pixels.
    """

    def __init__(self, glass: Glass, height: int, width: int):
        self.height, self.width = height, width
        radius = glass.focus * width / FIELD_WIDTH
        scale = min(1.0, SHARP_PIXELS / max(radius, 1e-6))
        self._field = _Field(glass, max(4, round(height * scale)), max(4, round(width * scale)))
        self._kernel = _disc(max(radius * scale, 0.6))
        self._bend, self._passed = _refraction()
        strength = np.sin(np.deg2rad(glass.contact)) * 0.7
        magnified = 2 * self._bend[int(strength * (len(self._bend) - 1))] / glass.size
        self._small = int(np.clip(width / max(magnified, 1), 24, 160))
        self._glint = glass.glint

    def opacity(self, drops: Drops) -> np.ndarray:
        """h x w float32 of the grid: share of each pixel's circle of confusion that is water, 0..1."""
        wet, opacity, _, _ = self._field.draw(drops)
        grid = np.zeros(self._field.height * self._field.width, np.float32)
        grid[wet] = opacity
        plane = grid.reshape(self._field.height, self._field.width)
        return np.asarray(cv2.filter2D(plane, -1, self._kernel, borderType=cv2.BORDER_REPLICATE))

    def draw(self, drops: Drops, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the drops show of a scene.

        Args:
            drops: the water.
            light: H x W x 3 float32, linear, 0..255^2.

        Returns:
            H x W x 3 float32 light, times opacity; H x W float32 opacity 0..1.
        """
        wet, opacity, slope_x, slope_y = self._field.draw(drops)
        grid = np.zeros((self._field.height * self._field.width, 4), np.float32)
        if wet.size:
            sine = np.sqrt(slope_x**2 + slope_y**2) + 1e-6
            step = np.minimum(sine, 1) * (len(self._bend) - 1)
            entry = step.astype(np.int32)
            shift = self._bend[entry] / sine
            row = wet // self._field.width
            x = (wet - row * self._field.width + 0.5) / self._field.width - shift * slope_x
            y = (row + 0.5) / self._field.width - shift * slope_y
            seen = self._seen(light, x.astype(np.float32), y.astype(np.float32))
            grid[wet, :3] = seen * (self._passed[entry] * opacity)[:, None]
            grid[wet, 3] = opacity
        planes = grid.reshape(self._field.height, self._field.width, 4)
        soft = cv2.filter2D(planes, -1, self._kernel, borderType=cv2.BORDER_REPLICATE)
        if soft.shape[:2] != (self.height, self.width):
            soft = cv2.resize(soft, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        return cv2.cvtColor(soft, cv2.COLOR_RGBA2RGB), cv2.extractChannel(soft, 3)

    def _seen(self, light: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """M x 3 light of the surroundings in M directions, in widths from the image's top left corner."""
        size = self._small, max(4, self._small * self.height // self.width)
        small: np.ndarray = np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA))
        if self._glint:
            brightness = cv2.convertScaleAbs(cv2.cvtColor(light, cv2.COLOR_RGB2GRAY), alpha=1 / 255)
            lamps = cv2.resize(cv2.LUT(brightness, _LAMPS), size, interpolation=cv2.INTER_AREA)
            alone = (1 - np.asarray(cv2.blur(lamps, (13, 13)))) ** 4
            small = small * (1 + LAMP_GAIN * self._glint * alone * lamps)[..., None]
        margin = int(SURROUNDINGS * self._small)
        around = cv2.copyMakeBorder(small, 0, 0, margin, margin, cv2.BORDER_REFLECT)
        around = cv2.copyMakeBorder(around, margin, margin, 0, 0, cv2.BORDER_REPLICATE)
        rows = -(-x.size // 256)
        maps = np.zeros((2, rows * 256), np.float32)
        maps[0, : x.size], maps[1, : x.size] = x * self._small - 0.5 + margin, y * self._small - 0.5 + margin
        map_x, map_y = maps.reshape(2, rows, 256)
        seen = cv2.remap(around, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(seen.reshape(-1, 3)[: x.size])


def _span(centre: np.ndarray, half: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """First pixel and number of pixels of each drop along one axis of the grid."""
    first = np.clip(np.ceil(centre - 1.05 * REACH * half), 0, size).astype(np.int32)
    end = np.clip(np.floor(centre + 1.05 * REACH * half) + 1, 0, size).astype(np.int32)
    return first, np.maximum(end - first, 0)


def _counted(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... anew for each length."""
    ends = np.cumsum(lengths, dtype=np.int32)
    total = int(ends[-1]) if ends.size else 0
    return np.asarray(np.arange(total, dtype=np.int32) - np.repeat(ends - lengths, lengths))


def _refraction() -> tuple[np.ndarray, np.ndarray]:
    """Shift of the view in widths and share of the light, by the sine 0..1 of the surface's angle."""
    sine = np.linspace(0, 1, 256)
    out = np.minimum(WATER_INDEX * sine, 1.0)
    bend = np.arcsin(out) - np.arcsin(sine)
    inner, outer = np.sqrt(1 - sine**2), np.sqrt(1 - out**2)
    across = ((WATER_INDEX * inner - outer) / (WATER_INDEX * inner + outer + 1e-9)) ** 2
    along = ((inner - WATER_INDEX * outer) / (inner + WATER_INDEX * outer + 1e-9)) ** 2
    passed = 1 - (across + along) / 2
    shift = REFERENCE_FOCAL * np.tan(np.minimum(bend, np.deg2rad(42)))
    return shift.astype(np.float32), np.maximum(passed, INNER_LIGHT).astype(np.float32)


def _disc(radius: float) -> np.ndarray:
    """Kernel of a disc with smooth edge, sum 1."""
    reach = int(np.ceil(radius + 0.5))
    offset = np.arange(-reach, reach + 1, dtype=np.float32)
    distance = np.hypot(*np.meshgrid(offset, offset))
    kernel: np.ndarray = np.clip(radius + 0.5 - distance, 0, 1)
    return np.asarray(kernel / kernel.sum(), np.float32)
