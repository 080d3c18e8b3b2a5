"""A clip on disk: consecutive pictures of one camera, with the rain that is put onto them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from ros2_derain.evaluation import picture_files
from ros2_derain.evaluation.errors import EvaluationError
from ros2_derain.evaluation.rain_shower import Shower

CARD = "clip.yaml"
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
        described, fps = _card(folder / CARD)
        files = tuple(sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES))
        if not files:
            raise EvaluationError(f"{folder} holds no JPEG or PNG: name a folder of consecutive pictures")
        title, source = str(described.get("title", folder.name)), str(described.get("source", ""))
        return cls(folder, files, fps, size, title, source)

    def read(self, index: int) -> np.ndarray:
        """Picture ``index``, counted on from the start after the end: H x W x 3 uint8 RGB."""
        picture = picture_files.read(self.files[index % len(self.files)])
        if self.size and picture.shape[1::-1] != self.size:
            picture = cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA)
        return picture

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
        shower = Shower.of_rate(rate)
        for index in range(frames):
            rainy = shower.over(self.read(index), index / self.fps)
            picture_files.write(folder / f"{index:06d}.png", rainy, quick=True)
            progress()


def frequency(card: Path) -> float:
    """Frames per second, from a ``clip.yaml``.

    Raises:
        EvaluationError: it is missing, or does not say.
    """
    return _card(card)[1]


def _card(card: Path) -> tuple[dict, float]:
    """All that a ``clip.yaml`` says, and the frames per second."""
    try:
        described = yaml.safe_load(card.read_text(encoding="utf-8"))
        fps = float(described["fps"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise EvaluationError(f"{card} must give the clip's fps, such as 'fps: 25' ({error!r})") from error
    if not 0 < fps < 1000:
        raise EvaluationError(f"{card} gives fps {fps:g}: it must be > 0 and < 1000")
    return described, fps


def size(text: str) -> tuple[int, int]:
    """``960x540`` -> (960, 540): a size on the command line.

    Raises:
        ValueError: it is not WIDTHxHEIGHT with both >= 64.
    """
    width, height = (int(side) for side in text.lower().split("x"))
    if min(width, height) < MIN_SIDE:
        raise ValueError(text)
    return width, height
