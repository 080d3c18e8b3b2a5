"""Label pictures: from the ids of a data set's files to class ids, 255 = unlabelled."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from ros2_derain.data.images import DataError

UNLABELLED = 255
_UNKNOWN = -1


class LabelledDataset(Protocol):
    """A data set with labels; ``classes`` names the class ids 0, 1, ... in order."""

    classes: tuple[str, ...]

    def __len__(self) -> int: ...

    def labels(self, index: int) -> np.ndarray: ...


def id_table(class_of: dict[int, int]) -> np.ndarray:
    """The ids found in files -> class ids, as 256 int16 for :func:`map_ids`."""
    table = np.full(256, _UNKNOWN, np.int16)
    for found, wanted in class_of.items():
        table[found] = wanted
    return table


def map_ids(ids: np.ndarray, table: np.ndarray, path: Path) -> np.ndarray:
    """Class ids for the ids of a label file.

    Args:
        ids: H x W uint8.
        table: from :func:`id_table`.
        path: the file, for the error.

    Returns:
        H x W uint8.

    Raises:
        DataError: an id that the table does not know; names the file, the id and its first pixel.
    """
    mapped = table[ids]
    if mapped.min() == _UNKNOWN:
        y, x = np.argwhere(mapped == _UNKNOWN)[0]
        known = ", ".join(_ranges(np.flatnonzero(table != _UNKNOWN)))
        raise DataError(f"{path} holds label id {ids[y, x]} (at x {x}, y {y}); known are {known}")
    return mapped.astype(np.uint8)


def count_class_pixels(dataset: LabelledDataset) -> list[int]:
    """Labelled pixels of each class over a whole data set, for class weights. Reads every label file.

    Raises:
        DataError: the data set has no labels, or a label file is wrong.
    """
    if not dataset.classes:
        raise DataError(f"{type(dataset).__name__} has no labels whose pixels could be counted")
    counts = np.zeros(256, np.int64)
    for index in range(len(dataset)):
        counts += np.bincount(dataset.labels(index).ravel(), minlength=256)
    return counts[: len(dataset.classes)].tolist()


def _ranges(values: np.ndarray) -> list[str]:
    """[0, 1, 2, 255] -> ["0..2", "255"]."""
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return [f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
