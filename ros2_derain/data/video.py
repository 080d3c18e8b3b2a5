"""Video files as RGB arrays and back, by OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ros2_derain.errors import EvaluationError

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""Suffix of a video to the code of what it is written with."""


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
        return max(count_frames(self.path), 1)

    def first(self) -> np.ndarray:
        """The first picture: H x W x 3 uint8 RGB."""
        return next(self.frames())

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
        if kind is None and count_frames(self._path) != self.count:
            raise EvaluationError(f"{self._path.name} was not written whole: is the disk full?")


def count_frames(video: Path) -> int:
    capture = cv2.VideoCapture(str(video))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return count
