"""A recipe's sources of images and streaks: where they are in the data folder, and their licences."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydantic.dataclasses

from ros2_derain.data import (
    CAMVID_CLASSES,
    Boxes,
    CamVid,
    ImageDataset,
    ImageIndex,
    Pair,
    Photographs,
    RainLayers,
    RainPairs,
    Selection,
    check_options,
    list_images,
    open_dataset,
    read_image,
)
from ros2_derain.data.images import DataError
from ros2_derain.data.selection import every_kth
from ros2_derain.validation import STRICT

from . import LearningError
from .random_rain import StreakLayers, StreakStyle

PAIRS, PATTERNS = "rain_pairs", "rain_layers"
"""Folders of the data folder that hold rain/clean pairs and streak patterns."""


@dataclass(frozen=True)
class Origin:
    """A source of clips.

    Attributes:
        make: the dataset, from the data folder.
        folders: what it reads in the data folder -> the licence that its origin states.
    """

    make: Callable[[Path], ImageDataset]
    folders: dict[str, str]


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class OwnSource:
    """A dataset that a recipe describes itself; its labels become the model's classes by their names.

    Attributes:
        kind: its layout, a key of :data:`ros2_derain.data.KINDS`.
        folder: of the dataset, relative to the data folder.
        licence: for the model card.
        options: further arguments of that kind, such as ``split``.
        leave_out: a glob of the names of files that are not trained on, such as a whole drive.
        index: a CSV file about the images, with a column ``image``; relative to the folder.
        include: by column of the index, the values whose images are trained on.
        hold_out: N leaves out the first image and every N-th after it, of each combination of the values of
            ``include``; 0: none. ``evaluate perception --every N`` measures on them.
    """

    kind: str
    folder: str
    licence: str = "none stated"
    options: dict[str, Any] = field(default_factory=dict)
    leave_out: str = ""
    index: str = "index.csv"
    include: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hold_out: int = 0

    def __post_init__(self) -> None:
        if self.hold_out < 0 or self.hold_out == 1:
            raise ValueError(f"hold_out is {self.hold_out}: 0 holds out nothing, N > 1 every N-th image")
        try:
            check_options(self.kind, self.options)
        except DataError as error:
            raise ValueError(str(error)) from error

    def open(self, data: Path) -> ImageDataset:
        """The images that are trained on, in the classes of the model.

        Raises:
            ros2_derain.data.DataError: a file is missing or broken, or a selection fits no image.
        """
        dataset: Any = open_dataset(self.kind, self.folder, data, **self.options)
        index = ImageIndex.read(data / self.folder / self.index) if self.include else None
        kept = Selection(leave_out=self.leave_out, include=self.include).indices(dataset.images, index)
        if self.hold_out:
            columns = [index.column(name, dataset.images) for name in self.include] if index else []
            groups = ["/".join(column[number] for column in columns) for number in kept]
            held_out = every_kth(self.hold_out, 0, groups)
            kept = [number for number, left_out in zip(kept, held_out, strict=True) if not left_out]
        return dataset.subset(kept).in_classes(CAMVID_CLASSES)


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
        raise LearningError("No data folder: pass --data or set ROS2_DERAIN_DATA.")
    if not named.is_dir():
        raise LearningError(f"{named} is not a folder: correct --data or ROS2_DERAIN_DATA")
    return named


def sources(
    weights: Mapping[str, float], own: Mapping[str, OwnSource], data: Path
) -> list[tuple[ImageDataset, float]]:
    """The datasets of a recipe, each with its weight; those of weight 0 are left out.

    Args:
        weights: by name, of :data:`SOURCES` or ``own``.
        own: datasets that the recipe describes.
        data: the data folder.

    Raises:
        ros2_derain.data.DataError: a folder or file is missing or broken.
    """
    return [(_open(name, own, data), weight) for name, weight in weights.items() if weight > 0]


def _open(name: str, own: Mapping[str, OwnSource], data: Path) -> ImageDataset:
    if name not in own:
        return SOURCES[name].make(data)
    return own[name].open(data)


def streak_layers(styles: Mapping[str, StreakStyle], data: Path) -> list[StreakLayers]:
    """The streak layers of a recipe's styles, less those that are held out of training.

    Args:
        styles: by name.
        data: the data folder.

    Raises:
        LearningError: more patterns are held out than a folder holds.
        ros2_derain.data.DataError: a folder or file is missing or broken.
    """
    return [StreakLayers(style, _layers(style, data)) for style in styles.values()]


def _layers(style: StreakStyle, data: Path) -> list[np.ndarray]:
    layers = []
    for name, every in style.pairs.items():
        pairs = RainLayers(data / PAIRS / name)
        layers += [pairs[index].max(2) for index in range(len(pairs)) if not every or index % every]
    for name, held_out in style.patterns.items():
        files = list_images(data / PATTERNS / name)
        if held_out >= len(files):
            raise LearningError(
                f"{data / PATTERNS / name} has {len(files)} patterns, of which {held_out} are held out: "
                "hold out fewer"
            )
        layers += [read_image(path).max(2) for path in files[: len(files) - held_out]]
    return layers


def held_out_pairs(styles: Mapping[str, StreakStyle], data: Path) -> Iterator[Pair]:
    """The rain/clean pairs whose streaks a recipe holds out of training."""
    for style in styles.values():
        for name, every in style.pairs.items():
            pairs = RainPairs(data / PAIRS / name) if every else ()
            yield from (pairs[index] for index in range(0, len(pairs), every or 1))


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
