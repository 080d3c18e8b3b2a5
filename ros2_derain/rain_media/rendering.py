"""Rendered rain and wet glass on images of any size, image files, folders of images and videos."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from ros2_derain.data.clips import CARD, Clip, Video, VideoWriter
from ros2_derain.data.images import DataError, check_unique_stems, read_image, write_image
from ros2_derain.rain import Glass, GlassRenderer, GlassView, Rain, RainRenderer

CAMERA_SEEDS = 1000
"""Distance between the seeds of two cameras, so that each has streaks of its own."""

STREAKS = "streaks"
"""Folder, or suffix of the stem, of the streak masks."""
GLASS_TABLE = "glass.csv"
"""Of a folder of masks: coverage and loss of contrast of every image."""

COLUMNS = 4
CELL_WIDTH = 480
CAPTION_HEIGHT = 30
GAP = 4


class RainMediaError(Exception):
    """Rain cannot be put onto an input; the message says why and what to do."""


@dataclass(frozen=True)
class RainOverlay:
    """One rain for frames of any size, of several cameras, at any time.

    Attributes:
        label: distinguishes it from others on the same frames: a folder's name.
        rain: its parameters.
        seed: of the first camera's streaks, and of its glass, to which the glass's own seed is added.
        glass: before the camera; None: none.
        start_s: added to all times.
    """

    label: str
    rain: Rain
    seed: int = 0
    glass: Glass | None = None
    start_s: float = 0.0
    _glasses: dict[tuple[int, int, int], GlassRenderer] = field(
        default_factory=dict, compare=False, repr=False
    )
    _renderers: dict[tuple[int, int, int], RainRenderer] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    def of_rate(cls, rate: float, seed: int = 0) -> RainOverlay:
        """Natural rain of a rate in mm/h."""
        return cls(f"{rate:g}", Rain(rate), seed)

    @property
    def caption(self) -> str:
        """For people, below an image."""
        rate = f"{self.rain.rate:g} mm/h"
        if self.glass:
            listed = re.sub(r"_(?=[a-z]*\d|glass)", ", ", self.label).replace("_", " ")
            described = re.sub(r"(?<=[a-z])(?=\d)", " ", listed).replace("glassauto", "glass auto")
            return described.replace(f"{self.rain.rate:g},", f"{rate},", 1) if self.rain.rate else described
        return rate if self.label == f"{self.rain.rate:g}" else f"{self.label.split('_')[0]}, {rate}"

    def render(self, image: np.ndarray, time_s: float = 0.0, camera: int = 0) -> np.ndarray:
        """A copy of the H x W x 3 uint8 RGB image with the rain and the glass of that time."""
        return self.view(image, time_s, camera).image

    def view(self, image: np.ndarray, time_s: float = 0.0, camera: int = 0) -> GlassView:
        """As :meth:`render`, with what the glass hides."""
        time_s += self.start_s
        rainy = self._renderer(image, camera).render(image, time_s)
        if self.glass is None:
            return GlassView(rainy, np.zeros(image.shape[:2], np.uint8), coverage=0.0, contrast_loss=0.0)
        return self._glass_renderer(self.glass, image, camera).render(rainy, time_s)

    def streaks(self, image: np.ndarray, time_s: float = 0.0) -> np.ndarray:
        """H x W uint8 brightness of the streaks that :meth:`render` adds to the image."""
        return np.round(255 * self._renderer(image, 0).streaks(time_s + self.start_s)).astype(np.uint8)

    def camera_seed(self, camera: int) -> int:
        """Seed of a camera's rain, by the camera's number."""
        return self.seed + CAMERA_SEEDS * camera

    def _renderer(self, image: np.ndarray, camera: int) -> RainRenderer:
        height, width = image.shape[:2]
        key = (height, width, camera)
        if key not in self._renderers:
            self._renderers[key] = RainRenderer(self.rain, height, width, seed=self.camera_seed(camera))
        return self._renderers[key]

    def _glass_renderer(self, glass: Glass, image: np.ndarray, camera: int) -> GlassRenderer:
        height, width = image.shape[:2]
        key = (height, width, camera)
        if key not in self._glasses:
            of_camera = replace(glass, seed=glass.seed + self.camera_seed(camera))
            self._glasses[key] = GlassRenderer(of_camera, height, width)
        return self._glasses[key]


class GlassMasks:
    """Writes what water hides in each image (``<name>.png``, 255 = hidden) and, last, :data:`GLASS_TABLE`.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._rows: list[tuple[str, str, str]] = []

    def write(self, name: str, view: GlassView) -> None:
        """Write the mask of an image."""
        write_image(self.folder / f"{name}.png", view.mask)
        self._rows.append((f"{name}.png", f"{view.coverage:.5f}", f"{view.contrast_loss:.5f}"))

    def close(self) -> None:
        """Write the table."""
        table = self.folder / GLASS_TABLE
        with table.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(("mask", "coverage", "contrast_loss"))
            writer.writerows(self._rows)


