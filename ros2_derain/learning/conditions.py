"""Labelled road scenes in other light and weather than their own: night, dusk, fog, overcast, wet road.

A parser that has seen one town on bright days fails elsewhere. These are cheap changes of appearance that
leave every label where it is. They claim no physical truth; what counts is that the parser cannot rely on
colours, brightness and noise of its own training images.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ros2_derain.data import CAMVID_CLASSES

SKY, ROAD, BUILDING = (CAMVID_CLASSES.index(name) for name in ("sky", "road", "building"))


def another_condition(
    image: np.ndarray, labels: np.ndarray | None, random: np.random.Generator
) -> np.ndarray:
    """The scene in another light and weather, drawn at random.

    Args:
        image: H x W x 3 uint8 RGB.
        labels: H x W uint8 of the CamVid classes, 255 = unlabelled; None: unknown.
        random: draws the condition and its strength.

    Returns:
        H x W x 3 uint8; every object is where it was.
    """
    if labels is None:
        labels = np.full(image.shape[:2], 255, np.uint8)
    change = _CONDITIONS[int(random.choice(len(_CONDITIONS), p=_SHARES))]
    scene = change(image.astype(np.float32) / 255, labels, random)
    return (np.clip(scene, 0, 1) * 255 + 0.5).astype(np.uint8)


def camera_effects(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Blur, noise, lower resolution and JPEG of a cheap camera, each of them sometimes: H x W x 3 uint8."""
    height, width = image.shape[:2]
    if random.random() < 0.35:
        share = float(random.uniform(0.4, 0.9))
        small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if random.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), float(random.uniform(0.5, 1.6)))
    if random.random() < 0.35:
        noise = random.normal(0, random.uniform(2, 12), image.shape[:2]).astype(np.float32)
        image = np.clip(image + noise[:, :, None], 0, 255).astype(np.uint8)
    if random.random() < 0.4:
        quality = int(random.integers(25, 80))
        file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))
    return image


