"""Boxes in CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .images import DataError, list_images, read_image
from .objects import box_array, clip_box, object_index
from .sample import Sample


class Boxes:
    """A folder with ``images.csv``, ``boxes.csv`` and ``images/``: pictures with boxes, no labels.

    Args:
        driving: they are road scenes.

    Raises:
        DataError: a file is missing or malformed, or images.csv and images/ list different files.
    """

    classes = ()

    def __init__(self, folder: Path, driving: bool = True):
        self._sizes, self._boxes = read_sizes(folder), read_boxes(folder)
        self._driving = driving
        self.images = list_images(folder / "images")
        names = {path.name for path in self.images}
        for name in sorted(names ^ set(self._sizes)):
            if name in names:
                raise DataError(f"{folder / 'images' / name} is not listed in {folder / 'images.csv'}")
            raise DataError(f"{folder / 'images.csv'} lists {name}, which is not in {folder / 'images'}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        path = self.images[index]
        image = read_image(path)
        check_listed_size(image, self._sizes[path.name], path)
        return Sample(image, None, self._boxes[path.name], self._driving)


def read_boxes(folder: Path) -> dict[str, np.ndarray]:
    """Boxes by image name: M x 5 float32 (index into OBJECTS, x0, y0, x1, y1), M = 0 where there are none.

    ``boxes.csv`` has the columns image, class, xmin, ymin, xmax, ymax: pixels, max edges exclusive.
    Boxes are clipped at the border of the picture, whose size ``images.csv`` gives.

    Raises:
        DataError: a file or a column is missing, or a line is malformed; names file and line.
    """
    sizes = read_sizes(folder)
    boxes: dict[str, list[list[float]]] = {image: [] for image in sizes}
    path = folder / "boxes.csv"
    for where, row in _rows(path, ("image", "class", "xmin", "ymin", "xmax", "ymax")):
        if row["image"] not in sizes:
            raise DataError(f"{where}: image {row['image']} is not listed in images.csv")
        edges = [_number(row[key], key, where) for key in ("xmin", "ymin", "xmax", "ymax")]
        edges = clip_box(edges, *sizes[row["image"]], where)
        index = object_index(row["class"])
        if index is not None:
            boxes[row["image"]].append([index, *edges])
    return {image: box_array(found) for image, found in boxes.items()}


def read_sizes(folder: Path) -> dict[str, tuple[float, float]]:
    """Width and height in pixels by image name, from ``images.csv`` (image, width, height).

    Raises:
        DataError: the file or a column is missing, a line is malformed, or there is none.
    """
    path = folder / "images.csv"
    rows = _rows(path, ("image", "width", "height"))
    sizes = {
        row["image"]: (_number(row["width"], "width", where), _number(row["height"], "height", where))
        for where, row in rows
    }
    if not sizes:
        raise DataError(f"{path} lists no image")
    return sizes


def check_listed_size(image: np.ndarray, size: tuple[float, float], path: Path) -> None:
    """Raises DataError where a picture does not have the size (width, height) its boxes are made for."""
    height, width = image.shape[:2]
    if size != (width, height):
        raise DataError(f"{path} is {width}x{height} but its boxes are for {size[0]:g}x{size[1]:g}")


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """``FILE, line N`` and the row of each line."""
    if not path.is_file():
        raise DataError(f"{path} is missing")
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        lacking = [name for name in columns if name not in (reader.fieldnames or ())]
        if lacking:
            raise DataError(
                f"{path} lacks the column {', '.join(lacking)}; its first line names {','.join(columns)}"
            )
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if any(row[name] is None for name in columns):
                raise DataError(f"{where}: fewer values than columns")
            yield where, row


def _number(text: str, column: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{where}: {column} is {text!r}, not a number") from None