@dataclass(frozen=True)
class ImageFile:
    """A single image; the rain is that of time 0.

    Attributes:
        mask: write the streaks too.
    """

    path: Path
    mask: bool = False

    def __len__(self) -> int:
        return 1

    def first(self) -> np.ndarray:
        """The image: H x W x 3 uint8 RGB."""
        return read_image(self.path)

    def rain(
        self, overlay: RainOverlay, target: Path, step: Callable[[], None], masks: GlassMasks | None = None
    ) -> dict:
        """Write the rainy image to ``target``, the streaks beside it as ``<stem>.streaks.png``."""
        image = read_image(self.path)
        view = overlay.view(image)
        write_image(target, view.image)
        if masks:
            masks.write(self.path.stem, view)
        if self.mask:
            write_image(target.with_name(f"{target.stem}.{STREAKS}.png"), overlay.streaks(image))
        step()
        return {"images": 1}


@dataclass(frozen=True)
class ImageFolder:
    """A folder of consecutive images.

    Attributes:
        mask: write the streaks too.
    """

    clip: Clip
    mask: bool = False

    def __len__(self) -> int:
        return len(self.clip)

    def first(self) -> np.ndarray:
        """The first image that can be read: H x W x 3 uint8 RGB."""
        for index in range(len(self.clip)):
            try:
                return self.clip.read(index)
            except DataError:
                continue
        return self.clip.read(0)

    def rain(
        self, overlay: RainOverlay, target: Path, step: Callable[[], None], masks: GlassMasks | None = None
    ) -> dict:
        """Write rainy images of the same names into ``target``, the streaks into ``target/streaks``.

        A file that cannot be read is left out and listed in ``left_out``.

        Raises:
            DataError: no file can be read, or the streaks of two would have one name.
        """
        if self.mask or masks:
            check_unique_stems(self.clip.files)
        target.mkdir(parents=True)
        if self.mask:
            (target / STREAKS).mkdir()
        left_out = []
        for index, path in enumerate(self.clip.files):
            step()
            try:
                image, time_s = self.clip.read(index), index / self.clip.fps
            except DataError as error:
                left_out.append(str(error))
                continue
            view = overlay.view(image, time_s)
            write_image(target / path.name, view.image)
            if masks:
                masks.write(path.stem, view)
            if self.mask:
                write_image(target / STREAKS / f"{path.stem}.png", overlay.streaks(image, time_s))
        if len(left_out) == len(self.clip):
            raise DataError(f"no image of {self.clip.folder} can be read; the first: {left_out[0]}")
        if (self.clip.folder / CARD).is_file():
            shutil.copyfile(self.clip.folder / CARD, target / CARD)
        facts = {"images": len(self.clip) - len(left_out), "fps": self.clip.fps}
        return facts | ({"left_out": left_out} if left_out else {})


@dataclass(frozen=True)
class VideoFile:
    """A video."""

    video: Video

    def __len__(self) -> int:
        return len(self.video)

    def first(self) -> np.ndarray:
        """The first frame: H x W x 3 uint8 RGB."""
        return self.video.read(0)

    def rain(
        self, overlay: RainOverlay, target: Path, step: Callable[[], None], masks: GlassMasks | None = None
    ) -> dict:
        """Write the rainy video to ``target`` (.mp4: MPEG-4, .avi: Motion JPEG), at the same times."""
        with VideoWriter(target, self.video.frame_rate()) as writer:
            for time_s, frame in self.video.frames():
                view = overlay.view(frame, time_s)
                if masks:
                    masks.write(f"{writer.count:06d}", view)
                writer.write(view.image, time_s)
                step()
        return {"images": writer.count, "fps": self.video.fps}


def rain_clip(
    clip: Clip, rate: float, frames: int, folder: Path, progress: Callable[[], None] = lambda: None
) -> None:
    """Write a clip with rain, one PNG per frame.

    The rain falls at the frame rate at which the images were taken, whatever the rate of playback.

    Args:
        rate: mm/h.
        frames: number of frames; after the last image the clip starts again.
        folder: output; made where it is missing.
        progress: called after each frame.
    """
    folder.mkdir(parents=True, exist_ok=True)
    overlay = RainOverlay.of_rate(rate)
    for index in range(frames):
        rainy = overlay.render(clip.read(index), index / clip.fps)
        write_image(folder / f"{index:06d}.png", rainy, fast=True)
        progress()


def comparison_grid(image: np.ndarray, overlays: Sequence[RainOverlay]) -> np.ndarray:
    """A grid of one image in each rain, with captions, at most four in a row.

    Args:
        image: H x W x 3 uint8 RGB.
        overlays: one or more.

    Returns:
        rows x columns cells of up to 480 pixels width, as one H' x W' x 3 uint8 RGB.
    """
    cells = [_cell(overlay.render(image), overlay.caption) for overlay in overlays]
    columns = min(len(cells), COLUMNS)
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.hstack(cells[start : start + columns]) for start in range(0, len(cells), columns)]
    return np.vstack(rows)[:, :-GAP]


def _cell(image: np.ndarray, caption: str) -> np.ndarray:
    height, width = image.shape[:2]
    if width > CELL_WIDTH:
        scaled = (CELL_WIDTH, round(height * CELL_WIDTH / width))
        image = cv2.resize(image, scaled, interpolation=cv2.INTER_AREA)
    cell = cv2.copyMakeBorder(image, 0, CAPTION_HEIGHT, 0, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    place, font = (6, cell.shape[0] - 9), cv2.FONT_HERSHEY_SIMPLEX
    return cv2.putText(cell, caption, place, font, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
