"""Random rain for training: rendered rain and wet glass, and streak layers added to other photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from ros2_derain.rain import Glass, GlassRenderer, Rain, RainRenderer
from ros2_derain.validation import STRICT

GLASS_KINDS = "windscreen", "windscreen", "few", "few", "standing", "standing", "dome", "blurred", "veiled"
"""Kinds of wet glass as often as they are drawn: windscreens with a wiper, and with the few small, faint
drops that it leaves; drops that stand and run; large clear drops; large ones far out of focus; film and
spray."""


@lru_cache(maxsize=256)
def random_rain(seed: int, index: int, road: bool) -> RainRenderer:
    """The ``index``-th random rain of a kind.

    Over roads: every rain rate, mostly with a veil. Over photographs: the streaks of the public datasets.
    """
    random = np.random.default_rng((seed, index, road))
    rain = _road(random) if road else _photograph(random)
    width = int(random.choice((480, 480, 640, 960)))
    return RainRenderer(rain, width * 3 // 4, width, seed=int(random.integers(2**31)))


@lru_cache(maxsize=128)
def random_wet_glass(seed: int, index: int, height: int, width: int, kinds: tuple[str, ...]) -> GlassRenderer:
    """The ``index``-th random wet glass for crops of a size, of some of :data:`GLASS_KINDS`.

    A crop is a window of an image 1.5 to 4.5 times as wide, and the drops are as large as they are there.
    """
    random = np.random.default_rng((seed, index, 2))
    glass, wider = random_glass(random, kinds), _log_uniform(random, 1.5, 4.5)
    whole = replace(glass, size=min(0.3, glass.size * wider), focus=min(60.0, glass.focus * wider))
    return GlassRenderer(whole, height, width)


def random_glass(random: np.random.Generator, kinds: tuple[str, ...]) -> Glass:
    """Wet glass of a random one of these :data:`GLASS_KINDS`.

    Renderers are worth keeping: time 0..1000 s gives many views of one.
    """
    return _GLASS_KINDS[str(random.choice(kinds))](random)


def _windscreen(random: np.random.Generator) -> Glass:
    return _glass(
        random,
        coverage=_log_uniform(random, 0.005, 0.2),
        focus=float(random.uniform(2, 11)),
        size=_log_uniform(random, 0.01, 0.07),
        contact=float(random.uniform(18, 50)),
        wiper=_log_uniform(random, 0.6, 15),
        film=float(random.uniform(0, 0.6)) if random.random() < 0.7 else 0.0,
        spray=float(random.uniform(0, 0.6)) if random.random() < 0.3 else 0.0,
    )


def _standing_drops(random: np.random.Generator) -> Glass:
    return _glass(
        random,
        coverage=_log_uniform(random, 0.01, 0.4),
        focus=_log_uniform(random, 0.5, 9),
        size=_log_uniform(random, 0.006, 0.05),
        contact=float(random.uniform(25, 65)),
        runs=float(random.uniform(0, 1.5)) if random.random() < 0.6 else 0.0,
        film=float(random.uniform(0, 0.3)),
    )


def _dome(random: np.random.Generator) -> Glass:
    return _glass(
        random,
        coverage=_log_uniform(random, 0.01, 0.25),
        focus=float(random.uniform(0, 3)),
        size=_log_uniform(random, 0.03, 0.15),
        contact=float(random.uniform(30, 70)),
        runs=float(random.uniform(0, 0.5)) if random.random() < 0.5 else 0.0,
    )


def _blurred(random: np.random.Generator) -> Glass:
    return _glass(
        random,
        coverage=_log_uniform(random, 0.04, 0.4),
        focus=float(random.uniform(5, 18)),
        size=_log_uniform(random, 0.04, 0.14),
        contact=float(random.uniform(12, 60)),
        film=float(random.uniform(0, 0.3)),
    )


def _veiled(random: np.random.Generator) -> Glass:
    return _glass(
        random,
        coverage=float(random.uniform(0, 0.02)),
        focus=float(random.uniform(2, 12)),
        size=_log_uniform(random, 0.008, 0.04),
        film=float(random.uniform(0.1, 1.0)),
        spray=float(random.uniform(0.2, 0.9)) if random.random() < 0.6 else 0.0,
    )


def _few_drops(random: np.random.Generator) -> Glass:
    return _glass(
        random,
        coverage=_log_uniform(random, 0.003, 0.05),
        focus=float(random.uniform(1.5, 6)),
        size=_log_uniform(random, 0.006, 0.035),
        contact=float(random.uniform(15, 50)),
        wiper=_log_uniform(random, 1, 15) if random.random() < 0.3 else 0.0,
        film=float(random.uniform(0, 0.2)),
    )


_GLASS_KINDS = {
    "windscreen": _windscreen,
    "few": _few_drops,
    "standing": _standing_drops,
    "dome": _dome,
    "blurred": _blurred,
    "veiled": _veiled,
}


def _glass(random: np.random.Generator, **handles: float) -> Glass:
    """Glass with the handles of a kind, and random ones that every kind has."""
    return Glass(
        spread=float(random.uniform(0.2, 0.8)),
        stretch=float(np.exp(random.normal(0, 0.3)).clip(0.5, 2)),
        irregular=float(random.uniform(0.1, 0.9)),
        smear=float(random.uniform(0, 1)),
        glint=float(random.uniform(0, 3)),
        seed=int(random.integers(2**31)),
        **handles,
    )


def _log_uniform(random: np.random.Generator, least: float, most: float) -> float:
    return float(np.exp(random.uniform(np.log(least), np.log(most))))


def _road(random: np.random.Generator) -> Rain:
    return Rain(
        rate=float(np.exp(random.uniform(np.log(2), np.log(250))))
        if random.random() < 0.5
        else float(random.uniform(25, 250)),
        wind=float(random.normal(0, 2.5)),
        exposure=float(np.exp(random.uniform(np.log(1 / 120), np.log(1 / 30)))),
        visibility=float(random.uniform(0.35, 1.0)),
        breadth=float(random.uniform(0.8, 1.5)),
        crossing=float(random.uniform(0, 10)),
        veil=float(random.uniform(0.7, 1.3)) if random.random() < 0.8 else 0.0,
        airlight=float(random.uniform(0.6, 0.9)),
        blending="screen" if random.random() < 0.75 else "additive",
    )


def _photograph(random: np.random.Generator) -> Rain:
    return Rain(
        rate=float(random.uniform(10, 160)),
        wind=float(random.uniform(-6, 6)),
        exposure=float(np.exp(random.uniform(np.log(1 / 150), np.log(1 / 25)))),
        visibility=float(random.uniform(0.3, 1.8)),
        breadth=float(random.uniform(0.9, 2.4)),
        crossing=float(random.uniform(0, 30)),
        veil=0.0,
        blending="additive" if random.random() < 0.7 else "screen",
    )


@dataclass(frozen=True, config=STRICT)
class StreakStyle:
    """Where streak layers come from and how they are combined: an entry of a recipe's ``streaks``.

    Attributes:
        pairs: folders of rain/clean pairs under ``rain_pairs/`` -> every how many-th pair is held out
            of training (0: none). Their streaks (rain - clean) are varied a little.
        patterns: folders of grey streak images under ``rain_layers/`` -> how many of the last files are
            held out. A pattern shows light, even rain: one or two of them make light rain, three to six
            enlarged ones heavy rain.
        weight: of the style among the recipe's styles.
        doubled: share of images on which the streaks of two pairs are added.
        heavy: share of heavy rain among the rains made of patterns.
    """

    pairs: dict[str, int] = field(default_factory=dict)
    patterns: dict[str, int] = field(default_factory=dict)
    weight: float = Field(default=1.0, gt=0)
    doubled: float = Field(default=0.12, ge=0, le=1)
    heavy: float = Field(default=0.5, ge=0, le=1)

    def __post_init__(self) -> None:
        if bool(self.pairs) == bool(self.patterns):
            raise ValueError("a style has either pairs or patterns: name the folders of one of them")
        for name, held_out in (self.pairs | self.patterns).items():
            if held_out < 0:
                raise ValueError(f"{name} is {held_out}: must be at least 0")


class StreakLayers(NamedTuple):
    """The streak layers of a style, h x w uint8 brightness each, of any size."""

    style: StreakStyle
    layers: Sequence[np.ndarray]


class _Variation(NamedTuple):
    """How patterns are laid over an image: how many, and the ranges of scale, rotation and gain."""

    layers: tuple[int, int]
    scale: tuple[float, float]
    degrees: float
    gain: tuple[float, float]


_LIGHT = _Variation(layers=(1, 2), scale=(0.6, 2), degrees=20, gain=(0.5, 1.3))
_HEAVY = _Variation(layers=(3, 6), scale=(1.2, 4), degrees=22, gain=(0.6, 1.6))


def add_streaks(image: np.ndarray, styles: Sequence[StreakLayers], random: np.random.Generator) -> np.ndarray:
    """Streaks of a style drawn by its weight, varied at random, added to an image.

    Args:
        image: H x W x 3 uint8.
        styles: at least one.

    Returns:
        H x W x 3 uint8, cut off at white.
    """
    style, layers = styles[_draw_style(styles, random)]
    size = image.shape[:2]
    scene = image.astype(np.float32)
    if style.pairs:
        for _ in range(2 if random.random() < style.doubled else 1):
            scene += _varied(_draw(layers, random), size, random)[:, :, None]
    else:
        variation = _HEAVY if random.random() >= 1 - style.heavy else _LIGHT
        for _ in range(int(random.integers(variation.layers[0], variation.layers[1] + 1))):
            scene += _pattern(_draw(layers, random), size, variation, random)[:, :, None]
    return np.clip(scene + 0.5, 0, 255).astype(np.uint8)


def _draw_style(styles: Sequence[StreakLayers], random: np.random.Generator) -> int:
    if len(styles) == 1:
        return 0
    weights = np.array([style.weight for style, _ in styles])
    return int(random.choice(len(weights), p=weights / weights.sum()))


def _draw(layers: Sequence[np.ndarray], random: np.random.Generator) -> np.ndarray:
    return layers[int(random.integers(len(layers)))]


def _varied(layer: np.ndarray, size: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """H x W float32: a random part of a layer under a small random similarity, gain and gamma."""
    scale = float(np.exp(random.uniform(np.log(0.8), np.log(1.3)))) if random.random() < 0.5 else 1.0
    degrees = random.normal(0, 6) if random.random() < 0.5 else 0.0
    cut = _random_part(layer, size, degrees, scale, random)
    if random.random() < 0.5:
        cut = 255 * (cut / 255) ** random.uniform(0.85, 1.2) * random.uniform(0.8, 1.2)
    return cut


def _pattern(
    layer: np.ndarray, size: tuple[int, int], variation: _Variation, random: np.random.Generator
) -> np.ndarray:
    """H x W float32: a random part of a pattern under a random similarity and gain."""
    scale = float(np.exp(random.uniform(*np.log(variation.scale))))
    degrees = random.uniform(-variation.degrees, variation.degrees)
    return _random_part(layer, size, degrees, scale, random) * float(random.uniform(*variation.gain))


def _random_part(
    layer: np.ndarray, size: tuple[int, int], degrees: float, scale: float, random: np.random.Generator
) -> np.ndarray:
    """H x W float32 of a layer, rotated, scaled, and mirrored half of the time."""
    height, width = size
    view = np.asarray(cv2.getRotationMatrix2D((0, 0), degrees, scale), np.float64)
    if random.random() < 0.5:
        view[:, 0] *= -1
    centre = np.array([random.uniform(0, layer.shape[1]), random.uniform(0, layer.shape[0])])
    view[:, 2] = np.array([width, height]) / 2 - view[:, :2] @ centre
    return cv2.warpAffine(
        layer, view, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.float32)
