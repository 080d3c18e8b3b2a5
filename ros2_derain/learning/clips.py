"""Short rainy clips from stills: the camera moves, the rain falls, the labels follow."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from ros2_derain.rain import Rain, RainRenderer, Window

from .sources import Sample, Source

MAX_BOXES = 32
FRAME_S = 1 / 15


@dataclass(frozen=True)
class ClipSettings:
    """How clips are made.

    Attributes:
        height, width: of the crops, in pixels; multiples of 32.
        frames: per clip.
        dry: share of clips without rain.
        storms: number of different rains in the pool; one is replaced every ``renew`` clips.
    """

    height: int = 192
    width: int = 256
    frames: int = 2
    dry: float = 0.2
    storms: int = 48
    renew: int = 6


@dataclass
class Clips(IterableDataset):
    """An endless stream of clips, drawn from several sources by weight.

    Each item is a dict of tensors: ``rain`` and ``clean`` T x 3 x h x w uint8,
    ``labels`` T x h x w uint8 (255 = unlabelled), ``boxes`` T x 32 x 5 float32
    (class -1 = no box), ``boxes_known`` bool, ``rate`` mm/h (-1 where the rain is not
    of the kind the gauge is meant for).
    """

    sources: list[tuple[Source, float]]
    settings: ClipSettings = field(default_factory=ClipSettings)
    seed: int = 0

    def __iter__(self):
        worker = get_worker_info()
        random = np.random.default_rng((self.seed, worker.id if worker else 0))
        weights = np.array([weight for _, weight in self.sources])
        road = [_storm(random, True) for _ in range(self.settings.storms)]
        photo = [_storm(random, False) for _ in range(self.settings.storms)]
        count = 0
        while True:
            source = self.sources[random.choice(len(weights), p=weights / weights.sum())][0]
            sample = source[random.integers(len(source))]
            pool = road if sample.driving and random.random() < 0.8 else photo
            yield self._clip(sample, pool[random.integers(len(pool))], random, pool is road)
            count += 1
            if count % self.settings.renew == 0:
                pool[random.integers(len(pool))] = _storm(random, pool is road)

    def _clip(self, sample: Sample, storm: RainRenderer, random: np.random.Generator, gauged: bool) -> dict:
        dry = random.random() < self.settings.dry
        start = random.uniform(0, 60)
        views = _camera_path(sample.image.shape[:2], self.settings, random)
        clip: dict[str, list] = {"rain": [], "clean": [], "labels": [], "boxes": []}
        gain = random.uniform(0.75, 1.25, 3) if random.random() < 0.5 else np.ones(3)
        for index, view in enumerate(views):
            clean = _warp(sample.image, view, self.settings, cv2.INTER_LINEAR)
            clean = np.clip(clean * gain.astype(np.float32), 0, 255).astype(np.uint8)
            window = _window(view, storm, clean.shape[:2])
            rain = clean if dry else storm.render(clean, start + index * FRAME_S, window)
            labels = np.full(clean.shape[:2], 255, np.uint8)
            if sample.labels is not None:
                labels = _warp(sample.labels, view, self.settings, cv2.INTER_NEAREST)
            clip["clean"].append(torch.from_numpy(clean).permute(2, 0, 1))
            clip["rain"].append(torch.from_numpy(rain).permute(2, 0, 1))
            clip["labels"].append(torch.from_numpy(labels))
            clip["boxes"].append(torch.from_numpy(_boxes(sample.boxes, view, clean.shape[:2])))
        item = {key: torch.stack(value) for key, value in clip.items()}
        item["boxes_known"] = torch.tensor(sample.boxes is not None)
        item["rate"] = torch.tensor(0.0 if dry else storm.rain.rate if gauged else -1.0)
        return item


def _storm(random: np.random.Generator, road: bool) -> RainRenderer:
    """A random rain: over roads of every rate and with veil, over photographs as the public sets have it."""
    if road:
        rain = Rain(
            rate=float(np.exp(random.uniform(np.log(2), np.log(250))))
            if random.random() < 0.5
            else float(random.uniform(25, 250)),
            wind=float(random.normal(0, 2.5)),
            exposure=float(np.exp(random.uniform(np.log(1 / 120), np.log(1 / 30)))),
            visibility=float(random.uniform(0.35, 1.0)),
            breadth=float(random.uniform(0.8, 1.5)),
            crossing=float(random.uniform(0, 10)),
            veil=float(random.uniform(0.7, 1.3)) if random.random() < 0.7 else 0.0,
            airlight=float(random.uniform(0.6, 0.9)),
            blending="screen" if random.random() < 0.75 else "additive",
        )
    else:
        rain = Rain(
            rate=float(random.uniform(10, 160)),
            wind=float(random.uniform(-6, 6)),
            exposure=float(np.exp(random.uniform(np.log(1 / 150), np.log(1 / 25)))),
            visibility=float(random.uniform(0.3, 1.8)),
            breadth=float(random.uniform(0.9, 2.4)),
            crossing=float(random.uniform(0, 30)),
            veil=0.0,
            blending="additive" if random.random() < 0.7 else "screen",
        )
    width = int(random.choice((480, 480, 640, 960)))
    return RainRenderer(rain, width * 3 // 4, width, seed=int(random.integers(2**31)))


def _camera_path(
    size: tuple[int, int], settings: ClipSettings, random: np.random.Generator
) -> list[np.ndarray]:
    """One 2 x 3 affine map (source -> crop) per frame: a random crop, then a camera that drives on."""
    height, width = size
    fit = max(settings.height / height, settings.width / width)
    scale = max(fit, min(1.0, 640 / width) * float(np.exp(random.uniform(np.log(0.7), np.log(1.8)))))
    left = random.uniform(0, max(0, width * scale - settings.width))
    top = random.uniform(0, max(0, height * scale - settings.height))
    first = np.array([[scale, 0, -left], [0, scale, -top], [0, 0, 1]])
    if random.random() < 0.5:
        first = np.array([[-1, 0, settings.width - 1], [0, 1, 0], [0, 0, 1]]) @ first
    still = random.random() < 0.2
    zoom = 1.0 if still else 1 + random.uniform(0, 0.03)
    shift = np.zeros(2) if still else random.normal(0, 1.5, 2)
    centre = np.array([settings.width, settings.height]) * random.uniform(0.2, 0.8, 2)
    step = np.array(
        [
            [zoom, 0, shift[0] + centre[0] * (1 - zoom)],
            [0, zoom, shift[1] + centre[1] * (1 - zoom)],
            [0, 0, 1],
        ]
    )
    views = [first]
    for _ in range(settings.frames - 1):
        views.append(step @ views[-1])
    return [view[:2] for view in views]


def _warp(picture: np.ndarray, view: np.ndarray, settings: ClipSettings, interpolation: int) -> np.ndarray:
    size = (settings.width, settings.height)
    return cv2.warpAffine(picture, view, size, flags=interpolation, borderMode=cv2.BORDER_REFLECT_101)


def _window(view: np.ndarray, storm: RainRenderer, size: tuple[int, int]) -> Window:
    """The crop's place in the picture that the rain was made for (rows matter: the veil)."""
    top = int(np.clip(-view[1, 2], 0, max(0, storm.height - size[0])))
    return Window(top, 0, *size)


def _boxes(boxes: np.ndarray | None, view: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """MAX_BOXES x 5 in pixels of the crop; boxes that are mostly outside or tiny are left out."""
    result = np.full((MAX_BOXES, 5), -1, np.float32)
    if boxes is None or not len(boxes):
        return result
    x = np.sort(view[0, 0] * boxes[:, [1, 3]] + view[0, 2], axis=1)
    y = np.sort(view[1, 1] * boxes[:, [2, 4]] + view[1, 2], axis=1)
    area = np.prod([x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]], axis=0)
    x, y = np.clip(x, 0, size[1]), np.clip(y, 0, size[0])
    inside = (x[:, 1] - x[:, 0]) * (y[:, 1] - y[:, 0])
    keep = (inside > 0.35 * area) & (inside > 36)
    kept = np.column_stack((boxes[:, 0], x[:, 0], y[:, 0], x[:, 1], y[:, 1]))[keep][:MAX_BOXES]
    result[: len(kept)] = kept
    return result
