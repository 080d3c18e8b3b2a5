"""How the public deraining sets keep a rainy picture and its clean one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .images import DataError, check_same_size, list_images, read_image


@dataclass(frozen=True)
class Folders:
    """Each picture in a file of its own; the files of a pair agree in what the group of their names holds.

    Attributes:
        rain, clean: folders below the data set's; "." is that folder itself, where files whose
            names do not match are other things (streak layers) and are passed over.
        rain_name, clean_name: regular expressions with one group that match a whole file name
            without its suffix.
        example: files of a pair, and the sets that come like this.
    """

    rain: str
    clean: str
    rain_name: str
    clean_name: str
    example: str

    def fits(self, folder: Path) -> bool:
        """Both folders hold a picture with a name of this layout."""
        sides = ((self.rain, self.rain_name), (self.clean, self.clean_name))
        return all(
            (folder / side).is_dir()
            and any(path.is_file() and re.fullmatch(name, path.stem) for path in (folder / side).iterdir())
            for side, name in sides
        )

    def files(self, folder: Path) -> list[tuple[Path, Path]]:
        """Rainy and clean file of each pair, in order of the rainy one's name.

        Raises:
            DataError: a folder is missing or empty, or a picture has no counterpart.
        """
        rain = _named(folder, self.rain, self.rain_name)
        clean: dict[str, Path] = {}
        for key, path in _named(folder, self.clean, self.clean_name):
            if key in clean:
                raise DataError(f"{clean[key]} and {path} are the clean picture of the same pair")
            clean[key] = path
        pairs, used = [], set()
        for key, path in rain:
            if key not in clean:
                raise DataError(f"{path} has no clean picture in {folder / self.clean}")
            pairs.append((path, clean[key]))
            used.add(key)
        unused = [path for key, path in clean.items() if key not in used]
        if unused:
            raise DataError(f"{unused[0]} has no rainy picture in {folder / self.rain}")
        return pairs

    def read(self, files: tuple[Path, Path]) -> tuple[np.ndarray, np.ndarray]:
        """Rainy and clean picture, each H x W x 3 uint8 RGB.

        Raises:
            DataError: a file is no image, or their sizes differ.
        """
        rain, clean = (read_image(path) for path in files)
        check_same_size(rain, clean, *files)
        return rain, clean


@dataclass(frozen=True)
class Halves:
    """Both pictures side by side in one file.

    Attributes:
        rain: index of the rainy half: 0 left, 1 right.
        example: the halves, and the set that comes like this.
    """

    rain: int
    example: str

    def files(self, folder: Path) -> list[tuple[Path]]:
        """The file of each pair. Raises DataError where the folder is missing or empty."""
        return [(path,) for path in list_images(folder)]

    def read(self, files: tuple[Path]) -> tuple[np.ndarray, np.ndarray]:
        """Rainy and clean picture, each H x W x 3 uint8 RGB.

        Raises:
            DataError: the file is no image, or its width is odd.
        """
        image = read_image(files[0])
        if image.shape[1] % 2:
            raise DataError(f"{files[0]} is {image.shape[1]} pixels wide: not two halves")
        halves = np.split(image, 2, axis=1)
        return np.ascontiguousarray(halves[self.rain]), np.ascontiguousarray(halves[1 - self.rain])


_SAME, _RAIN, _NORAIN, _SCALED = "(.+)", r"rain-(\d+)", r"norain-(\d+)", r"norain-(\d+)(?:x2)?"

LAYOUTS: dict[str, Folders | Halves] = {
    "rain_clean": Folders("rain", "clean", _SAME, _SAME, "rain/1.png, clean/1.png"),
    "input_target": Folders("input", "target", _SAME, _SAME, "input/1.png, target/1.png of Rain13K"),
    "rain100": Folders(".", ".", _RAIN, _NORAIN, "rain-001.png, norain-001.png of Rain100L/H"),
    "rain100_rainy": Folders(
        "rainy", ".", _RAIN, _NORAIN, "rainy/rain-001.png, norain-001.png of Rain100L/H"
    ),
    "rain_norain": Folders(
        "rain", "norain", _SCALED, _NORAIN, "rain/norain-1x2.png, norain/norain-1.png of Rain200L/H"
    ),
    "jorder": Folders(
        "rain/X2", "norain", _SCALED, _NORAIN, "rain/X2/norain-1x2.png, norain/norain-1.png of JORDER"
    ),
    "rain14000": Folders(
        "rainy_image", "ground_truth", r"(.+)_\d+", _SAME, "rainy_image/1_14.jpg, ground_truth/1.jpg of DDN"
    ),
    "rain800": Halves(1, "left half clean, right half rainy of ID-CGAN"),
    "rain1200": Halves(0, "left half rainy, right half clean of DID-MDN"),
}
"""Rain100L/H, JORDER: Yang et al., CVPR 2017. Rain800: Zhang et al., TCSVT 2019. Rain1200: Zhang and
Patel, CVPR 2018. Rain14000: Fu et al., CVPR 2017. Rain13K: Jiang et al., MSPFN, CVPR 2020."""


def find_layout(folder: Path, name: str | None = None) -> Folders | Halves:
    """The layout of that name, or the one that the folder shows.

    Raises:
        DataError: no such layout, no such folder, or the folder fits none or several. Two
            halves in one picture are never guessed.
    """
    known = ", ".join(f"{key} ({layout.example})" for key, layout in LAYOUTS.items())
    if name is not None:
        if name not in LAYOUTS:
            raise DataError(f"unknown layout {name}; known: {known}")
        return LAYOUTS[name]
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the data folder by --data or ROS2_DERAIN_DATA")
    fitting = [key for key, layout in LAYOUTS.items() if isinstance(layout, Folders) and layout.fits(folder)]
    if len(fitting) != 1:
        seen = f"fits the layouts {', '.join(fitting)}" if fitting else "shows no layout of rain/clean pairs"
        raise DataError(f"{folder} {seen}; name one: {known}")
    return LAYOUTS[fitting[0]]


def _named(folder: Path, side: str, name: str) -> list[tuple[str, Path]]:
    """What the group of ``name`` holds, and the path, of each picture."""
    found = []
    for path in list_images(folder / side):
        match = re.fullmatch(name, path.stem)
        if match:
            found.append((match[1], path))
        elif side != ".":
            raise DataError(f"{path} does not have a name like {name}")
    if not found:
        raise DataError(f"{folder} holds no picture with a name like {name}")
    return found
