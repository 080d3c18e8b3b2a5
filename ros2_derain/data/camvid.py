"""The CamVid layout: driving stills with labels, and boxes by image name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .boxes import check_listed_size, read_boxes, read_sizes
from .images import DataError, check_files, check_same_size, list_images, read_image, read_label_map
from .labels import UNLABELLED, id_table, map_ids
from .sample import Sample

CAMVID_CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
"""The eleven CamVid classes, in the order of their ids; 11 is void."""

_TABLE = id_table({index: index for index in range(len(CAMVID_CLASSES))} | {len(CAMVID_CLASSES): UNLABELLED})


class CamVid:
    """``DIR/images/*.jpg`` with ``DIR/labels/*.png`` (ids 0..10, 11 = void), and boxes by image name.

    The layout and the classes of Badrinarayanan et al., SegNet, TPAMI 2017.

    Args:
        folder: .../camvid/train or .../camvid/val.
        boxes: folder with images.csv and boxes.csv whose names end in ``<split>/images/<name>``.

    Raises:
        DataError: a folder is missing or empty, a label file is missing, or images.csv
            lacks one of the images.
    """

    classes = CAMVID_CLASSES

    def __init__(self, folder: Path, boxes: Path | None = None):
        self.images = list_images(folder / "images")
        self._labels = [folder / "labels" / f"{path.stem}.png" for path in self.images]
        check_files(self._labels, "label")
        self._boxes = read_boxes(boxes) if boxes else None
        self._sizes = read_sizes(boxes) if boxes else {}
        self._names = [f"{folder.name}/images/{path.name}" for path in self.images]
        if boxes:
            unlisted = [name for name in self._names if name not in self._sizes]
            if unlisted:
                raise DataError(f"{boxes / 'images.csv'} does not list {unlisted[0]}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        image, labels = read_image(self.images[index]), self.labels(index)
        check_same_size(image, labels, self.images[index], self._labels[index])
        boxes = None
        if self._boxes is not None:
            check_listed_size(image, self._sizes[self._names[index]], self.images[index])
            boxes = self._boxes[self._names[index]]
        return Sample(image, labels, boxes, True)

    def labels(self, index: int) -> np.ndarray:
        """H x W uint8 class ids, 255 = unlabelled."""
        return map_ids(read_label_map(self._labels[index]), _TABLE, self._labels[index])