def night(scene: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Darkness with the own headlights, street lamps of one colour, lit windows, and a black sky."""
    height, width = labels.shape
    colour = np.array([1, random.uniform(0.62, 0.95), random.uniform(0.2, 0.85)], np.float32)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    centre = width * random.uniform(0.35, 0.65), height * random.uniform(0.7, 1.0)
    reach = ((columns - centre[0]) / (0.45 * width)) ** 2 + ((rows - centre[1]) / (0.4 * height)) ** 2
    lamps = random.uniform(0.1, 0.45) * np.exp(-reach)
    ambient = random.uniform(0.02, 0.3)
    exposure = (ambient + lamps)[:, :, None] * colour
    sky = cv2.GaussianBlur((labels == SKY).astype(np.float32), (0, 0), 1.5)[:, :, None]
    grey = scene.mean(2, keepdims=True)
    dark = (0.5 * grey + 0.5 * scene) ** random.uniform(1.0, 1.5) * exposure * (1 - sky)
    dark = dark + sky * random.uniform(0, 0.06) * colour
    for _ in range(int(random.integers(0, 9))):
        _lamp(dark, random, colour)
    bright = scene.mean(2) * cv2.GaussianBlur((labels == BUILDING).astype(np.float32), (0, 0), 1.0)
    lit = bright > np.quantile(bright, random.uniform(0.97, 1.0))
    dark[lit] = random.uniform(0.4, 1) * np.array([1, 0.95, 0.8], np.float32)
    noise = random.normal(0, random.uniform(0.005, 0.03), (height, width)).astype(np.float32)
    return dark + noise[:, :, None] * colour


def dusk(scene: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Little light on the ground, its shadows black and its colours weak, under much brighter clouds."""
    grey = scene.mean(2, keepdims=True)
    ground = grey + (scene - grey) * random.uniform(0.4, 1.1)
    ground = np.clip(ground - random.uniform(0, 0.08), 0, 1) ** random.uniform(0.9, 1.4)
    ground = ground * random.uniform(0.2, 0.7) * random.uniform(0.85, 1.15, 3).astype(np.float32)
    clouds = random.uniform(0.3, 0.75) + random.uniform(0.1, 0.6) * _clouds(labels.shape, random)
    clouds = clouds[:, :, None] * random.uniform(0.9, 1.1, 3).astype(np.float32)
    share = random.uniform(0.3, 1.0)
    above = scene * random.uniform(0.4, 1.0) * (1 - share) + clouds * share
    sky = cv2.GaussianBlur((labels == SKY).astype(np.float32), (0, 0), 1.0)[:, :, None]
    noise = random.normal(0, random.uniform(0, 0.015), labels.shape).astype(np.float32)
    return ground * (1 - sky) + above * sky + noise[:, :, None]


def fog(scene: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A veil that thickens from the foot of the image to the horizon; the sky disappears in it."""
    height = len(labels)
    horizon = _horizon(labels, random)
    rows = np.arange(height, dtype=np.float32)
    near = np.clip((rows - horizon) / (height - horizon), 0.02, 1)
    depth = np.where(rows > horizon, 0.06 / near, 3.0 * random.uniform(0.1, 1))[:, None]
    depth = np.where(labels == SKY, 3.0, np.minimum(depth, 3.0)).astype(np.float32)
    clear = np.exp(-cv2.GaussianBlur(depth, (0, 0), 12.0) * random.uniform(0.3, 2.2))[:, :, None]
    veil = np.full(3, random.uniform(0.55, 0.9), np.float32) * random.uniform(0.94, 1.06, 3)
    return scene * clear + veil.astype(np.float32) * (1 - clear)


def overcast(scene: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Grey light: a bright even sky, little colour and contrast, dark ground, a wet and mirroring road."""
    grey = scene.mean(2, keepdims=True)
    dull = grey + (scene - grey) * random.uniform(0.35, 1.0)
    mean = cv2.mean(dull)[0]
    dull = mean + (dull - mean) * random.uniform(0.5, 1.0) + random.uniform(-0.15, 0.1)
    dull = dull * random.uniform(0.92, 1.08, 3).astype(np.float32)
    if random.random() < 0.7:
        sky = cv2.GaussianBlur((labels == SKY).astype(np.float32), (0, 0), 1.0)[:, :, None]
        share = random.uniform(0.5, 1.0) * sky
        tone = random.uniform(0.6, 0.9) * random.uniform(0.96, 1.04, 3).astype(np.float32)
        dull = dull * (1 - share) + tone * share
        dull = np.where(sky > 0.5, dull, dull * random.uniform(0.5, 1.0))
    return wet_road(dull, labels, random) if random.random() < 0.6 else dull


def wet_road(scene: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The road darker, and mirroring what is above the horizon, smeared vertically."""
    height = len(labels)
    horizon = _horizon(labels, random)
    source = np.clip(2 * horizon - np.arange(height), 0, height - 1)
    mirror = cv2.blur(scene[source], (3, max(3, height // int(random.integers(8, 24)))))
    road = cv2.GaussianBlur((labels == ROAD).astype(np.float32), (0, 0), 2.0)[:, :, None]
    patches = cv2.resize(random.random((5, 4)).astype(np.float32), labels.shape[::-1])[:, :, None]
    share = road * np.clip(patches * random.uniform(0.3, 1.1), 0, 0.8)
    return scene * (1 - share) * (1 - road * random.uniform(0, 0.5)) + mirror * share


def exposure(scene: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Over- or underexposed, with a tint, and another saturation."""
    grey = scene.mean(2, keepdims=True)
    scene = np.clip(grey + (scene - grey) * random.uniform(0.0, 1.6), 0, 1)
    scene = scene ** np.exp(random.uniform(-0.9, 0.9))
    return scene * random.uniform(0.35, 1.35) * random.uniform(0.75, 1.25, 3).astype(np.float32)


def _horizon(labels: np.ndarray, random: np.random.Generator) -> int:
    """The row in which the road begins; near the middle where no road is labelled."""
    height = len(labels)
    rows = np.flatnonzero((labels == ROAD).mean(1) > 0.02)
    row = rows[0] if len(rows) else int(height * random.uniform(0.35, 0.55))
    return int(np.clip(row, height // 5, 3 * height // 4))


def _clouds(size: tuple[int, int], random: np.random.Generator) -> np.ndarray:
    """Smooth noise with half the contrast at each finer scale, wider than high: H x W, about -0.5 to 0.5."""
    clouds = np.zeros(size, np.float32)
    for octave in range(5):
        grid = random.uniform(-0.5, 0.5, (3 * 2**octave, 2 * 2**octave)).astype(np.float32)
        clouds += cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC) / 2**octave
    return clouds


def _lamp(scene: np.ndarray, random: np.random.Generator, colour: np.ndarray) -> None:
    """Add one lamp with its halo, in place."""
    height, width = scene.shape[:2]
    x, y = int(random.integers(width)), int(height * random.uniform(0.05, 0.62))
    radius = random.uniform(0.003, 0.012) * width
    reach = int(12 * radius)
    top, left = max(0, y - reach), max(0, x - reach)
    patch = scene[top : y + reach, left : x + reach]
    rows, columns = np.mgrid[0 : patch.shape[0], 0 : patch.shape[1]].astype(np.float32)
    distance = np.hypot(rows + top - y, columns + left - x) / radius
    glow = np.exp(-(distance**2)) * 2 + random.uniform(0.1, 0.5) / (1 + distance**2)
    tint = colour if random.random() < 0.6 else random.uniform(0.4, 1, 3).astype(np.float32)
    patch += glow[:, :, None] * tint


_Condition = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
_CONDITIONS: tuple[_Condition, ...] = (night, dusk, fog, overcast, wet_road, exposure)
_SHARES = (0.22, 0.2, 0.12, 0.24, 0.08, 0.14)
