"""Images with label maps and boxes in files of any layout; :mod:`.datasets` knows the layouts."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from .boxes import BoxList, ignored_classes
from .classes import OBJECTS, map_ids, translation
from .images import DataError, check_same_size, read_image
from .label_files import LabelFiles

_LAST_NUMBER = re.compile(r"^(.*?)(\d+)$", re.DOTALL)


@dataclass(frozen=True)
class Sample:
    """One image and its ground truth.

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


class ImageDataset:
    """Images with label maps and boxes, as far as they are known.

    Args:
        images: files, in order.
        labels: of the images; None: there are none.
        boxes: of each image; None: they are unknown.
        driving: they are road scenes.
        consecutive: images whose names differ in their last number only, by one, follow each other.

    Attributes:
        images: the files.
        classes: names of the class ids of the labels, () where there are none.
        objects: names of the class indices of the boxes.
    """

    def __init__(
        self,
        images: Sequence[Path],
        labels: LabelFiles | None = None,
        boxes: Sequence[BoxList] | None = None,
        driving: bool = True,
        consecutive: bool = False,
    ) -> None:
        self.images = images
        self.classes = labels.classes if labels else ()
        self.objects: tuple[str, ...] = OBJECTS
        self.label_paths = labels.paths if labels else ()
        self._labels, self._boxes, self._driving = labels, boxes, driving
        self._translation: np.ndarray | None = None
        self._height_scale = 1.0
        self._consecutive = consecutive

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Raises DataError where a file cannot be read, or sizes or ids do not fit."""
        image, labels = read_image(self.images[index]), None
        if self._labels:
            labels = self.labels(index)
            check_same_size(image, labels, self.images[index], self._labels.paths[index])
        sample = Sample(image, labels, self.boxes(index, image), self._driving)
        return sample if self._height_scale == 1 else _stretched(sample, self._height_scale)

    def labels(self, index: int) -> np.ndarray:
        """H x W uint8 class ids, 255 = unlabelled, in the size of the file.

        Raises:
            DataError: there is no label map, it cannot be read, or holds an unknown id.
        """
        if not self._labels:
            raise DataError(f"{self.images[index]} has no label map: pass a dataset with labels")
        path = self._labels.paths[index]
        ids = map_ids(self._labels.read(path), self._labels.tables[index], path)
        return ids if self._translation is None else self._translation[ids]

    def boxes(self, index: int, image: np.ndarray) -> np.ndarray | None:
        """M x 5 float32 (index into ``objects``, x0, y0, x1, y1); None where boxes are unknown.

        Args:
            image: as in the file.
        """
        if self._boxes is None:
            return None
        height, width = image.shape[:2]
        return self._boxes[index].array(width, height, self.images[index], self.objects)

    @property
    def has_boxes(self) -> bool:
        """Whether boxes are known."""
        return self._boxes is not None

    def ignored_objects(self) -> Counter[str]:
        """Number of boxes of each name that is none of ``objects``."""
        return ignored_classes(self._boxes or (), self.objects)

    def in_classes(self, names: Sequence[str], objects: Sequence[str] = OBJECTS) -> ImageDataset:
        """This dataset in the classes and objects of a model, by :func:`classes.class_index`.

        A label of another class is unlabelled, a box of another class is left out.
        """
        other = copy.copy(self)
        if self._labels:
            other.classes = tuple(names)
            other._translation = translation(self._labels.classes, names)
        other.objects = tuple(objects)
        return other

    def subset(self, indices: Sequence[int]) -> ImageDataset:
        """The dataset of these images only, in this order."""
        other = copy.copy(self)
        other.images = [self.images[index] for index in indices]
        if self._labels:
            paths = [self._labels.paths[index] for index in indices]
            tables = [self._labels.tables[index] for index in indices]
            other._labels, other.label_paths = replace(self._labels, paths=paths, tables=tables), paths
        if self._boxes is not None:
            other._boxes = [self._boxes[index] for index in indices]
        return other

    def stretched(self, height_scale: float) -> ImageDataset:
        """This dataset with images, label maps and boxes whose height is multiplied by a factor > 0."""
        other = copy.copy(self)
        other._height_scale = height_scale
        return other

    def clip(self, index: int, frames: int) -> list[int]:
        """Indices of consecutive frames that begin with an image, or just before the end of its run.

        A single image, and the last of a run that is shorter, are repeated.
        """
        last = index
        while self._consecutive and last + 1 < len(self) and last - index < frames - 1:
            if not _follows(self.images[last], self.images[last + 1]):
                break
            last += 1
        first = index
        while self._consecutive and first > 0 and last - first < frames - 1:
            if not _follows(self.images[first - 1], self.images[first]):
                break
            first -= 1
        return [min(first + frame, last) for frame in range(frames)]


def _follows(before: Path, after: Path) -> bool:
    """Whether two files are consecutive frames of one clip: ``drive_009.jpg`` and ``drive_010.jpg``."""
    (number, following) = (_LAST_NUMBER.search(path.stem) for path in (before, after))
    if number is None or following is None:
        return False
    return number[1] == following[1] and int(following[2]) == int(number[2]) + 1


def _stretched(sample: Sample, height_scale: float) -> Sample:
    """Image (bilinear), labels (nearest) and boxes of another height."""
    height, width = sample.image.shape[:2]
    size = (width, round(height * height_scale))
    labels, boxes = sample.labels, sample.boxes
    if labels is not None:
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    if boxes is not None:
        boxes = boxes * np.array([1, 1, size[1] / height, 1, size[1] / height], np.float32)
    image = cv2.resize(sample.image, size, interpolation=cv2.INTER_LINEAR)
    return replace(sample, image=image, labels=labels, boxes=boxes)
