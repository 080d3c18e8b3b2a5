"""Pairs of a rainy and a clean image, in the layouts of the public deraining sets."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .images import (
    SUFFIXES,
    DataError,
    check_same_size,
    check_unique_stems,
    list_files,
    list_images,
    read_image,
    usable,
)


@dataclass(frozen=True)
class Folders:
    """Each image in a file of its own; the files of a pair agree in the group of their names' patterns.

    Attributes:
        rain, clean: folders below the dataset's; "." is that folder itself, where files whose
            names do not match are other things (streak layers) and are ignored.
        rain_name, clean_name: regular expressions with one group that match a whole file name
            without its suffix.
        example: files of a pair, and the sets that have this layout.
    """

    rain: str
    clean: str
    rain_name: str
    clean_name: str
    example: str

    def fits(self, folder: Path) -> bool:
        """Whether both folders hold an image with a name of this layout."""
        sides = ((self.rain, self.rain_name), (self.clean, self.clean_name))
        return all(
            (folder / side).is_dir()
            and any(re.fullmatch(name, path.stem) for path in list_files(folder / side, SUFFIXES))
            for side, name in sides
        )

    def files(self, folder: Path) -> list[tuple[Path, ...]]:
        """Rainy and clean file of each pair, in order of the rainy one's name.

        Raises:
            DataError: a folder is missing or empty, or an image has no counterpart.
        """
        rain = _named(folder, self.rain, self.rain_name)
        check_unique_stems(path for _, path in rain)
        clean: dict[str, Path] = {}
        for key, path in _named(folder, self.clean, self.clean_name):
            if key in clean:
                raise DataError(f"{clean[key]} and {path} are the clean image of the same pair: remove one")
            clean[key] = path
        lonely = [path for key, path in rain if key not in clean]
        if lonely:
            raise DataError(_lonely(lonely, len(rain), "clean", folder / self.clean))
        used = {key for key, _ in rain}
        unused = [path for key, path in clean.items() if key not in used]
        if unused:
            raise DataError(_lonely(unused, len(clean), "rainy", folder / self.rain))
        return [(path, clean[key]) for key, path in rain]

    def read(self, files: tuple[Path, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Rainy and clean image, each H x W x 3 uint8 RGB.

        Raises:
            DataError: a file cannot be read, or their sizes differ.
        """
        rain, clean = (read_image(path) for path in files)
        check_same_size(rain, clean, *files)
        return rain, clean


