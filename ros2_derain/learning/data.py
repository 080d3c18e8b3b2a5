"""What a recipe's ``sources`` mean in a data folder, and what may be done with weights made of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ros2_derain.data import (
    CAMVID_CLASSES,
    Boxes,
    CamVid,
    Photographs,
    RainLayers,
    Source,
    Translated,
    check_options,
    open_dataset,
)

from .errors import LearningError


@dataclass(frozen=True)
class Origin:
    """A source of clips.

    Attributes:
        make: the data set, from the data folder.
        folders: what it reads in the data folder -> the licence that its origin states.
    """

    make: Callable[[Path], Source]
    folders: dict[str, str]


@dataclass(frozen=True)
class OwnSource:
    """A data set that a recipe describes itself; its labels become the model's classes by their names.

    Attributes:
        kind: how its files lie, a key of :data:`datasets.KINDS`.
        folder: of the data set, relative to the data folder.
        licence: for the model card.
        options: further arguments of that kind, such as ``split``.
    """

    kind: str
    folder: str
    licence: str = "none stated"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_options(self.kind, self.options)


SOURCES = {
    "camvid": Origin(
        lambda data: CamVid(data / "camvid" / "train", data / "boxes" / "camvid_from_masks"),
        {"camvid/train": "CC BY-NC 4.0 (research use)", "boxes/camvid_from_masks": "as camvid"},
    ),
    "photographs": Origin(
        lambda data: Photographs(data / "bsds" / "images"), {"bsds": "BIDS/BSDS500, research use"}
    ),
    "fog": Origin(lambda data: Boxes(data / "boxes" / "dawn_fog"), {"boxes/dawn_fog": "none stated"}),
    "coco": Origin(
        lambda data: Boxes(data / "boxes" / "coco_traffic"), {"boxes/coco_traffic": "COCO / Flickr terms"}
    ),
}


def folder(given: Path | None) -> Path:
    """The data folder from the argument or the environment.

    Raises:
        LearningError: neither is given, or it is no folder.
    """
    named = given or (Path(os.environ["ROS2_DERAIN_DATA"]) if os.environ.get("ROS2_DERAIN_DATA") else None)
    if named is None:
        raise LearningError("where is the data? give --data DIR or set ROS2_DERAIN_DATA")
    if not named.is_dir():
        raise LearningError(f"{named} is not a folder: correct --data or ROS2_DERAIN_DATA")
    return named


def sources(
    weights: Mapping[str, float], own: Mapping[str, OwnSource], data: Path
) -> list[tuple[Source, float]]:
    """The data sets of a recipe, each with its weight; those of weight 0 are left out.

    Args:
        weights: by name, of :data:`SOURCES` or ``own``.
        own: data sets that the recipe describes.
        data: the data folder.

    Raises:
        LearningError: a folder or file is missing or broken.
    """
    return [(_open(name, own, data), weight) for name, weight in weights.items() if weight > 0]


def _open(name: str, own: Mapping[str, OwnSource], data: Path) -> Source:
    if name not in own:
        return SOURCES[name].make(data)
    described = own[name]
    return Translated(open_dataset(described.kind, described.folder, data, **described.options))


def streaks(held_out: dict[str, int], data: Path) -> list[np.ndarray]:
    """The streak layers of rain/clean pairs: h x w uint8 brightness each.

    Args:
        held_out: folder under rain_pairs/ -> every how many-th pair is left out, so that results on it
            tell what the network makes of streaks that it has not seen; 0 = none is.
        data: the data folder.

    Raises:
        LearningError: a folder or file is missing or broken.
    """
    layers = []
    for name, every in held_out.items():
        pairs = RainLayers(data / "rain_pairs" / name)
        layers += [pairs[index].max(2) for index in range(len(pairs)) if not every or index % every]
    return layers


def licences(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Licence of every folder that the sources and streaks of a recipe (as plain data) read."""
    own, found = recipe.get("datasets", {}), {}
    for name, weight in recipe["sources"].items():
        if weight > 0:
            found |= {own[name]["folder"]: own[name]["licence"]} if name in own else SOURCES[name].folders
    return found | {f"rain_pairs/{name} (streaks)": "none stated" for name in recipe["streaks"]}


def class_pixels(data: Path) -> list[int]:
    """How many pixels each semantic class has in camvid/train, for the class weights.

    Raises:
        LearningError: camvid/classes.json is missing, or does not count every class.
    """
    path = data / "camvid" / "classes.json"
    try:
        counts = json.loads(path.read_text())["pixels_per_class"]["train"]
        return [int(counts[str(index)]) for index in range(len(CAMVID_CLASSES))]
    except OSError as error:
        raise LearningError(f"{path} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise LearningError(
            f"{path} lacks pixels_per_class.train with a count for each of {len(CAMVID_CLASSES)} classes"
        ) from error
