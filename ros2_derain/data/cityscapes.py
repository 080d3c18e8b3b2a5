"""Cityscapes: road scenes of 50 cities with 19 classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .images import DataError, check_same_size, read_image, read_label_map
from .labels import UNLABELLED, id_table, map_ids
from .sample import Sample

CITYSCAPES_CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
)
"""The 19 classes that are trained and evaluated, in the order of their train ids."""

LABEL_IDS = (
    "unlabeled",
    "ego vehicle",
    "rectification border",
    "out of roi",
    "static",
    "dynamic",
    "ground",
    "road",
    "sidewalk",
    "parking",
    "rail track",
    "building",
    "wall",
    "fence",
    "guard rail",
    "bridge",
    "tunnel",
    "pole",
    "polegroup",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "caravan",
    "trailer",
    "train",
    "motorcycle",
    "bicycle",
)
"""What the ids 0..33 of the ``labelIds`` files mean; names that are no train class are void."""

_TRAIN_ID = {name: index for index, name in enumerate(CITYSCAPES_CLASSES)}
_TABLES = {
    "labelIds": id_table({i: _TRAIN_ID.get(name, UNLABELLED) for i, name in enumerate(LABEL_IDS)}),
    "labelTrainIds": id_table({i: i for i in _TRAIN_ID.values()} | {255: UNLABELLED}),
}


class Cityscapes:
    """``DIR/leftImg8bit/<split>/<city>/*_leftImg8bit.png`` with labels below ``DIR/gtFine``.

    The labels are ``gtFine/<split>/<city>/*_gtFine_labelIds.png`` or, where those are missing,
    ``*_gtFine_labelTrainIds.png``. Cordts et al., The Cityscapes Dataset, CVPR 2016.

    Args:
        folder: what holds leftImg8bit/ and gtFine/.
        split: train or val.

    Raises:
        DataError: a folder is missing or empty, or an image has no label file, or a label
            file no image.
    """

    classes = CITYSCAPES_CLASSES

    def __init__(self, folder: Path, split: str = "train"):
        root = folder / "leftImg8bit" / split
        if not root.is_dir():
            raise DataError(f"{root} is not a folder; Cityscapes has leftImg8bit/<split>/<city>")
        self.images = sorted(root.glob("*/*_leftImg8bit.png"))
        if not self.images:
            raise DataError(f"{root} holds no <city>/*_leftImg8bit.png")
        labels = folder / "gtFine" / split
        self._labels = [_label_file(labels, path) for path in self.images]
        images = {path.name.removesuffix("_leftImg8bit.png") for path in self.images}
        for path in sorted(labels.glob("*/*_gtFine_label*Ids.png")):
            if path.name.split("_gtFine_")[0] not in images:
                raise DataError(f"{path} has no image below {root}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        image, labels = read_image(self.images[index]), self.labels(index)
        check_same_size(image, labels, self.images[index], self._labels[index])
        return Sample(image, labels, None, True)

    def labels(self, index: int) -> np.ndarray:
        """H x W uint8 train ids 0..18, 255 = unlabelled."""
        path = self._labels[index]
        return map_ids(read_label_map(path), _TABLES[path.stem.rsplit("_", 1)[1]], path)


def _label_file(labels: Path, image: Path) -> Path:
    stem = image.name.removesuffix("_leftImg8bit.png")
    paths = [labels / image.parent.name / f"{stem}_gtFine_{kind}.png" for kind in _TABLES]
    for path in paths:
        if path.is_file():
            return path
    raise DataError(f"{image} has no labels: neither {paths[0]} nor {paths[1].name} is there")
