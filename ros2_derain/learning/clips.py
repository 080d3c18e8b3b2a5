"""Training clips: rainy clips of still images and of consecutive ones, their views, the batches of a step."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import pydantic.dataclasses
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ros2_derain.data import CAMVID_CLASSES, OBJECTS, ImageDataset, Sample
from ros2_derain.data.images import UnreadableError
from ros2_derain.networks.weather_gauge import RECENT_S
from ros2_derain.rain import GlassRenderer, GlassView, Window
from ros2_derain.validation import STRICT

from . import LearningError
from .camera_views import camera_path, earlier_views, standing_still, warp, warp_boxes
from .conditions import another_condition, camera_effects
from .random_rain import GLASS_KINDS, StreakLayers, add_streaks, random_rain, random_wet_glass
from .restored_glass import restored

MAX_BOXES = 32
FRAME_S = 1 / 15
LOOK_S = 0.2
"""Time between the images of which ``recent`` is the mean, in seconds."""
GLASS_S = 1000.0
"""Clips begin at any time up to this on a wet glass, in seconds."""

CAR = OBJECTS.index("car")
ENDLESS = 1 << 31
"""Batches that the sampler reports: the trainer stops by steps, never at the end of an epoch."""

CACHE_BYTES = 1 << 30
"""Decoded images are kept in memory up to this size, per process."""

RARE = ("pole", "sign", "fence", "car", "pedestrian", "bicyclist")
"""Classes that are pasted from one image into another."""


MOST_ROWS = 352
"""The lowest images of ``random_rain`` have 360 rows, and a crop of them is rained on."""


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class ClipSettings:
    """How clips are made.

    Attributes:
        height, width: of the crops, in pixels; multiples of 32, at most :data:`MOST_ROWS` high.
        frames: per clip.
        dry: share of clips without rain.
        zoom: range of the scale of the crops.
        light: share of clips under another exposure and white balance.
        conditions: share of clips of road scenes in another light and weather (``conditions``).
        camera: share of clips whose rainy frames have the faults of a cheap camera: blur, noise, JPEG.
        paste: share of labelled clips with rare classes of another image pasted in.
        glass: share of clips seen through wet glass; independent of ``dry``.
        glass_kinds: kinds of wet glass, equally often, of ``random_rain.GLASS_KINDS``.
        restored: share of the clips through wet glass whose frames are restored, as the loop restores them.
        layers: share of rainy photographs whose streaks are those of the recipe's ``streaks``.
        recent: share of clips with the mean of what was seen before as ``recent``; in the others that is the
            first frame; None: no clip has it.
        rains: number of different rains in the pool; one is replaced every ``renew`` clips.
    """

    height: int = 192
    width: int = 256
    frames: int = 2
    dry: float = 0.2
    zoom: tuple[float, float] = (0.7, 1.8)
    light: float = 0.3
    conditions: float = 0.0
    camera: float = 0.0
    paste: float = 0.0
    glass: float = 0.0
    glass_kinds: tuple[str, ...] = GLASS_KINDS
    restored: float = 0.0
    layers: float = 0.6
    recent: float | None = None
    rains: int = 48
    renew: int = 6

    def __post_init__(self) -> None:
        if self.height > MOST_ROWS:
            raise ValueError(f"height is {self.height}: rain is rendered on at most {MOST_ROWS} rows")
        unknown = set(self.glass_kinds) - set(GLASS_KINDS)
        if unknown or not self.glass_kinds:
            named = ", ".join(sorted(unknown)) or "none"
            raise ValueError(f"glass_kinds has {named}: give some of {', '.join(dict.fromkeys(GLASS_KINDS))}")


@dataclass
class Clips(Dataset):
    """An endless stream of clips, drawn from several sources by weight.

    Item ``i`` depends on ``seed`` and ``i`` alone, so that a run can be resumed anywhere.
    Each is a dict of tensors: ``rain`` and ``clean`` T x 3 x h x w uint8,
    ``labels`` T x h x w uint8 (255 = unlabelled), ``boxes`` T x 32 x 5 float32
    (class -1 = no box), ``boxes_known`` bool, ``follows`` bool (whether the frames are
    consecutive; else they are T views of one photograph), ``rate`` mm/h (-1 where the streaks have no known
    rate), ``streaked`` bool, ``raining`` bool (streaks, or water on glass that is not restored), ``hidden``
    T x h x w uint8 (255 = hidden by water on glass), ``contrast_loss`` 0..1 (mean over the clip, of film and
    spray); and ``recent`` 3 x h x w uint8, the mean of what was seen before the first frame, where the
    settings say so.

    Args:
        sources: datasets with their weights.
        settings: how clips are made.
        seed: of everything random.
        streaks: styles of streak layers for photographs; may be empty.
    """

    sources: list[tuple[ImageDataset, float]]
    settings: ClipSettings = field(default_factory=ClipSettings)
    seed: int = 0
    streaks: Sequence[StreakLayers] = ()
    _cache: dict[tuple[int, int], Sample] = field(default_factory=dict, init=False, repr=False)
    _bytes: int = field(default=0, init=False, repr=False)
    _unreadable: set[tuple[int, int]] = field(default_factory=set, init=False, repr=False)

    def __len__(self) -> int:
        return 1 << 40  # without end, as far as torch is concerned

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        random = np.random.default_rng((self.seed, index))
        weights = np.array([weight for _, weight in self.sources])
        source = int(random.choice(len(weights), p=weights / weights.sum()))
        samples = self._draw(source, random)
        if random.random() < self.settings.paste:
            samples = paste_still(samples, self._draw(source, random)[0], random)
        pool = index // self.settings.renew + random.integers(self.settings.rains)
        return self._clip(samples, int(pool), random)

    def _draw(self, source: int, random: np.random.Generator) -> list[Sample]:
        """The frames of a random clip of a source, from memory where they have been read before.

        They are consecutive where the source has consecutive images, else one image, repeated.
        A file that cannot be read is named once, and another one is drawn instead.
        """
        dataset = self.sources[source][0]
        key = (source, int(random.integers(len(dataset))))
        while True:
            try:
                frames = dataset.clip(key[1], self.settings.frames)
                read = {frame: self._read(dataset, (source, frame)) for frame in set(frames)}
                return [read[frame] for frame in frames]
            except UnreadableError as error:
                if key not in self._unreadable:
                    print(f"left out: {error}", file=sys.stderr, flush=True)
                self._unreadable.add(key)
                if sum(other == source for other, _ in self._unreadable) == len(dataset):
                    raise
                key = (source, int(random.integers(len(dataset))))

    def _read(self, dataset: ImageDataset, key: tuple[int, int]) -> Sample:
        if key not in self._cache:
            sample = dataset[key[1]]
            if self._bytes + sample.image.nbytes > CACHE_BYTES:
                return sample
            self._cache[key], self._bytes = sample, self._bytes + sample.image.nbytes
        return self._cache[key]

    def _clip(
        self, samples: Sequence[Sample], pool: int, random: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        settings, sample = self.settings, samples[0]
        crop = (settings.height, settings.width)
        dry = random.random() < settings.dry
        road = sample.driving and random.random() < 0.85
        streaked = not road and bool(self.streaks) and random.random() < settings.layers
        path = (sample.image.shape[:2], crop, settings.frames, settings.zoom, random)
        views = camera_path(*path)
        if not sample.driving:
            views = views[:1] + [camera_path(*path)[0] for _ in views[1:]]
        if is_moving(samples):
            views = views[:1] * len(views)
        images = self._in_another_light(samples, random)
        cheap_camera = random.random() < settings.camera
        weather = _Weather(
            rain=None if dry or streaked else (self.seed, pool, road),
            streaks=self.streaks if streaked and not dry else (),
            start_s=random.uniform(0, 60),
            glass=random_wet_glass(self.seed, pool, *crop, settings.glass_kinds)
            if random.random() < settings.glass
            else None,
            glass_start_s=random.uniform(0, GLASS_S),
        )
        restores = weather.glass is not None and random.random() < settings.restored
        seen: list[GlassView] = []
        clip: dict[str, list[np.ndarray]] = {key: [] for key in ("clean", "labels", "boxes")}
        for frame, (sample, image, view) in enumerate(zip(samples, images, views, strict=True)):
            clean = warp(image, view, crop, cv2.INTER_LINEAR)
            boxes = warp_boxes(sample.boxes, view, crop, MAX_BOXES)
            vehicles = boxes[boxes[:, 0] == CAR, 1:] if sample.boxes is not None else None
            top = int(-view[1, 2])
            which = 0 if sample.driving else frame
            shown = weather.before(clean, frame * FRAME_S, random, top, which, vehicles)
            seen.append(replace(shown, image=camera_effects(shown.image, random)) if cheap_camera else shown)
            labels = np.full(crop, 255, np.uint8)
            if sample.labels is not None:
                labels = warp(sample.labels, view, crop, cv2.INTER_NEAREST)
            clip["clean"].append(clean.transpose(2, 0, 1))
            clip["labels"].append(labels)
            clip["boxes"].append(boxes)
        rainy = restored(seen, sample.driving, random) if restores else (each.image for each in seen)
        clip["rain"] = [image.transpose(2, 0, 1) for image in rainy]
        clip["hidden"] = [each.mask for each in seen]
        item = {key: torch.from_numpy(np.stack(value)) for key, value in clip.items()}
        if settings.recent is not None:
            recent = clip["rain"][0]
            if random.random() < settings.recent:
                recent = self._recent(images[0], views[0], weather, random).transpose(2, 0, 1)
            item["recent"] = torch.from_numpy(np.ascontiguousarray(recent))
        item["boxes_known"] = torch.tensor(sample.boxes is not None)
        item["follows"] = torch.tensor(sample.driving)
        item["raining"] = torch.tensor(not dry or (weather.glass is not None and not restores))
        item["streaked"] = torch.tensor(not dry)
        item["contrast_loss"] = torch.tensor(sum(each.contrast_loss for each in seen) / len(seen))
        rate = -1.0 if not road and not dry else 0.0 if dry else random_rain(self.seed, pool, True).rain.rate
        item["rate"] = torch.tensor(rate)
        return item

    def _recent(
        self, image: np.ndarray, view: np.ndarray, weather: _Weather, random: np.random.Generator
    ) -> np.ndarray:
        """The mean of what the camera saw before a frame, as :class:`WeatherGauge` gets it; h x w x 3 uint8.

        Water stands still or runs down while the scene moves. Parts of the scene stand still too, such as
        the own car's bonnet or a vehicle that is followed, and are no water.
        """
        crop = (self.settings.height, self.settings.width)
        views = earlier_views(view, crop, random)
        ages = LOOK_S * np.arange(1, len(views) + 1)
        weights = np.exp((LOOK_S - ages) / RECENT_S) * -math.expm1(-LOOK_S / RECENT_S)
        weights[-1] += 1 - weights.sum()
        still = standing_still(crop, random)
        now = warp(image, view, crop, cv2.INTER_LINEAR).astype(np.float32)
        mean = np.zeros_like(now)
        groups = min(len(views), 4 if weather.changes else 2)
        for group in np.array_split(np.arange(len(views)), groups):
            scene, share = np.zeros_like(now), weights[group].sum()
            for index in group:
                scene += weights[index] / share * warp(image, views[index], crop, cv2.INTER_LINEAR)
            scene += (now - scene) * still
            earlier = np.clip(scene + 0.5, 0, 255).astype(np.uint8)
            age_s = float(weights[group] @ ages[group] / share)
            mean += share * weather.before(earlier, -age_s, random).image
        return np.clip(mean + 0.5, 0, 255).astype(np.uint8)

    def _in_another_light(self, samples: Sequence[Sample], random: np.random.Generator) -> list[np.ndarray]:
        """The images of a clip, all in the same light and weather."""
        lit = light_table(random) if random.random() < self.settings.light else None
        changed = samples[0].driving and random.random() < self.settings.conditions
        seed = int(random.integers(2**31))
        done: dict[int, np.ndarray] = {}
        for sample in samples:
            if id(sample) not in done:
                image = sample.image if lit is None else cv2.LUT(sample.image, lit)
                if changed:
                    image = another_condition(image, sample.labels, np.random.default_rng(seed))
                done[id(sample)] = image
        return [done[id(sample)] for sample in samples]


@dataclass(frozen=True)
class _Weather:
    """Rain and wet glass before the camera of a clip.

    Attributes:
        rain: seed, index and kind of :func:`random_rain`; None: none is rendered.
        streaks: styles of streaks that are added instead.
        glass: before the camera, if any.
        start_s, glass_start_s: of rain and glass at the clip's time 0.
    """

    rain: tuple[int, int, bool] | None
    streaks: Sequence[StreakLayers]
    glass: GlassRenderer | None
    start_s: float
    glass_start_s: float

    @property
    def changes(self) -> bool:
        """Whether it looks otherwise a moment later."""
        return (
            self.rain is not None
            or bool(self.streaks)
            or (self.glass is not None and self.glass.glass.wiper > 0)
        )

    def before(
        self,
        clean: np.ndarray,
        time_s: float,
        random: np.random.Generator,
        top: int = 0,
        number: int = 0,
        vehicles: np.ndarray | None = None,
    ) -> GlassView:
        """What the camera sees of the h x w x 3 uint8 scene.

        Args:
            clean: the scene.
            time_s: in the clip.
            random: of added streaks.
            top: row of the whole image at which the crop begins.
            number: of the rain after ``rain``.
            vehicles: boxes in pixels, for their spray.
        """
        crop = clean.shape[:2]
        if self.streaks:
            rain = add_streaks(clean, self.streaks, random)
        elif self.rain is not None:
            seed, index, road = self.rain
            renderer = random_rain(seed, index + number, road)
            first = int(np.clip(top, 0, max(0, renderer.height - crop[0])))
            rain = renderer.render(clean, self.start_s + time_s, Window(first, 0, *crop))
        else:
            rain = clean
        if self.glass is None:
            return GlassView(rain, np.zeros(crop, np.uint8), 0.0, 0.0)
        return self.glass.render(rain, max(0.0, self.glass_start_s + time_s), vehicles)


def is_moving(samples: Sequence[Sample]) -> bool:
    """Whether a clip has frames of its own, and is not one image, repeated."""
    return any(sample is not samples[0] for sample in samples)


def paste_still(samples: list[Sample], donor: Sample, random: np.random.Generator) -> list[Sample]:
    """:func:`paste` for a clip of one image; a clip that moves stays as it is."""
    return samples if is_moving(samples) else [paste(samples[0], donor, random)] * len(samples)


def paste(sample: Sample, donor: Sample, random: np.random.Generator) -> Sample:
    """Some rare classes of another labelled image of the same size over this one, with labels and boxes.

    After ClassMix (Olsson et al., WACV 2021), with ground truth on both sides.
    """
    if sample.labels is None or donor.labels is None or sample.labels.shape != donor.labels.shape:
        return sample
    chosen = [name for name in RARE if random.random() < 0.6]
    mask = np.isin(donor.labels, [CAMVID_CLASSES.index(name) for name in chosen])
    boxes = sample.boxes
    if boxes is not None and donor.boxes is not None:
        moved = [OBJECTS.index(name) for name in chosen if name in OBJECTS]
        boxes = np.concatenate((boxes, donor.boxes[np.isin(donor.boxes[:, 0], moved)]))
    image = np.where(mask[:, :, None], donor.image, sample.image)
    return replace(sample, image=image, labels=np.where(mask, donor.labels, sample.labels), boxes=boxes)


def light_table(random: np.random.Generator) -> np.ndarray:
    """Another exposure, contrast and white balance, as a 256 x 1 x 3 uint8 table for ``cv2.LUT``."""
    table = np.arange(256, dtype=np.float32)[:, None] / 255
    table = table ** float(np.exp(random.uniform(-0.35, 0.35)))
    table = 0.5 + (table - 0.5) * random.uniform(0.75, 1.2) + random.uniform(-0.08, 0.08)
    table = table * random.uniform(0.85, 1.15, 3).astype(np.float32)
    return np.clip(table * 255 + 0.5, 0, 255).astype(np.uint8)[:, None, :]


class Batches(Sampler[list[int]]):
    """Step s of a run sees the clips s * batch .. (s + 1) * batch - 1, divided among the processes.

    A function of the step alone, so that a run resumes exactly, on any machine.

    Args:
        batch: clips per step, over all processes.
        start: the first step to do.
        rank, world: this process among those that train together.

    Raises:
        LearningError: the batch cannot be divided evenly.
    """

    def __init__(self, batch: int, start: int = 0, rank: int = 0, world: int = 1):
        if batch % world:
            raise LearningError(
                f"batch: {batch} clips cannot be divided evenly among {world} processes: "
                f"choose a multiple of {world}, or another number of processes"
            )
        self.batch, self.start, self.rank, self.share = batch, start, rank, batch // world

    def __len__(self) -> int:
        return ENDLESS

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, ENDLESS):
            first = step * self.batch + self.rank * self.share
            yield list(range(first, first + self.share))


def loader(clips: Dataset, batches: Batches, workers: int) -> DataLoader:
    """Batches of clips, made by ``workers`` processes ahead of time (0 = in this process).

    Workers ignore Ctrl-C and SIGTERM: the process that trains still needs them for its last step.
    """
    options: dict[str, Any] = {"prefetch_factor": 3, "persistent_workers": True} if workers else {}
    return DataLoader(
        clips,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_ignore_signals,
        **options,
    )


def default_workers(world: int = 1) -> int:
    """Processes that make clips, 1..8: one for each core that training leaves."""
    return max(1, min(8, len(os.sched_getaffinity(0)) // world - 1))


def _ignore_signals(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
