"""Pairs of a rainy and a clean picture, and the rain between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .layouts import find_layout


@dataclass(frozen=True)
class Pair:
    """The same view with and without rain.

    Attributes:
        rain, clean: H x W x 3 uint8 RGB.
        name: of the rainy file, without its suffix.
    """

    rain: np.ndarray
    clean: np.ndarray
    name: str


class RainPairs:
    """A folder of rain/clean pairs in one of the layouts of the public sets.

    Args:
        layout: a key of :data:`layouts.LAYOUTS`; None = the one that the folder shows.

    Raises:
        DataError: the folder is missing or empty, its layout is unknown, or a picture has
            no counterpart. Reading a pair raises it for sizes that differ and for no image.
    """

    def __init__(self, folder: Path, layout: str | None = None):
        self._layout = find_layout(folder, layout)
        self._files = self._layout.files(folder)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Pair:
        files = self._files[index]
        return Pair(*self._layout.read(files), files[0].stem)


class RainLayers:
    """What the rain of a folder of pairs adds to the light: to be laid over other backgrounds.

    Each is H x W x 3 uint8, max(rain - clean, 0). Arguments and errors as :class:`RainPairs`.
    """

    def __init__(self, folder: Path, layout: str | None = None):
        self._pairs = RainPairs(folder, layout)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> np.ndarray:
        pair = self._pairs[index]
        return np.maximum(pair.rain, pair.clean) - pair.clean
