"""Images with ground truth in the classes of a model: label maps, boxes, or both; a clip or stills."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ros2_derain.data import (
    UNLABELLED,
    BoxList,
    DataError,
    ImageDataset,
    class_index,
    is_coarser,
    read_boxes,
    translation,
)
from ros2_derain.data.images import left_out_note, usable
from ros2_derain.engine import ModelIdentity, Perception
from ros2_derain.evaluate.labelled_files import LabelledFiles
from ros2_derain.metrics import Boxes, Motion, motion_between

CACHED_BYTES = 256 << 20
"""Limit of the motions between frames that are kept in memory."""


@dataclass(frozen=True)
class Sample:
    """One frame.

    Attributes:
        time_s: since the first frame.
        path: of the image.
        image: H x W x 3 uint8 RGB.
        labels: H x W uint8 class ids of the model; 255 = unlabelled, all where there are no label maps.
    """

    time_s: float
    path: Path
    image: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class LabelledClip:
    """Images with ground truth: consecutive ones, or stills.

    Attributes:
        dataset: in the classes of the model.
        indices: of the frames in the dataset; files that cannot be read are left out.
        groups: of each frame.
        boxes: of each frame; None where there are none.
        fps: frames per second.
        stills: the frames do not follow each other.
        note: names the files that were left out and the classes that are ignored; may be empty.
        classes: in which label maps are compared: the model's, or coarser ones of the labels.
        table: the model's ids -> those of coarser classes; None: they are the model's.
    """

    dataset: ImageDataset
    indices: Sequence[int]
    groups: Sequence[str]
    boxes: Sequence[Boxes] | None
    fps: float
    stills: bool
    note: str
    classes: tuple[str, ...]
    table: np.ndarray | None = None

    @classmethod
    def open(cls, source: LabelledFiles, model: ModelIdentity, fps: float) -> LabelledClip:
        """The selected images in any layout of :func:`ros2_derain.data.find_dataset`.

        Args:
            source: where they are.
            model: its classes and objects.
            fps: frames per second of a clip.

        Raises:
            DataError: a folder is missing or empty, an image lacks its label map, sizes differ, a label id is
                unknown, or no image can be read.
        """
        whole = source.dataset(model)
        merge = is_coarser(whole.classes, model.class_names)
        classes = tuple(whole.classes) if merge else model.class_names
        dataset = whole.in_classes(classes, model.object_names)
        found: dict[int, np.ndarray | None] = {}

        def read(index: int) -> None:
            found[index] = dataset[index].boxes

        selected, groups = source.select(dataset.images)
        indices, errors = usable(selected, read)
        notes = [left_out_note(errors, len(indices) + len(errors))]
        if merge:
            notes.append(f"classes of the model are merged into those of the labels: {', '.join(classes)}")
        if lacking := [name for name in whole.classes if class_index(name, classes) is None]:
            notes.append(f"label classes that the model lacks count as unlabelled: {', '.join(lacking)}")
        if ignored := dataset.ignored_objects():
            names = ", ".join(f"{name} ({count})" for name, count in ignored.most_common())
            notes.append(f"boxes of classes that the model does not detect are ignored: {names}")
        return cls(
            dataset,
            indices,
            [groups[index] for index in indices],
            [_boxes(found[index]) for index in indices] if dataset.has_boxes else None,
            fps,
            source.stills,
            "\n".join(filter(None, notes)),
            classes,
            translation(model.class_names, classes) if merge else None,
        )

    def in_classes(self, perception: Perception) -> Perception:
        """What a parser of the model found, in the classes in which it is compared."""
        if self.table is None:
            return perception
        return replace(perception, labels=self.table[perception.labels])

    @property
    def has_labels(self) -> bool:
        """Whether there are label maps."""
        return bool(self.dataset.label_paths)

    @property
    def files(self) -> list[Path]:
        """Images and label maps of the frames."""
        both = (self.dataset.images, self.dataset.label_paths)
        return [paths[index] for index in self.indices for paths in both if paths]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        """Frame ``index``; raises DataError where a file changed since."""
        number = self.indices[index]
        sample = self.dataset[number]
        labels = sample.labels
        if labels is None:
            labels = np.full(sample.image.shape[:2], UNLABELLED, np.uint8)
        return Sample(number / self.fps, self.dataset.images[number], sample.image, labels)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


class Motions:
    """Motion between the clean images of a clip, kept from one pass to the next."""

    def __init__(self) -> None:
        self._known: dict[Path, Motion] = {}
        self._bytes = 0

    def between(self, previous: Sample | None, sample: Sample) -> Motion | None:
        """The motion from one frame to the next; None for the first frame or a change of size."""
        if previous is None or previous.image.shape != sample.image.shape:
            return None
        found = self._known.get(sample.path)
        if found is None:
            found = motion_between(previous.image, sample.image)
            self._bytes += found.flow.nbytes + found.seen.nbytes
            if self._bytes <= CACHED_BYTES:
                self._known[sample.path] = found
        return found


def boxes_by_name(source: Path, object_names: Sequence[str]) -> dict[str, Boxes]:
    """The boxes of each listed image, by the name it is listed under.

    Args:
        source: as for :func:`ros2_derain.data.read_boxes`, with boxes in pixels.
        object_names: the model's, by id; boxes of other classes are left out.

    Raises:
        DataError: a file is missing or malformed, or boxes are fractions of the image (YOLO).
    """
    return {name: boxes_of(boxes, object_names) for name, boxes in boxes_in_pixels(source).items()}


def boxes_in_pixels(source: Path) -> dict[str, BoxList]:
    """As :func:`ros2_derain.data.read_boxes`.

    Raises:
        DataError: a file is missing or malformed, or boxes are fractions of the image (YOLO).
    """
    listed = read_boxes(source)
    if any(boxes.fractions for boxes in listed.values()):
        raise DataError(f"{source} holds YOLO boxes, which are fractions of images: pass boxes.csv or COCO")
    return listed


def boxes_of(listed: BoxList, object_names: Sequence[str]) -> Boxes:
    """Boxes in pixels as the metrics take them; those of other classes than the model's are left out."""
    width, height = listed.size or (0, 0)
    return _boxes(listed.array(int(width), int(height), "", object_names))


def _boxes(array: np.ndarray | None) -> Boxes:
    """The rows (class index, x0, y0, x1, y1) of a dataset as the metrics take them."""
    rows = np.zeros((0, 5), np.float32) if array is None else array
    return Boxes(rows[:, 1:].astype(float), rows[:, 0].astype(int))