@dataclass(frozen=True)
class Halves:
    """Both images side by side in one file.

    Attributes:
        rain: index of the rainy half: 0 left, 1 right.
        example: the halves, and the set that has this layout.
    """

    rain: int
    example: str

    def files(self, folder: Path) -> list[tuple[Path, ...]]:
        """The file of each pair. Raises DataError where the folder is missing or empty."""
        return [(path,) for path in list_images(folder)]

    def read(self, files: tuple[Path, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Rainy and clean image, each H x W x 3 uint8 RGB.

        Raises:
            DataError: the file cannot be read, or its width is odd.
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


@dataclass(frozen=True)
class Pair:
    """The same view with and without rain.

    Attributes:
        rain, clean: H x W x 3 uint8 RGB.
        path: of the rainy file.
    """

    rain: np.ndarray
    clean: np.ndarray
    path: Path

    @property
    def name(self) -> str:
        """Of the rainy file, without its suffix."""
        return self.path.stem


class RainPairs:
    """A folder of rain/clean pairs in one of the layouts of the public sets.

    Args:
        layout: a key of :data:`LAYOUTS`; None = the one that the folder shows.

    Attributes:
        files: of each pair: the rainy and the clean file, or the one that holds both.

    Raises:
        DataError: the folder is missing or empty, its layout is unknown, or an image has no
            counterpart. Reading a pair raises it for files that cannot be read and for sizes that differ.
    """

    def __init__(self, folder: Path, layout: str | None = None) -> None:
        self._layout = find_layout(folder, layout)
        self.files: Sequence[tuple[Path, ...]] = self._layout.files(folder)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pair:
        return self._read(self.files[index])

    def __iter__(self) -> Iterator[Pair]:
        return map(self._read, self.files)

    @property
    def names(self) -> list[str]:
        """Names of the pairs, as :attr:`Pair.name`."""
        return [files[0].stem for files in self.files]

    def selected(self, names: Path | None, except_names: Path | None, limit: int | None = None) -> RainPairs:
        """The pairs that a file of names lists, a name a line, less those that another file lists.

        Args:
            limit: only the first of them.

        Raises:
            DataError: a file lists a name that no pair has, or none is left.
        """
        kept, known = list(self.files), set(self.names)
        for file, listed in ((names, True), (except_names, False)):
            if file is None:
                continue
            stems = _read_names(file)
            if unknown := sorted(stems - known):
                raise DataError(f"{file} names {unknown[0]}, and there is no such pair: correct the file")
            kept = [files for files in kept if (files[0].stem in stems) is listed]
        if not kept:
            raise DataError("no pair is left: check --names and --except-names")
        return self._with(kept[:limit])

    def usable(self) -> tuple[RainPairs, list[str]]:
        """The pairs that can be read, and the errors of the others; reads all.

        Raises:
            DataError: none can be read.
        """
        kept, errors = usable(self.files, self._read)
        return self._with(kept), errors

    def _read(self, files: tuple[Path, ...]) -> Pair:
        return Pair(*self._layout.read(files), files[0])

    def _with(self, files: Sequence[tuple[Path, ...]]) -> RainPairs:
        other = copy.copy(self)
        other.files = files
        return other


class RainLayers:
    """The light that the rain of a folder of pairs adds, to be laid over other backgrounds.

    Each is H x W x 3 uint8, max(rain - clean, 0). Arguments and errors as :class:`RainPairs`.
    """

    def __init__(self, folder: Path, layout: str | None = None) -> None:
        self._pairs = RainPairs(folder, layout)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> np.ndarray:
        pair = self._pairs[index]
        layer: np.ndarray = np.maximum(pair.rain, pair.clean) - pair.clean
        return layer


def find_layout(folder: Path, name: str | None = None) -> Folders | Halves:
    """The layout of that name, or the one that the folder shows.

    Raises:
        DataError: no such layout, no such folder, or the folder fits none or several. Two
            halves in one image are never guessed.
    """
    known = ", ".join(f"{key} ({layout.example})" for key, layout in LAYOUTS.items())
    if name is not None:
        if name not in LAYOUTS:
            raise DataError(f"unknown layout {name}; known: {known}")
        return LAYOUTS[name]
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: correct the path")
    fitting = [key for key, layout in LAYOUTS.items() if isinstance(layout, Folders) and layout.fits(folder)]
    if len(fitting) != 1:
        seen = f"fits the layouts {', '.join(fitting)}" if fitting else "shows no layout of rain/clean pairs"
        raise DataError(f"{folder} {seen}; name one: {known}")
    return LAYOUTS[fitting[0]]


def _named(folder: Path, side: str, name: str) -> list[tuple[str, Path]]:
    """The group of the pattern ``name``, and the path, of each image."""
    found = []
    for path in list_images(folder / side):
        match = re.fullmatch(name, path.stem)
        if match:
            found.append((match[1], path))
        elif side != ".":
            raise DataError(f"{path} does not have a name like {name}: remove or rename it")
    if not found:
        raise DataError(f"{folder} holds no image with a name like {name}")
    return found


def _lonely(paths: Sequence[Path], total: int, counterpart: str, folder: Path) -> str:
    return f"{len(paths)} of {total} have no {counterpart} image in {folder}; the first is {paths[0]}"


def _read_names(file: Path) -> set[str]:
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return {Path(line).stem if line.lower().endswith(SUFFIXES) else line for line in lines if line}
