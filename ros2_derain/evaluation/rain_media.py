"""Rain on pictures, folders of consecutive pictures and videos."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ros2_derain.evaluation.clip import CARD, frequency
from ros2_derain.evaluation.errors import EvaluationError
from ros2_derain.evaluation.picture_files import read, write
from ros2_derain.evaluation.rain_shower import Shower

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""Suffix of a video to the code of what it is written with."""

FPS = 25.0
MASKS = "streaks"


@dataclass(frozen=True)
class PictureFile:
    """One picture; the rain is that of time 0.

    Attributes:
        mask: write the streaks too.
    """

    path: Path
    mask: bool = False

    def __len__(self) -> int:
        return 1

    def first(self) -> np.ndarray:
        """The picture: H x W x 3 uint8 RGB."""
        return read(self.path)

    def rain(self, shower: Shower, target: Path, step: Callable[[], None]) -> dict:
        """Write the rainy picture to ``target``, the streaks beside it as ``<stem>.streaks.png``."""
        picture = read(self.path)
        write(target, shower.over(picture))
        if self.mask:
            write(target.with_name(f"{target.stem}.{MASKS}.png"), shower.streaks(picture))
        step()
        return {"pictures": 1}


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
        return cls(folder, files, fps or _told(folder / CARD), mask)

    def __len__(self) -> int:
        return len(self.files)

    def first(self) -> np.ndarray:
        """The first picture: H x W x 3 uint8 RGB."""
        return read(self.files[0])

    def rain(self, shower: Shower, target: Path, step: Callable[[], None]) -> dict:
        """Write rainy pictures of the same names into ``target``, the streaks into ``target/streaks``."""
        target.mkdir(parents=True)
        if self.mask:
            (target / MASKS).mkdir()
        for index, path in enumerate(self.files):
            picture, time_s = read(path), index / self.fps
            write(target / path.name, shower.over(picture, time_s))
            if self.mask:
                write(target / MASKS / f"{path.stem}.png", shower.streaks(picture, time_s))
            step()
        if (self.folder / CARD).is_file():
            shutil.copyfile(self.folder / CARD, target / CARD)
        return {"pictures": len(self.files), "fps": self.fps}


@dataclass(frozen=True)
class Video:
    """A video file; its sound is not kept.

    Attributes:
        fps: frames per second, of the video and of the rain.
    """

    path: Path
    fps: float

    @classmethod
    def open(cls, path: Path, fps: float | None) -> Video:
        """A video that OpenCV reads, at its own speed unless ``fps`` is given.

        Raises:
            EvaluationError: it can't be read, or says nothing of its speed.
        """
        capture = cv2.VideoCapture(str(path))
        opened, told = capture.isOpened(), capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        if not opened:
            raise EvaluationError(f"{path} is not a video that can be decoded")
        if not fps and not 0 < told < 1000:
            raise EvaluationError(f"{path} does not say how fast it is (fps {told:g}): add --fps")
        return cls(path, fps or told)

    def __len__(self) -> int:
        return max(_count(self.path), 1)

    def first(self) -> np.ndarray:
        """The first picture: H x W x 3 uint8 RGB."""
        return next(self.frames())

    def rain(self, shower: Shower, target: Path, step: Callable[[], None]) -> dict:
        """Write the rainy video to ``target`` (.mp4: MPEG-4, .avi: Motion JPEG)."""
        with NewVideo(target, self.fps) as video:
            for picture in self.frames():
                video.write(shower.over(picture, video.count / self.fps))
                step()
        return {"pictures": video.count, "fps": self.fps}

    def frames(self) -> Iterator[np.ndarray]:
        """Its pictures: H x W x 3 uint8 RGB.

        Raises:
            EvaluationError: the first cannot be decoded.
        """
        capture = cv2.VideoCapture(str(self.path))
        try:
            found, frame = capture.read()
            if not found:
                raise EvaluationError(f"{self.path} holds no picture that can be decoded")
            while found:
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                found, frame = capture.read()
        finally:
            capture.release()


class NewVideo:
    """A video file that is being written. Use it as a context manager.

    Args:
        path: ends in .mp4 (MPEG-4) or .avi (Motion JPEG).
        fps: frames per second.

    Raises:
        EvaluationError: OpenCV cannot write it, or it was not written whole.

    Attributes:
        count: pictures so far.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.count = 0
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def write(self, picture: np.ndarray) -> None:
        """Add an H x W x 3 uint8 RGB picture; one of another size is scaled to the first's."""
        if self._writer is None:
            self._size = picture.shape[1::-1]
            codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self._path), codec, self._fps, self._size)
            if not self._writer.isOpened():
                raise EvaluationError(f"OpenCV cannot write {self._path.name} here: try .avi instead of .mp4")
        if picture.shape[1::-1] != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self.count += 1

    def __enter__(self) -> NewVideo:
        return self

    def __exit__(self, kind, *_) -> None:
        if self._writer is not None:
            self._writer.release()
        if kind is None and _count(self._path) != self.count:
            raise EvaluationError(f"{self._path.name} was not written whole: is the disk full?")


def _count(video: Path) -> int:
    capture = cv2.VideoCapture(str(video))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return count


def _told(card: Path) -> float:
    return frequency(card) if card.is_file() else FPS
