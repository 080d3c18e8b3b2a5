"""Rain on pictures, folders of consecutive pictures and videos."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ros2_derain.data.clip import CARD, Clip, PictureFolder
from ros2_derain.data.image_files import read, write
from ros2_derain.data.video import NewVideo, Video
from ros2_derain.rain_media.shower import Shower

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


class RainyFolder(PictureFolder):
    """A folder of consecutive pictures that rain is put onto."""

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


class RainyVideo(Video):
    """A video that rain is put onto."""

    def rain(self, shower: Shower, target: Path, step: Callable[[], None]) -> dict:
        """Write the rainy video to ``target`` (.mp4: MPEG-4, .avi: Motion JPEG)."""
        with NewVideo(target, self.fps) as video:
            for picture in self.frames():
                video.write(shower.over(picture, video.count / self.fps))
                step()
        return {"pictures": video.count, "fps": self.fps}


def rain_clip(
    clip: Clip, rate: float, frames: int, folder: Path, progress: Callable[[], None] = lambda: None
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
        rainy = shower.over(clip.read(index), index / clip.fps)
        write(folder / f"{index:06d}.png", rainy, quick=True)
        progress()
