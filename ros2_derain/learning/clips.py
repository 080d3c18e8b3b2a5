"""Short rainy clips from stills: the camera moves, the rain falls, the labels follow."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from ros2_derain.data import Sample, Source
from ros2_derain.rain import Window

from .random_rain import recompose, storm
from .views import camera_path, light, paste, warp, warp_boxes

MAX_BOXES = 32
FRAME_S = 1 / 15
LENGTH = 1 << 40
"""Items of the endless stream."""

KEPT_BYTES = 1 << 30
"""Decoded pictures are kept in memory up to this size, per process."""


@dataclass(frozen=True)
class ClipSettings:
    """How clips are made.

    Attributes:
        height, width: of the crops, in pixels; multiples of 32.
        frames: per clip.
        dry: share of clips without rain.
        zoom: range of the scale of the crops.
        light: share of clips under another exposure and white balance.
        paste: share of labelled clips with rare classes of another picture pasted in.
        layers: share of rainy photographs whose streaks come from real rain/clean pairs.
        storms: number of different rains in the pool; one is replaced every ``renew`` clips.
    """

    height: int = 192
    width: int = 256
    frames: int = 2
    dry: float = 0.2
    zoom: tuple[float, float] = (0.7, 1.8)
    light: float = 0.3
    paste: float = 0.0
    layers: float = 0.6
    storms: int = 48
    renew: int = 6


@dataclass
class Clips(Dataset):
    """An endless stream of clips, drawn from several sources by weight.

    Item ``i`` depends on ``seed`` and ``i`` alone, so that a run can go on anywhere.
    Each is a dict of tensors: ``rain`` and ``clean`` T x 3 x h x w uint8,
    ``labels`` T x h x w uint8 (255 = unlabelled), ``boxes`` T x 32 x 5 float32
    (class -1 = no box), ``boxes_known`` bool, ``follows`` bool (whether the frames are
    consecutive; else they are T views of one picture), ``rate`` mm/h (-1 where the rain
    is not of the kind the gauge is meant for), ``raining`` bool.

    Args:
        sources: data sets with their weights.
        settings: how clips are made.
        seed: of everything random.
        layers: streak layers of real pairs, h x w uint8 each; may be empty.
    """

    sources: list[tuple[Source, float]]
    settings: ClipSettings = field(default_factory=ClipSettings)
    seed: int = 0
    layers: list[np.ndarray] = field(default_factory=list)
    _kept: dict[tuple[int, int], Sample] = field(default_factory=dict, init=False, repr=False)
    _bytes: int = field(default=0, init=False, repr=False)

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        random = np.random.default_rng((self.seed, index))
        weights = np.array([weight for _, weight in self.sources])
        source = int(random.choice(len(weights), p=weights / weights.sum()))
        sample = self._drawn(source, random)
        if random.random() < self.settings.paste:
            sample = paste(sample, self._drawn(source, random), random)
        pool = index // self.settings.renew + random.integers(self.settings.storms)
        return self._clip(sample, int(pool), random)

    def _drawn(self, source: int, random: np.random.Generator) -> Sample:
        """A random sample of a source, from memory where it has been read before."""
        dataset = self.sources[source][0]
        key = (source, int(random.integers(len(dataset))))
        if key not in self._kept:
            sample = dataset[key[1]]
            if self._bytes + sample.image.nbytes > KEPT_BYTES:
                return sample
            self._kept[key], self._bytes = sample, self._bytes + sample.image.nbytes
        return self._kept[key]

    def _clip(self, sample: Sample, pool: int, random: np.random.Generator) -> dict[str, torch.Tensor]:
        settings = self.settings
        crop = (settings.height, settings.width)
        dry = random.random() < settings.dry
        road = sample.driving and random.random() < 0.85
        layered = not road and bool(self.layers) and random.random() < settings.layers
        path = (sample.image.shape[:2], crop, settings.frames, settings.zoom, random)
        views = camera_path(*path)
        if not sample.driving:
            views = views[:1] + [camera_path(*path)[0] for _ in views[1:]]
        image = light(sample.image, random) if random.random() < settings.light else sample.image
        start = random.uniform(0, 60)
        clip: dict[str, list[np.ndarray]] = {"rain": [], "clean": [], "labels": [], "boxes": []}
        for frame, view in enumerate(views):
            clean = warp(image, view, crop, cv2.INTER_LINEAR)
            if dry:
                rain = clean
            elif layered:
                rain = recompose(clean, self.layers, random)
            else:
                renderer = storm(self.seed, pool if sample.driving else pool + frame, road)
                top = int(np.clip(-view[1, 2], 0, max(0, renderer.height - crop[0])))
                rain = renderer.render(clean, start + frame * FRAME_S, Window(top, 0, *crop))
            labels = np.full(crop, 255, np.uint8)
            if sample.labels is not None:
                labels = warp(sample.labels, view, crop, cv2.INTER_NEAREST)
            clip["clean"].append(clean.transpose(2, 0, 1))
            clip["rain"].append(rain.transpose(2, 0, 1))
            clip["labels"].append(labels)
            clip["boxes"].append(warp_boxes(sample.boxes, view, crop, MAX_BOXES))
        item = {key: torch.from_numpy(np.stack(value)) for key, value in clip.items()}
        item["boxes_known"] = torch.tensor(sample.boxes is not None)
        item["follows"] = torch.tensor(sample.driving)
        item["raining"] = torch.tensor(not dry)
        rate = -1.0 if not road and not dry else 0.0 if dry else storm(self.seed, pool, True).rain.rate
        item["rate"] = torch.tensor(rate)
        return item
