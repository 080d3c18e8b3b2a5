"""Boxes in YOLO text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from .images import DataError, list_images, read_image
from .objects import box_array, clip_box, object_index
from .sample import Sample


class Yolo:
    """``images/[<split>/]*.jpg`` with ``labels/[<split>/]<stem>.txt``, names in data.yaml or classes.txt.

    Each line of a label file is ``class cx cy width height``: an index into the names, then the
    box as fractions of the picture. A picture without a label file has no objects.

    Args:
        folder: what holds images/, labels/ and data.yaml (``names:`` as list or mapping) or
            classes.txt (one name a line, also in labels/).
        split: name of the folder below images/ and labels/, if there is one.
        driving: they are road scenes.

    Raises:
        DataError: a file is missing, a label file has no picture, or a line is malformed.
    """

    classes = ()

    def __init__(self, folder: Path, split: str | None = None, driving: bool = True):
        self._driving = driving
        self.images = list_images(folder / "images" / (split or ""))
        names = _read_names(folder)
        labels = folder / "labels" / (split or "")
        files = {path.stem: path for path in sorted(labels.glob("*.txt")) if path.name != "classes.txt"}
        if not files:
            raise DataError(f"{labels} holds no <image>.txt")
        orphans = sorted(set(files) - {path.stem for path in self.images})
        if orphans:
            raise DataError(f"{files[orphans[0]]} has no picture in {self.images[0].parent}")
        self._boxes = {stem: _read_lines(path, names) for stem, path in files.items()}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        path = self.images[index]
        image = read_image(path)
        height, width = image.shape[:2]
        boxes = self._boxes.get(path.stem, box_array([]))
        return Sample(image, None, boxes * np.float32([1, width, height, width, height]), self._driving)


def _read_names(folder: Path) -> dict[int, str]:
    """Class names by id."""
    described = folder / "data.yaml"
    if described.is_file():
        try:
            content = yaml.safe_load(described.read_text(encoding="utf-8", errors="replace"))
        except yaml.YAMLError as error:
            raise DataError(f"{described} is not YAML: {error}") from None
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, list):
            names = dict(enumerate(names))
        if not isinstance(names, dict) or not all(isinstance(key, int) for key in names):
            raise DataError(f"{described}: names is not a list of class names or a mapping from ids")
        return {key: str(name) for key, name in names.items()}
    for path in (folder / "classes.txt", folder / "labels" / "classes.txt"):
        if path.is_file():
            return dict(enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines()))
    raise DataError(f"{folder} has no data.yaml or classes.txt with the names of the classes")


def _read_lines(path: Path, names: dict[int, str]) -> np.ndarray:
    """M x 5 float32 (index into OBJECTS, x0, y0, x1, y1), edges as fractions of the picture."""
    boxes = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        where = f"{path}, line {number}"
        values = line.split()
        if not values:
            continue
        if len(values) != 5:
            raise DataError(f"{where}: {len(values)} values; a box is `class cx cy width height`")
        try:
            label, (cx, cy, width, height) = int(values[0]), map(float, values[1:])
        except ValueError:
            raise DataError(f"{where}: {line.strip()!r} is not `class cx cy width height`") from None
        if label not in names:
            raise DataError(f"{where}: class id {label} has no name; known are {', '.join(map(str, names))}")
        edges = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]
        edges = clip_box(edges, 1, 1, where)
        index = object_index(names[label])
        if index is not None:
            boxes.append([index, *edges])
    return box_array(boxes)
