"""Boxes in CSV, YOLO, COCO and PASCAL VOC files, as one kind of list."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .classes import OBJECTS, class_index
from .csv_rows import csv_rows
from .images import DataError, list_files

EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass
class BoxList:
    """The boxes of one image.

    Attributes:
        size: (width, height) of the image that the file states; None: it states none.
        names: class of each box, as in the file.
        edges: x0, y0, x1, y1 of each box, max edges exclusive; in pixels, or fractions of the image.
        tracks: id of each box's object, the same in every image of a clip; '' where the file states none.
        fractions: the edges are fractions, as in YOLO files.
    """

    size: tuple[float, float] | None = None
    names: list[str] = field(default_factory=list)
    edges: list[list[float]] = field(default_factory=list)
    tracks: list[str] = field(default_factory=list)
    fractions: bool = False

    def add(self, name: str, edges: list[float], where: str, track: str = "") -> None:
        """Add a box, clipped at the border of the image.

        Args:
            where: file and line, for the error.

        Raises:
            DataError: an edge is not finite, the edges are in the wrong order, or the box lies outside.
        """
        x0, y0, x1, y1 = edges
        shown = ", ".join(f"{edge:g}" for edge in edges)
        if not all(map(math.isfinite, edges)) or x1 <= x0 or y1 <= y0:
            raise DataError(f"{where}: ({shown}) is not a box: it takes x0 < x1 and y0 < y1")
        width, height = self.size or ((1, 1) if self.fractions else (math.inf, math.inf))
        if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
            raise DataError(f"{where}: box ({shown}) lies outside its image of {width:g}x{height:g}")
        self.names.append(name)
        self.tracks.append(track)
        self.edges.append([max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))])

    def array(
        self, width: int, height: int, path: Path | str, objects: Sequence[str] = OBJECTS
    ) -> np.ndarray:
        """M x 5 float32 (index into ``objects``, x0, y0, x1, y1) in pixels; other classes are left out.

        Args:
            width, height: of the image.
            path: of the image, for the error.

        Raises:
            DataError: the boxes are for an image of another size.
        """
        if self.size not in (None, (width, height)):
            stated = "{:g}x{:g}".format(*self.size or ())
            raise DataError(f"{path} is {width}x{height} but its boxes are for {stated}: they must be equal")
        indices = [class_index(name, objects) for name in self.names]
        rows = [[i, *edges] for i, edges in zip(indices, self.edges, strict=True) if i is not None]
        scale = np.array([1, width, height, width, height] if self.fractions else 1, np.float32)
        return np.array(rows, np.float32).reshape(-1, 5) * scale

    def tracks_of(self, objects: Sequence[str]) -> list[str]:
        """The M track ids of the rows of :meth:`array`."""
        known = (class_index(name, objects) is not None for name in self.names)
        return list(compress(self.tracks, known))


def ignored_classes(boxes: Sequence[BoxList], objects: Sequence[str]) -> Counter[str]:
    """Number of boxes by name, of the names that none of the objects means."""
    counts = Counter(name for listed in boxes for name in listed.names)
    return Counter({name: count for name, count in counts.items() if class_index(name, objects) is None})


def read_boxes(path: Path, split: str = "") -> dict[str, BoxList]:
    """The boxes of each image, by the name or stem that the files give it.

    Args:
        path: a COCO file, or a folder of one format: ``boxes.csv`` and ``images.csv``; COCO
            (``annotations.json``); VOC (``*.xml``, also in ``Annotations/``); YOLO (``*.txt``, also
            in ``labels/`` and ``labels/<split>/``, with ``data.yaml`` or ``classes.txt``).
        split: the name of the images' folder.

    Raises:
        DataError: it is none of these, or a file is missing or malformed.
    """
    if path.suffix.lower() == ".json":
        return read_coco(path)
    if not path.is_dir():
        raise DataError(f"{path} is neither a folder nor a COCO file: name the folder of the boxes")
    if (path / "boxes.csv").is_file() or (path / "images.csv").is_file():
        return read_csv(path)
    if (path / "annotations.json").is_file():
        return read_coco(path / "annotations.json")
    for folder in (path / "Annotations", path):
        if folder.is_dir() and (files := list_files(folder, (".xml",))):
            return {file.stem: read_voc(file) for file in files}
    for folder in (path / "labels" / split, path / "labels", path):
        if folder.is_dir() and list_files(folder, (".txt",)):
            return read_yolo(folder, class_names(path))
    raise DataError(
        f"{path} holds no boxes: it takes boxes.csv and images.csv, annotations.json (COCO), *.xml (VOC), or "
        "*.txt with data.yaml or classes.txt (YOLO); a COCO file of another name is passed itself"
    )


def find_boxes(listed: Mapping[str, BoxList], images: Sequence[Path], source: Path) -> list[BoxList]:
    """The boxes of each image, which is listed by the end of its path, or of its path without suffix.

    An image without a YOLO file has no boxes.

    Raises:
        DataError: an image is not listed.
    """
    found = []
    lenient = any(boxes.fractions for boxes in listed.values())
    for image in images:
        named = (image.absolute().as_posix(), image.absolute().with_suffix("").as_posix())
        tails = (path.split("/", start)[-1] for path in named for start in range(path.count("/"), 0, -1))
        name = next((tail for tail in tails if tail in listed), None)
        if name is None and not lenient:
            where = source / "images.csv" if (source / "images.csv").is_file() else source
            raise DataError(f"{where} does not list {image}: pass the boxes of these images")
        found.append(listed[name] if name is not None else BoxList(fractions=True))
    return found


def read_csv(folder: Path, file: str = "boxes.csv", min_score: float = 0.0) -> dict[str, BoxList]:
    """Boxes by image, of a file (image, class, xmin, ymin, xmax, ymax; track, if it has it) in pixels.

    ``images.csv`` (image; width and height, if it has them) lists the images with and without boxes.

    Args:
        file: its name.
        min_score: boxes of a lower ``score``, which the file must have then, are left out; 0: none.

    Raises:
        DataError: a file or a column is missing, or a line is malformed; names file and line.
    """
    boxes = {}
    for where, row in csv_rows(folder / "images.csv", ("image",)):
        sized = "width" in row and "height" in row
        size = (_number(row, "width", where), _number(row, "height", where)) if sized else None
        boxes[row["image"]] = BoxList(size)
    if not boxes:
        raise DataError(f"{folder / 'images.csv'} lists no image")
    scored = ("score",) if min_score > 0 else ()
    for where, row in csv_rows(folder / file, ("image", "class", *EDGES, *scored)):
        if row["image"] not in boxes:
            raise DataError(f"{where}: image {row['image']} is not listed in images.csv")
        if scored and _number(row, "score", where) < min_score:
            continue
        edges = [_number(row, edge, where) for edge in EDGES]
        boxes[row["image"]].add(row["class"], edges, where, row.get("track", ""))
    return boxes


def read_voc(path: Path) -> BoxList:
    """Boxes of a VOC annotation, which counts pixels from 1 and includes the last; raises DataError."""
    try:
        root = ET.parse(path).getroot()
        boxes = BoxList((float(root.findtext("size/width", "")), float(root.findtext("size/height", ""))))
        for number, item in enumerate(root.findall("object"), 1):
            x0, y0, x1, y1 = (float(item.findtext(f"bndbox/{edge}", "")) for edge in EDGES)
            boxes.add(item.findtext("name", ""), [x0 - 1, y0 - 1, x1, y1], f"{path}, object {number}")
        return boxes
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"{path} is not a VOC annotation: {error}") from None


def read_yolo(folder: Path, names: Mapping[int, str]) -> dict[str, BoxList]:
    """Boxes by stem of ``<stem>.txt``, whose lines are ``class cx cy width height`` in fractions.

    Args:
        names: by class id.

    Raises:
        DataError: there is no such file, or a line is malformed.
    """
    files = [path for path in list_files(folder, (".txt",)) if path.name != "classes.txt"]
    if not files:
        raise DataError(f"{folder} holds no <image>.txt")
    return {path.stem: _read_yolo_file(path, names) for path in files}


def class_names(folder: Path) -> dict[int, str]:
    """YOLO's class names by id, of ``data.yaml`` or ``classes.txt`` in a folder or up to two above it.

    Raises:
        DataError: there is no such file, or it is malformed.
    """
    for place in (folder, folder / "labels", *folder.absolute().parents[:2]):
        if (place / "data.yaml").is_file():
            return _read_data_yaml(place / "data.yaml")
        if (place / "classes.txt").is_file():
            lines = (place / "classes.txt").read_text(encoding="utf-8", errors="replace").splitlines()
            return dict(enumerate(lines))
    raise DataError(f"{folder} has no data.yaml or classes.txt with the names of the classes")


_COCO_KEYS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "images": {"id": int, "file_name": str, "width": (int, float), "height": (int, float)},
    "annotations": {"image_id": int, "category_id": int, "bbox": list},
    "categories": {"id": int, "name": str},
}


def read_coco(path: Path) -> dict[str, BoxList]:
    """Boxes by file name, of a COCO ``instances`` file (Lin et al., ECCV 2014).

    An annotation may have a ``track_id``. Crowds and boxes without area (train2017 has some) are left out.

    Raises:
        DataError: an entry is malformed or refers to one that does not exist.
    """
    content = _read_coco_lists(path)
    names = {entry["id"]: entry["name"] for entry in content["categories"]}
    files = {entry["id"]: entry["file_name"] for entry in content["images"]}
    if not files:
        raise DataError(f"{path} lists no image")
    boxes = {
        entry["file_name"]: BoxList((float(entry["width"]), float(entry["height"])))
        for entry in content["images"]
    }
    for number, entry in enumerate(content["annotations"]):
        where = f"{path}, annotations[{number}]"
        if entry["category_id"] not in names:
            raise DataError(f"{where}: category id {entry['category_id']} is not in categories")
        if entry["image_id"] not in files:
            raise DataError(f"{where}: image id {entry['image_id']} is not in images")
        bbox = entry["bbox"]
        if len(bbox) != 4 or not all(isinstance(value, (int, float)) for value in bbox):
            raise DataError(f"{where}: bbox {bbox} is not x, y, width, height")
        x, y, width, height = bbox
        if width != 0 and height != 0 and not entry.get("iscrowd"):
            edges = [x, y, x + width, y + height]
            track = str(entry.get("track_id", ""))
            boxes[files[entry["image_id"]]].add(names[entry["category_id"]], edges, where, track)
    return boxes


def _read_coco_lists(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The three lists of an ``instances`` file, each entry with the keys that are needed."""
    try:
        content: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    for part, keys in _COCO_KEYS.items():
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise DataError(f"{path} has no list `{part}`: COCO instances have {', '.join(_COCO_KEYS)}")
        for number, entry in enumerate(content[part]):
            for key, kind in keys.items():
                if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
                    raise DataError(f"{path}, {part}[{number}]: `{key}` is missing or of the wrong type")
    return content


def _read_yolo_file(path: Path, names: Mapping[int, str]) -> BoxList:
    boxes = BoxList(fractions=True)
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        where = f"{path}, line {number}"
        values = line.split()
        if not values:
            continue
        if len(values) != 5:
            raise DataError(f"{where}: {len(values)} values: a box is `class cx cy width height`")
        try:
            label, (cx, cy, width, height) = int(values[0]), map(float, values[1:])
        except ValueError:
            raise DataError(f"{where}: {line.strip()!r} is not `class cx cy width height`") from None
        if label not in names:
            raise DataError(f"{where}: class id {label} has no name; known are {', '.join(map(str, names))}")
        edges = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]
        boxes.add(names[label], edges, where)
    return boxes


def _read_data_yaml(path: Path) -> dict[int, str]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8", errors="replace"))
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML: {error}") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(isinstance(key, int) for key in names):
        raise DataError(f"{path}: names is not a list of class names or a mapping from ids")
    return {key: str(name) for key, name in names.items()}


def _number(row: Mapping[str, str], column: str, where: str) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise DataError(f"{where}: {column} is {row[column]!r}, not a number") from None
