"""A clip on disk: consecutive pictures of one camera, with the rain that is put onto them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from ros2_derain.evaluation.errors import EvaluationError
from ros2_derain.rain import Rain, RainRenderer

SUFFIXES = (".jpg", ".jpeg", ".png")
MIN_SIDE = 64


@dataclass(frozen=True)
class Clip:
    """Consecutive pictures.

    Attributes:
        folder: where they are.
        files: their paths, in order.
        fps: frames per second at which they were taken.
        size: (width, height) in pixels at which they are read; None: as they are.
        title, source: what they show and where they come from, for the report.
    """

    folder: Path
    files: tuple[Path, ...]
    fps: float
    size: tuple[int, int] | None = None
    title: str = ""
    source: str = ""

    @classmethod
    def open(cls, folder: Path, size: tuple[int, int] | None = None) -> Clip:
        """A folder of JPEG or PNG files with a ``clip.yaml`` that gives at least ``fps``.

        Raises:
            EvaluationError: there are no pictures, or ``clip.yaml`` is missing or wrong.
        """
        card = folder / "clip.yaml"
        try:
            described = yaml.safe_load(card.read_text(encoding="utf-8"))
            fps = float(described["fps"])
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"{card} must give the clip's fps, such as 'fps: 25' ({error!r})"
            ) from error
        files = tuple(sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES))
        if not files:
            raise EvaluationError(f"{folder} holds no JPEG or PNG: name a folder of consecutive pictures")
        title, source = str(described.get("title", folder.name)), str(described.get("source", ""))
        return cls(folder, files, fps, size, title, source)

    def read(self, index: int) -> np.ndarray:
        """Picture ``index``, counted on from the start after the end: H x W x 3 uint8 RGB."""
        path = self.files[index % len(self.files)]
        picture = cv2.imread(str(path))
        if picture is None:
            raise EvaluationError(f"{path} is not a picture that can be decoded: restore it")
        if self.size and picture.shape[1::-1] != self.size:
            picture = cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def rain(
        self, rate: float, frames: int, folder: Path, progress: Callable[[], None] = lambda: None
    ) -> None:
        """Write the clip with rain, one PNG per frame.

        The rain falls at the speed at which the pictures were taken, however fast the
        result is played.

        Args:
            rate: mm/h.
            frames: how many; at most as many as there are pictures.
            folder: where to; made if it isn't there.
            progress: called after each frame.
        """
        folder.mkdir(parents=True, exist_ok=True)
        renderer = None
        for index in range(frames):
            picture = self.read(index)
            renderer = renderer or RainRenderer(Rain(rate=rate), *picture.shape[:2], seed=0)
            rainy = renderer.render(picture, index / self.fps)
            write_png(folder / f"{index:06d}.png", rainy)
            progress()


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write an H x W x 3 uint8 RGB picture without loss, quickly rather than small.

    Raises:
        EvaluationError: the file cannot be written.
    """
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise EvaluationError(f"{path} cannot be written: is the disk full, or the folder read-only?")


def size(text: str) -> tuple[int, int]:
    """``960x540`` -> (960, 540): a size on the command line.

    Raises:
        ValueError: it is not WIDTHxHEIGHT with both >= 64.
    """
    width, height = (int(side) for side in text.lower().split("x"))
    if min(width, height) < MIN_SIDE:
        raise ValueError(text)
    return width, height
