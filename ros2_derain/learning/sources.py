"""Where training pictures come from: driving stills with labels, boxes, photographs.

A source knows the files; :mod:`clips` turns one sample into a short rainy clip.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .errors import LearningError

OBJECTS = ("car", "pedestrian", "bicyclist")
"""Detection classes of the default model."""

OBJECT_OF = {
    "car": "car",
    "truck": "car",
    "bus": "car",
    "pedestrian": "pedestrian",
    "person": "pedestrian",
    "bicyclist": "bicyclist",
    "bicycle": "bicyclist",
    "motorcycle": "bicyclist",
}
"""Class names found in box files -> :data:`OBJECTS`; others are dropped."""

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


@dataclass(frozen=True)
class Sample:
    """One picture and what is known of it.

    Attributes:
        image: H x W x 3 uint8 RGB.
        labels: H x W uint8 class ids, 255 = unlabelled; None where there are no labels.
        boxes: M x 5 float32 (class index, x0, y0, x1, y1); None where boxes are unknown.
        driving: a road scene (rain with veil), else a photograph.
    """

    image: np.ndarray
    labels: np.ndarray | None
    boxes: np.ndarray | None
    driving: bool


def read_image(path: Path) -> np.ndarray:
    """H x W x 3 uint8 RGB.

    Raises:
        LearningError: the file is missing or no image.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise LearningError(f"{path} is missing or not an image")
    return np.ascontiguousarray(image[:, :, ::-1])


class CamVid:
    """``DIR/images/*.jpg`` with ``DIR/labels/*.png`` (ids 0..10, 11 = void), and boxes by image name.

    Args:
        folder: .../camvid/train or .../camvid/val.
        boxes: folder with images.csv and boxes.csv whose names end in ``<split>/images/<name>``.

    Raises:
        LearningError: a folder is missing or empty, or a label file is missing.
    """

    def __init__(self, folder: Path, boxes: Path | None = None):
        self.images = list_images(folder / "images")
        self._labels = [folder / "labels" / f"{path.stem}.png" for path in self.images]
        missing = [path for path in self._labels if not path.exists()]
        if missing:
            raise LearningError(f"{len(missing)} label files are missing, the first is {missing[0]}")
        self._boxes = read_boxes(boxes) if boxes else {}
        self._prefix = f"{folder.name}/images/"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        labels = cv2.imread(str(self._labels[index]), cv2.IMREAD_GRAYSCALE)
        if labels is None:
            raise LearningError(f"{self._labels[index]} is not an image")
        if labels.max() > len(CAMVID_CLASSES):
            raise LearningError(f"{self._labels[index]} holds label id {labels.max()}, known are 0..11")
        labels[labels == len(CAMVID_CLASSES)] = 255
        boxes = self._boxes.get(self._prefix + self.images[index].name, np.zeros((0, 5), np.float32))
        return Sample(read_image(self.images[index]), labels, boxes if self._boxes else None, True)


class Boxes:
    """A folder with ``images.csv``, ``boxes.csv`` and ``images/``: road photos with boxes, no labels."""

    def __init__(self, folder: Path):
        self._boxes = read_boxes(folder)
        self.images = list_images(folder / "images")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        boxes = self._boxes.get(self.images[index].name, np.zeros((0, 5), np.float32))
        return Sample(read_image(self.images[index]), None, boxes, True)


class Photographs:
    """A folder of clean pictures without labels."""

    def __init__(self, folder: Path):
        self.images = list_images(folder)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        return Sample(read_image(self.images[index]), None, None, False)


Source = CamVid | Boxes | Photographs


def list_images(folder: Path) -> list[Path]:
    """Pictures of a folder in order of name.

    Raises:
        LearningError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise LearningError(f"{folder} is not a folder; give the data folder by --data or ROS2_DERAIN_DATA")
    images = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
    )
    if not images:
        raise LearningError(f"{folder} holds no .jpg, .png or .webp picture")
    return images


def read_boxes(folder: Path) -> dict[str, np.ndarray]:
    """Boxes by image name: M x 5 float32 (index into OBJECTS, x0, y0, x1, y1)."""
    path = folder / "boxes.csv"
    if not path.exists():
        raise LearningError(f"{path} is missing")
    rows: dict[str, list[list[float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            name = OBJECT_OF.get(row["class"])
            if name:
                edges = [float(row[key]) for key in ("xmin", "ymin", "xmax", "ymax")]
                rows.setdefault(row["image"], []).append([OBJECTS.index(name), *edges])
    return {image: np.array(boxes, np.float32) for image, boxes in rows.items()}
