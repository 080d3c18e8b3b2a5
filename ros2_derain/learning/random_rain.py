"""Random rain for training: rendered rain of every kind, and streak layers of real pairs."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ros2_derain.rain import Rain, RainRenderer


@lru_cache(maxsize=256)
def storm(seed: int, index: int, road: bool) -> RainRenderer:
    """The ``index``-th random rain of a kind: over roads of every rate and with veil, over
    photographs of the kinds that the public sets have.
    """
    random = np.random.default_rng((seed, index, road))
    rain = _road(random) if road else _photograph(random)
    width = int(random.choice((480, 480, 640, 960)))
    return RainRenderer(rain, width * 3 // 4, width, seed=int(random.integers(2**31)))


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


def recompose(image: np.ndarray, layers: list[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """A streak layer of a real pair, turned, stretched and weighted at random, added to another image.

    Args:
        image: H x W x 3 uint8.
        layers: h x w uint8 brightness of streaks, of any size.
    """
    scene = image.astype(np.float32)
    for _ in range(2 if random.random() < 0.12 else 1):
        scene += _varied(layers[random.integers(len(layers))], image.shape[:2], random)[:, :, None]
    return np.clip(scene + 0.5, 0, 255).astype(np.uint8)


def _varied(layer: np.ndarray, size: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """H x W float32: a random part of a layer under a small random similarity, gain and gamma."""
    height, width = size
    scale = float(np.exp(random.uniform(np.log(0.8), np.log(1.3)))) if random.random() < 0.5 else 1.0
    turn = cv2.getRotationMatrix2D((0, 0), random.normal(0, 6) if random.random() < 0.5 else 0.0, scale)
    if random.random() < 0.5:
        turn[:, 0] *= -1
    centre = np.array([random.uniform(0, layer.shape[1]), random.uniform(0, layer.shape[0])])
    turn[:, 2] = np.array([width, height]) / 2 - turn[:, :2] @ centre
    cut = cv2.warpAffine(
        layer, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.float32)
    if random.random() < 0.5:
        cut = 255 * (cut / 255) ** random.uniform(0.85, 1.2) * random.uniform(0.8, 1.2)
    return cut
