"""Consecutive frames of one camera: folders of images and video files, read and written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from ros2_derain.image_decoding import LFS_POINTER

from .images import DataError, list_images, read_image
from .mp4_times import set_presentation_times

CARD = "clip.yaml"
FPS = 25.0
"""Frames per second of a folder that does not state its own."""
MAX_FPS = 1000.0
MAX_WRITTEN_FPS = 240.0
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
"""Suffix of a video -> FourCC of the codec that it is written with."""


@dataclass(frozen=True)
class Clip:
    """A folder of consecutive images, in natural order of their names.

    Attributes:
        folder: the folder.
        files: the images, in order.
        fps: frames per second at which they were taken.
        size: (width, height) in pixels to which they are scaled; None: they stay as they are.
        title, source: their content and origin, for reports.
        camera: parameters of planner_node that say where the camera was, as far as is known.
    """

    folder: Path
    files: tuple[Path, ...]
    fps: float
    size: tuple[int, int] | None = None
    title: str = ""
    source: str = ""
    camera: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        folder: Path,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        default_fps: float | None = None,
    ) -> Clip:
        """A folder of images; its ``clip.yaml`` gives ``fps``, perhaps ``title``, ``source`` and ``camera``.

        Args:
            fps: instead of that of ``clip.yaml``.
            default_fps: where neither states it.

        Raises:
            DataError: there is no image, ``clip.yaml`` is malformed, or nothing states the fps.
        """
        files = tuple(list_images(folder))
        card = folder / CARD
        described: dict[str, Any] = {"fps": default_fps}
        if card.is_file() or fps is None and default_fps is None:
            described = _read_card(card)
        title, source = str(described.get("title", folder.name)), str(described.get("source", ""))
        camera = dict(described.get("camera") or {})
        return cls(folder, files, fps or float(described["fps"]), size, title, source, camera)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int) -> np.ndarray:
        """Frame ``index`` (after the last one the clip starts again): H x W x 3 uint8 RGB.

        Raises:
            DataError: the file cannot be read.
        """
        image = read_image(self.files[index % len(self.files)])
        if self.size and image.shape[1::-1] != self.size:
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA)
        return image


@dataclass(frozen=True)
class Video:
    """A video file; its sound is not read.

    Attributes:
        fps: frames per second; an average where they are not evenly spaced.
        constant: frames are ``1 / fps`` apart, whatever their presentation times.
    """

    path: Path
    fps: float
    constant: bool = False

    @classmethod
    def open(cls, path: Path, fps: float | None = None) -> Video:
        """A video that OpenCV can decode; ``fps`` replaces its presentation times and frame rate.

        Raises:
            DataError: it cannot be decoded, or states no frame rate.
        """
        capture = _capture(path)
        opened, stated = capture.isOpened(), capture.get(cv2.CAP_PROP_FPS)
        capture.release()
        if not opened:
            raise DataError(f"{path} is not a video that can be decoded: {_advice(path)}")
        if not fps and not 0 < stated < MAX_FPS:
            raise DataError(f"{path} states no frame rate (fps {stated:g}): pass --fps")
        return cls(path, fps or stated, constant=fps is not None)

    def __len__(self) -> int:
        return max(count_frames(self.path), 1)

    def read(self, index: int) -> np.ndarray:
        """Frame ``index``: H x W x 3 uint8 RGB. All frames before it are decoded.

        Raises:
            DataError: it cannot be decoded.
        """
        for number, (_, frame) in enumerate(self.frames()):
            if number == index:
                return frame
        raise DataError(f"{self.path} has no frame {index} that can be decoded")

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Presentation time [s] since the first frame, and image (H x W x 3 uint8 RGB), of each frame.

        Where a container's times do not increase, a frame is ``1 / fps`` after the one before.

        Raises:
            DataError: the first cannot be decoded.
        """
        capture = _capture(self.path)
        try:
            found, frame = capture.read()
            if not found:
                raise DataError(f"{self.path} has no frame that can be decoded: {_advice(self.path)}")
            first_s, time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3, 0.0
            while found:
                yield time_s, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                found, frame = capture.read()
                next_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3 - first_s
                time_s = time_s + 1 / self.fps if self.constant or next_s <= time_s else next_s
        finally:
            capture.release()

    def frame_rate(self) -> float:
        """Frames per second by their times, for a copy at a constant rate; decodes all frames."""
        return (not self.constant and frame_rate([time_s for time_s, _ in self.frames()])) or self.fps


