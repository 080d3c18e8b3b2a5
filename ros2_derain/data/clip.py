"""A clip on disk: consecutive pictures of one camera, read in order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from ros2_derain.data import image_files
from ros2_derain.errors import EvaluationError

CARD = "clip.yaml"
SUFFIXES = (".jpg", ".jpeg", ".png")
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
FPS = 25.0
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
        picture = image_files.read(self.files[index % len(self.files)])
        if self.size and picture.shape[1::-1] != self.size:
            picture = cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA)
        return picture


@dataclass(frozen=True)
class PictureFolder:
    """Consecutive pictures of one camera, in the order of their names.

    Attributes:
        files: the pictures.
        fps: frames per second: the rain goes on by 1 / fps seconds from file to file.
        mask: write the streaks too.
    """

    folder: Path
    files: tuple[Path, ...]
    fps: float
    mask: bool = False

    @classmethod
    def open(cls, folder: Path, fps: float | None, mask: bool = False) -> PictureFolder:
        """The pictures directly in a folder. Without ``fps`` its ``clip.yaml`` tells, else it is 25.

        Raises:
            EvaluationError: there are none, or ``clip.yaml`` is wrong.
        """
        files = tuple(sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES))
        if not files:
            raise EvaluationError(
                f"{folder} holds no picture ({', '.join(PICTURES)}) and is no bag (metadata.yaml, one .mcap "
                "or one .db3): name the folder that holds them; folders below it are not looked into"
            )
        return cls(folder, files, fps or frequency(folder / CARD) if (folder / CARD).is_file() else FPS, mask)

    def __len__(self) -> int:
        return len(self.files)

    def first(self) -> np.ndarray:
        """The first picture: H x W x 3 uint8 RGB."""
        return image_files.read(self.files[0])


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
