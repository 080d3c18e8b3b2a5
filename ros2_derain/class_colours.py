"""The colours of classes in overlays, reports and legends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "sky": (86, 156, 214),
    "building": (148, 103, 189),
    "pole": (240, 228, 66),
    "road": (140, 86, 75),
    "pavement": (244, 165, 196),
    "tree": (44, 160, 44),
    "sign": (255, 215, 0),
    "fence": (196, 156, 148),
    "car": (31, 90, 255),
    "pedestrian": (255, 60, 60),
    "bicyclist": (255, 127, 14),
}
"""RGB of known classes, by lower-case name."""


def colour(name: str) -> Colour:
    """The RGB colour of a class; one that is not in :data:`COLOURS` gets it from its name."""
    known = COLOURS.get(name.lower())
    if known:
        return known
    hue = hashlib.sha256(name.encode()).digest()[0] * 180 // 256
    red, green, blue = cv2.cvtColor(np.array([[[hue, 170, 220]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


def palette(names: Sequence[str], chosen: Mapping[str, Colour]) -> tuple[Colour, ...]:
    """The colour of each class, by id: the one that the model's card gives it, else :func:`colour`."""
    return tuple(chosen.get(name) or colour(name) for name in names)


def lookup(colours: Sequence[Colour]) -> np.ndarray:
    """256 x 3 uint8: the colour of each id, black where there is none; to be indexed with a label map."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    return table