class VideoWriter:
    """Writes a video file; a context manager.

    Args:
        path: ends in .mp4 (MPEG-4) or .avi (Motion JPEG).
        fps: frames per second; of frames that have times, the rate of the closest.

    Raises:
        DataError: OpenCV cannot write it, or it was not written completely.

    Attributes:
        count: frames passed to :meth:`write`.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.count = 0
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._last: np.ndarray | None = None
        self._times_s: list[float] = []
        self._written = 0

    def write(self, image: np.ndarray, time_s: float | None = None) -> None:
        """Add an H x W x 3 uint8 RGB frame; one of another size is scaled to that of the first.

        Args:
            time_s: when it is shown, after the one before; for all frames of the video or for none.
                In .avi, which has a constant rate, the frame before is repeated until then.
        """
        if self._writer is None:
            self._writer = self._open(image.shape[1::-1])
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if self._last is not None:
            if image.shape != self._last.shape:
                bgr = cv2.resize(bgr, self._last.shape[1::-1], interpolation=cv2.INTER_AREA)
            if time_s is not None and self._path.suffix.lower() == ".avi":
                for _ in range(round((time_s - self._times_s[0]) * self._fps) - self._written):
                    self._add(self._last)
        self._add(bgr)
        self._last = bgr
        self.count += 1
        if time_s is not None:
            self._times_s.append(time_s)

    def _open(self, size: Sequence[int]) -> cv2.VideoWriter:
        codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        writer = cv2.VideoWriter(_utf8_name(self._path), codec, self._fps, size)
        if not writer.isOpened():
            raise DataError(f"OpenCV cannot write {self._path.name}: try .avi instead of .mp4")
        return writer

    def _add(self, bgr: np.ndarray) -> None:
        assert self._writer is not None
        self._writer.write(bgr)
        self._written += 1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is not None:
            self._writer.release()
        if kind is None and count_frames(self._path) != self._written:
            raise DataError(f"{self._path.name} was not written completely: is the disk full?")
        if kind is None and self._times_s and self._path.suffix.lower() == ".mp4":
            set_presentation_times(self._path, self._times_s, 1 / self._fps)


def frame_rate(times_s: Sequence[float]) -> float:
    """Frames per second at which frames of these times can be shown; 0 where there are no two.

    At most :data:`MAX_WRITTEN_FPS`. By the median interval, or by the shorter ones where
    frames are not evenly spaced.
    """
    intervals = np.diff(times_s)
    intervals = intervals[intervals > 0]
    if not len(intervals):
        return 0.0
    short, median = np.quantile(intervals, (0.1, 0.5))
    return float(min(1 / (median if short > median / 1.5 else short), MAX_WRITTEN_FPS))


def count_frames(video: Path) -> int:
    """Number of frames that a video states; 0 where it cannot be decoded."""
    capture = _capture(video)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    return count


def _read_card(card: Path) -> dict[str, Any]:
    """The content of a ``clip.yaml``, its ``fps`` as a number in range."""
    try:
        described = yaml.safe_load(card.read_text(encoding="utf-8"))
        fps = float(described["fps"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{card} must give the clip's fps, such as 'fps: 25' ({error!r})") from error
    if not 0 < fps < MAX_FPS:
        raise DataError(f"{card} gives fps {fps:g}: it must be > 0 and < {MAX_FPS:g}")
    return {**described, "fps": fps}


def _capture(path: Path) -> cv2.VideoCapture:
    """OpenCV takes names in UTF-8 only; another one is opened by a link to it."""
    if _is_utf8(path):
        return cv2.VideoCapture(str(path))
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"video{path.suffix}"
        link.symlink_to(path.resolve())
        return cv2.VideoCapture(str(link))


def _advice(path: Path) -> str:
    """What to do about a video that cannot be decoded."""
    with path.open("rb") as file:
        pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
    return "it is a Git LFS pointer: run 'git lfs pull'" if pointer else "convert it to .mp4 or .avi"


def _utf8_name(path: Path) -> str:
    if not _is_utf8(path):
        raise DataError(f"{os.fsencode(path)!r} is not a name in UTF-8: name the video otherwise")
    return str(path)


def _is_utf8(path: Path) -> bool:
    try:
        return bool(str(path).encode())
    except UnicodeEncodeError:
        return False
